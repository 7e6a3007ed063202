// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from 'node:child_process';
import { expect, test } from '@jest/globals';

const LOG = new URL('../../services/base/log.js', import.meta.url).href;

/** What a process that logs as the daemon does has written by its end. */
function logged(script: string) {
  const source = `import { openLog } from ${JSON.stringify(LOG)}; const { logger: log } = openLog('info'); ${script}`;
  const { status, stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', source], {
    encoding: 'utf8',
  });
  const lines = stdout.split('\n').filter((line) => line !== '');
  return { status, lines: lines.map((line) => JSON.parse(line).msg) };
}

test.each([
  ['by itself', '', 0],
  ['by process.exit()', 'process.exit(7);', 7],
  ['by an exception that nobody catches', 'throw new Error("no");', 1],
  ['by a promise that nobody catches', 'await Promise.reject(new Error("no"));', 1],
])('a process that ends %s has written all that it logged, in order', (_how, end, status) => {
  const script = `log.info('first'); setImmediate(() => { log.info('second'); log.info('third'); ${end} });`;
  const awaited = script.replace('() =>', 'async () =>');
  expect(logged(awaited)).toEqual({ status, lines: ['first', 'second', 'third'] });
});

test('a turn is written at its end, and not held back', () => {
  const script = `
    log.info('first');
    await new Promise((resolve) => setTimeout(resolve, 500));
    log.info('lost');
    process.kill(process.pid, 'SIGKILL');`;
  expect(logged(script)).toEqual({ status: null, lines: ['first'] });
});

test("systemd's journal gets each line with its priority; nothing else does", () => {
  const script = `
    import { openLog } from ${JSON.stringify(LOG)};
    const { logger, audit } = openLog('debug');
    for (const level of ['debug', 'info', 'warn', 'error', 'fatal']) logger[level](level);
    audit({ outcome: 'done' });`;
  const logs = (journalStream: string) => {
    const shell = `JOURNAL_STREAM=${journalStream} exec "$@"`;
    const command = [process.execPath, '--input-type=module', '-e', script];
    const { stdout } = spawnSync('sh', ['-c', shell, 'sh', ...command], { encoding: 'utf8' });
    return stdout.trimEnd().split('\n');
  };
  const lines = logs('$(stat -L -c %d:%i /proc/$$/fd/1)');
  const priorities = lines.map((line) => /^<(\d)>\{"level"/.exec(line)?.[1]);
  expect(priorities).toEqual(['7', '6', '4', '3', '2', '6']);
  for (const line of logs('1:1')) expect(line).toMatch(/^\{/);
});
