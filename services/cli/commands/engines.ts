// SPDX-License-Identifier: Apache-2.0
import type { Command } from 'commander';
import type { Engines } from '../../client/node.ts';
import type { Context, Runner } from '../lib/context.ts';
import { counted, humanBytes, table } from '../lib/format.ts';
import { parseSizedRange, type SizedRange } from '../lib/ranges.ts';

export function engines(program: Command, run: Runner): void {
  program
    .command('engines')
    .description('show what can copy: DMA channels, the CPU, and how "auto" chooses')
    .action(
      run(async (context: Context) => {
        const client = await context.client('daemon');
        const found = await client.listEngines({ signal: context.signal });
        context.result({ engines: found }, describe(found));
        return undefined;
      }),
    );
}

export function calibrate(program: Command, run: Runner): void {
  program
    .command('calibrate')
    .description('measure the engines, for "auto" to choose by; overwrites the range')
    .argument(
      '[range]',
      'bytes that may be lost, such as dax0.0:1GiB+64MiB; needed for DMA',
      parseSizedRange,
    )
    .action(
      run(async (context: Context, range: SizedRange | undefined) => {
        const client = await context.client('daemon');
        const request = range && {
          ...{ device_name: range.device, offset: range.offset, size: range.size },
        };
        const found = await client.calibrate(request, { signal: context.signal });
        context.result({ engines: found }, describe(found));
        return undefined;
      }),
    );
}

/** What "auto" takes. */
function chosenBy({ dma_from_bytes: dma, both_from_bytes: both }: Engines['auto']): string {
  if (dma === null) return 'always the CPU';
  const shared = both === null ? '' : `, both from ${humanBytes(both)} on`;
  return `the CPU, DMA from ${humanBytes(dma)} on${shared}`;
}

function describe({ dma, cpu, auto }: Engines): string {
  const { calibration } = auto;
  const lines = [
    `cpu   ${counted(cpu.threads, 'thread')}, ${cpu.instruction_set}`,
    `dma   ${dma.available ? `available, module ${dma.module_version}` : 'not available'}: ${dma.reason}`,
    `auto  ${chosenBy(auto)}`,
  ];
  if (calibration !== null) {
    const speed = (each: typeof calibration.dma) =>
      each === null ? '–' : `${humanBytes(each.bytes_per_second)}/s`;
    lines.push(
      `      measured ${calibration.measured_at}: cpu ${speed(calibration.cpu)}, dma ${speed(calibration.dma)}, both ${speed(calibration.both)}`,
    );
  }
  for (const { driver, device, reason } of dma.refused) {
    lines.push(`      not used: ${device} (${driver}): ${reason}`);
  }
  if (dma.channels.length > 0) {
    const rows = dma.channels.map((channel) => [
      ...[channel.name, channel.driver, channel.state, String(channel.in_flight)],
      ...[humanBytes(channel.bytes), String(channel.errors)],
    ]);
    lines.push('', table(['CHANNEL', 'DRIVER', 'STATE', 'IN FLIGHT', 'BYTES', 'ERRORS'], rows));
  }
  return lines.join('\n');
}
