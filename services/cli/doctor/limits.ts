// SPDX-License-Identifier: Apache-2.0
import { humanBytes } from '../lib/format.ts';
import { type Finding, ok, warning } from './finding.ts';
import type { Host } from './host.ts';
import { daemonsOf } from './processes.ts';

/** README, "exit codes": enough for all connections. */
const OPEN_FILES = 65_536;
const LITTLE_MEMORY = 512 * 2 ** 20;

/** What each daemon that runs here may use. */
export function examineLimits(host: Host): Finding[] {
  return daemonsOf(host).flatMap(({ pid }) => [...openFiles(host, pid), ...cgroup(host, pid)]);
}

function openFiles(host: Host, pid: string): Finding[] {
  const [, soft] = /^Max open files\s+(\S+)/m.exec(host.read(`/proc/${pid}/limits`) ?? '') ?? [];
  if (soft === undefined) return [];
  const subject = `limits of ${pid}`;
  if (soft === 'unlimited' || Number(soft) >= OPEN_FILES)
    return [ok(subject, `${soft} open files`)];
  const message = `${soft} open files: too few for all connections that the daemon accepts`;
  return [
    warning(subject, message, `raise it to ${OPEN_FILES}: ulimit -n, or LimitNOFILE= in the unit`),
  ];
}

function cgroup(host: Host, pid: string): Finding[] {
  const [, path] = /^0::(\/.*)$/m.exec(host.read(`/proc/${pid}/cgroup`) ?? '') ?? [];
  if (path === undefined) return [];
  const subject = `cgroup of ${pid}`;
  const limit = (file: string) => host.read(`/sys/fs/cgroup${path}/${file}`);
  const findings: Finding[] = [];
  const [quota, period] = (limit('cpu.max') ?? 'max').split(' ');
  if (quota !== undefined && quota !== 'max') {
    const cpus = Number(quota) / Number(period);
    const text = `${cpus.toFixed(1)} CPUs`;
    const remedy = 'give it two at least: one answers, one copies';
    findings.push(cpus < 2 ? warning(subject, text, remedy) : ok(subject, text));
  }
  const memory = limit('memory.max') ?? 'max';
  if (memory !== 'max') {
    const text = `${humanBytes(Number(memory))} of memory`;
    const remedy = 'give it 512 MiB or more: see README, "Memory"';
    findings.push(
      Number(memory) < LITTLE_MEMORY ? warning(subject, text, remedy) : ok(subject, text),
    );
  }
  return findings;
}
