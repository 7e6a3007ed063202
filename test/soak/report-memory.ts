// SPDX-License-Identifier: Apache-2.0
// Loaded into the daemon of the soak: at SIGUSR2 it writes to SOAK_REPORT the memory that the daemon
// holds, which leaves out what a busy V8 has not looked at yet, and what it keeps at hand for later.
import { appendFileSync, readFileSync } from 'node:fs';
import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collectGarbage: () => void = runInNewContext('gc');

process.on('SIGUSR2', () => {
  collectGarbage();
  const { total_physical_size: heap, used_heap_size: used } = getHeapStatistics();
  const status = readFileSync('/proc/self/status', 'utf8');
  const own = Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
  appendFileSync(process.env.SOAK_REPORT as string, `${own - heap + used}\n`);
});
