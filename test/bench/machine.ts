// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';

/** What the figures hold for. */
export interface Machine {
  cpu: string;
  cpus: number;
  memory_bytes: number;
  kernel: string;
  node: string;
  libc: string;
  /** The figures are worth less where others were at work. */
  load_average: number;
  measured_at: string;
}

export function describeMachine(): Machine {
  const header = (process.report.getReport() as { header: Record<string, string> }).header;
  return {
    cpu: `${cpus()[0]?.model}${cpuFamily()}`,
    cpus: cpus().length,
    memory_bytes: totalmem(),
    kernel: release(),
    node: process.version,
    libc: `glibc ${header.glibcVersionRuntime}`,
    load_average: Math.round((loadavg()[0] as number) * 100) / 100,
    measured_at: new Date().toISOString(),
  };
}

/** In virtual machines the name alone says little. */
function cpuFamily(): string {
  const info = readFileSync('/proc/cpuinfo', 'utf8');
  const field = (name: string) => new RegExp(`^${name}\\s*: (.*)$`, 'm').exec(info)?.[1];
  const guest = /^flags.*\bhypervisor\b/m.test(info) ? ', virtual' : '';
  return ` (family ${field('cpu family')}, model ${field('model')}${guest})`;
}

/** In one line */
export function machineText(machine: Machine): string {
  const memory = `${Math.round(machine.memory_bytes / 2 ** 30)} GiB`;
  const { cpu, cpus, kernel, node, libc } = machine;
  return `${cpus} × ${cpu}, ${memory}, Linux ${kernel}, ${libc}, Node.js ${node}`;
}
