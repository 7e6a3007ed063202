// SPDX-License-Identifier: Apache-2.0
import type { Command } from 'commander';
import type { ConnectedClient, TransferRequest } from '../../client/node.ts';
import type { Context, Runner } from '../lib/context.ts';
import { humanBytes, humanSeconds, table } from '../lib/format.ts';
import { parseSize, parseSizedRange, type SizedRange } from '../lib/ranges.ts';

interface BenchOptions {
  size: number;
  seconds: number;
  overwrite?: SizedRange;
}

/** One kind of work, measured. */
interface Figure {
  work: string;
  bytes: number;
  runs: number;
  median_seconds: number;
  bytes_per_second: number;
}

const MAX_RUNS = 1000;

export function bench(program: Command, run: Runner): void {
  program
    .command('bench')
    .description('measure this daemon; without --overwrite it only reads')
    .option('--size <size>', 'of each piece of work', parseSize, 64 * 2 ** 20)
    .option('--seconds <seconds>', 'for each kind of work', Number, 1)
    .option('--overwrite <range>', 'also copy, fill and write into this range', parseSizedRange)
    .action(
      run(async (context: Context, options: BenchOptions) => {
        const client = await context.client('daemon');
        const works = await planWork(client, options);
        const figures: Figure[] = [];
        for (const [name, { bytes, once }] of Object.entries(works)) {
          figures.push(await measure(name, bytes, options.seconds, context.signal, once));
        }
        const rows = figures.map((figure) => [
          ...[figure.work, humanBytes(figure.bytes), String(figure.runs)],
          humanSeconds(figure.median_seconds),
          figure.bytes === 0 ? '–' : `${humanBytes(figure.bytes_per_second)}/s`,
        ]);
        context.result({ figures }, table(['WORK', 'SIZE', 'RUNS', 'MEDIAN', 'RATE'], rows));
        return undefined;
      }),
    );
}

interface Work {
  bytes: number;
  once(): Promise<unknown>;
}

/** Reads from the first device; writes nowhere but into the range that may be overwritten. */
async function planWork(
  client: ConnectedClient,
  { size: wanted, overwrite }: BenchOptions,
): Promise<Record<string, Work>> {
  const [device] = await client.listDevices();
  if (device === undefined) return { request: { bytes: 0, once: () => client.getVersion() } };
  const size = Math.min(wanted, Math.floor(device.size / 2));
  const range = { offset: 0, size };
  const transfer = (request: Omit<TransferRequest, 'size'>, bytes: number) => ({
    bytes,
    once: () => client.runTransfer({ ...request, size: bytes }),
  });
  const name = { device_name: device.name };
  const works: Record<string, Work> = {
    request: { bytes: 0, once: () => client.getVersion() },
    checksum: { bytes: size, once: () => client.checksumContent(device.name, range) },
    compare: transfer({ ...name, operation: 'compare', src_offset: 0, dst_offset: 0 }, size),
    get: {
      bytes: size,
      once: async () => {
        const { stream } = await client.readContent(device.name, range);
        for await (const _ of stream);
      },
    },
  };
  if (overwrite === undefined) return works;
  const half = Math.min(wanted, Math.floor(overwrite.size / 2));
  const target = { device_name: overwrite.device, dst_offset: overwrite.offset };
  const source = { src_offset: overwrite.offset + half, durability: 'none' as const };
  works.copy = transfer({ ...target, ...source }, half);
  works['copy, flushed'] = transfer({ ...target, src_offset: overwrite.offset + half }, half);
  works.fill = transfer({ ...target, operation: 'fill', durability: 'none' }, half);
  const bytes = new Uint8Array(half);
  works.put = {
    bytes: half,
    once: () => client.writeContent(overwrite.device, bytes, { offset: overwrite.offset }),
  };
  return works;
}

async function measure(
  work: string,
  bytes: number,
  seconds: number,
  signal: AbortSignal,
  once: () => Promise<unknown>,
): Promise<Figure> {
  // The first one pays for connections and for pages that nobody has touched.
  await once();
  const times: number[] = [];
  const until = performance.now() + seconds * 1000;
  do {
    signal.throwIfAborted();
    const start = performance.now();
    await once();
    times.push((performance.now() - start) / 1000);
  } while (performance.now() < until && times.length < MAX_RUNS);
  const median = times.sort((a, b) => a - b)[Math.floor(times.length / 2)] as number;
  return {
    ...{ work, bytes, runs: times.length, median_seconds: median },
    bytes_per_second: Math.round(bytes / median),
  };
}
