// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { Daemon } from '../support/daemon.ts';
import { fetchAnswer } from '../support/fetch.ts';

/** What terminals and log rotation send, and what opens Node's debugger. */
const HARMLESS = ['SIGUSR1', 'SIGUSR2', 'SIGHUP', 'SIGPIPE', 'SIGWINCH', 'SIGCONT'] as const;

/** Waits until Node runs the daemon's first lines: before, no program can handle a signal. */
async function handlesSignals(daemon: Daemon): Promise<void> {
  const wanted = BigInt(1) << BigInt(constants.signals.SIGUSR2 - 1);
  for (;;) {
    const status = readFileSync(`/proc/${daemon.child.pid}/status`, 'utf8');
    const caught = BigInt(`0x${/^SigCgt:\s*(\w+)/m.exec(status)?.[1] ?? '0'}`);
    if ((caught & wanted) !== 0n) return;
    await sleep(1);
  }
}

/** Sends all of them, again and again, until it is told that it is enough. */
async function pester(daemon: Daemon, enough: Promise<unknown>): Promise<void> {
  let going = true;
  const over = enough.finally(() => {
    going = false;
  });
  while (going) {
    for (const signal of HARMLESS) daemon.child.kill(signal);
    await sleep(2);
  }
  await over;
}

test('at the start, while running and to the end, no such signal kills or opens a debugger', async () => {
  const daemon = new Daemon();
  await handlesSignals(daemon);
  await pester(daemon, daemon.ready());
  await pester(daemon, sleep(200));
  expect((await fetchAnswer(`${await daemon.ready()}/livez`)).status).toBe(200);
  daemon.child.kill('SIGTERM');
  await pester(daemon, daemon.exited);
  expect(await daemon.exited).toMatchObject({ code: 0, signal: null, stderr: '' });
});

test('a debugger that a signal opened before the first line runs is closed again', async () => {
  const daemon = new Daemon(
    {},
    { wrapper: ['sh', '-c', '(sleep 0.03; kill -USR1 $$) & exec "$@"', 'sh'] },
  );
  await daemon.ready();
  await expect(fetch('http://127.0.0.1:9229/json/version')).rejects.toThrow();
  await daemon.stop();
});
