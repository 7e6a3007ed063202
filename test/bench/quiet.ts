// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync } from 'node:fs';
import { cpus } from 'node:os';

/** What else the machine did while something was measured, in CPUs. */
export interface Disturbance {
  /** That processes used which are no part of the bench. */
  others: number;
  /** That the hypervisor gave to other machines. */
  stolen: number;
}

/** CPU time so far, in ticks of the kernel's clock. */
export interface CpuTimes {
  /** Of all CPUs together, idle or not. */
  all: number;
  /** Of these, at work. */
  busy: number;
  stolen: number;
  /** Of the bench and what it has started. */
  own: number;
}

/** More than this, in CPUs, and a figure is doubtful. Kernel threads take some hundredths. */
const MOST = { others: 0.1, stolen: 0.05 };

export function readCpuTimes(): CpuTimes {
  const { all, busy, stolen } = parseTotals(readFileSync('/proc/stat', 'utf8'));
  return { all, busy, stolen, own: ownTicks(readProcesses(), process.pid) };
}

/** @param stat /proc/stat */
export function parseTotals(stat: string): Omit<CpuTimes, 'own'> {
  const fields = (/^cpu +(.*)$/m.exec(stat)?.[1] ?? '').split(' ').map(Number);
  // What guests use is in user and nice already.
  const [user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, soft = 0, steal = 0] = fields;
  const busy = user + nice + system + irq + soft;
  return { all: busy + idle + wait + steal, busy, stolen: steal };
}

/** A process, as its /proc/PID/stat has it. */
export interface ProcessTimes {
  pid: number;
  parent: number;
  /** Its own, and those of children that have ended and been waited for. */
  ticks: number;
}

/** @param stat /proc/PID/stat, in which a name may have blanks and parentheses */
export function parseProcess(stat: string): ProcessTimes {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [user = 0, system = 0, childUser = 0, childSystem = 0] = fields.slice(11, 15).map(Number);
  return {
    pid: Number.parseInt(stat, 10),
    parent: Number(fields[1]),
    ticks: user + system + childUser + childSystem,
  };
}

/** What a process and all below it have used. */
export function ownTicks(processes: readonly ProcessTimes[], root: number): number {
  const own = new Set([root]);
  for (let size = 0; size !== own.size; ) {
    size = own.size;
    for (const { pid, parent } of processes) if (own.has(parent)) own.add(pid);
  }
  return processes.reduce((sum, { pid, ticks }) => (own.has(pid) ? sum + ticks : sum), 0);
}

function readProcesses(): ProcessTimes[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        return [parseProcess(readFileSync(`/proc/${pid}/stat`, 'utf8'))];
      } catch {
        // It has ended meanwhile.
        return [];
      }
    });
}

export function disturbanceBetween(
  before: CpuTimes,
  after: CpuTimes,
  count = cpus().length,
): Disturbance {
  const all = Math.max(1, after.all - before.all);
  const inCpus = (ticks: number) => Math.round((Math.max(0, ticks) / all) * count * 100) / 100;
  return {
    others: inCpus(after.busy - before.busy - (after.own - before.own)),
    stolen: inCpus(after.stolen - before.stolen),
  };
}

/** @returns undefined if the machine was quiet */
export function whyNotQuiet({ others, stolen }: Disturbance): string | undefined {
  const reasons = [
    ...(others > MOST.others ? [`other processes used ${others.toFixed(2)} CPUs`] : []),
    ...(stolen > MOST.stolen ? [`the hypervisor withheld ${stolen.toFixed(2)} CPUs`] : []),
  ];
  return reasons.length === 0 ? undefined : reasons.join(', ');
}
