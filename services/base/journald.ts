// SPDX-License-Identifier: Apache-2.0
import { fstatSync } from 'node:fs';

/** pino's levels (fatal, error, warn, info), each with syslog(3)'s priority for all from it on. */
const PRIORITIES = [
  [60, 2],
  [50, 3],
  [40, 4],
  [30, 6],
] as const;
const DEBUG = 7;

/**
 * Whether systemd's journal reads a descriptor: systemd names the device and the inode of the stream
 * that it made, which something may have replaced since (systemd.exec(5), JOURNAL_STREAM).
 */
export function isJournalStream(fd: number, journalStream: string | undefined): boolean {
  if (journalStream === undefined) return false;
  const { dev, ino } = fstatSync(fd);
  return journalStream === `${dev}:${ino}`;
}

/** What begins a line that the journal is to keep with the priority of its level; see sd-daemon(3). */
export function journalPrefix(level: number): string {
  const known = PRIORITIES.find(([least]) => level >= least);
  return `<${known?.[1] ?? DEBUG}>`;
}
