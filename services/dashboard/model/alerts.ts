// SPDX-License-Identifier: Apache-2.0
import type { Device, Engines, Readiness } from '../../client/types.ts';
import { formatCount } from './format.ts';
import { type MetricSample, sumOf } from './prometheus.ts';

export interface Alert {
  level: 'wrong' | 'notice';
  text: string;
}

/** What is known of the daemon; undefined: not yet, or this client may not see it. */
export interface Known {
  readiness: Readiness | undefined;
  devices: readonly Device[] | undefined;
  engines: Engines | undefined;
  metrics: ReadonlyMap<string, MetricSample[]> | undefined;
}

/** What an operator should look at now, the worst first. */
export function alertsOf({ readiness, devices, engines, metrics }: Known): Alert[] {
  const wrong: string[] = [];
  const notices: string[] = [];
  for (const what of readiness?.waiting_for ?? []) {
    wrong.push(`No transfers are taken: waiting for ${what}.`);
  }
  for (const what of readiness?.degraded ?? [])
    notices.push(`Missing, though work goes on: ${what}.`);
  for (const { name, state, state_reason: reason, bad_blocks: bad } of devices ?? []) {
    if (state !== 'online') wrong.push(`${name} is ${state}${reason ? `: ${reason}` : ''}.`);
    if (bad.length > 0)
      notices.push(`${name} has ${formatCount(bad.length, 'range')} of bad blocks.`);
  }
  for (const { name, state } of engines?.dma.channels ?? []) {
    if (state === 'recovering') notices.push(`The channel ${name} recovers from a fault.`);
    else if (state !== 'ready') wrong.push(`The channel ${name} is ${state.replace('_', ' ')}.`);
  }
  const persistence = readiness?.journal?.persistence;
  if (persistence !== undefined) {
    notices.push(
      `The journal is ${persistence}: what was accepted may not survive a loss of power.`,
    );
  }
  if (metrics !== undefined) {
    const faults = sumOf(metrics, 'dmad_emulated_faults');
    if (faults !== undefined) {
      notices.push(`Emulated faults are on (DMAD_FAULTS): ${formatCount(faults, 'fault')} set.`);
    }
    const lost = sumOf(metrics, 'dmad_log_lines_lost_total') ?? 0;
    if (lost > 0) notices.push(`${formatCount(lost, 'line')} of the log could not be written.`);
    const errors = sumOf(metrics, 'dmad_journal_errors_total') ?? 0;
    if (errors > 0)
      notices.push(`The journal has met ${formatCount(errors, 'error')} since the start.`);
  }
  return [
    ...wrong.map((text) => ({ level: 'wrong' as const, text })),
    ...notices.map((text) => ({ level: 'notice' as const, text })),
  ];
}
