// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { Daemon } from '../support/daemon.ts';
import { Gateway } from '../support/gateway.ts';

/** Prints each datagram, its lines joined by "|". Node has no Unix datagrams; Debian has perl. */
const RECEIVER = `
  use Socket; $| = 1; socket(S, PF_UNIX, SOCK_DGRAM, 0); bind(S, pack_sockaddr_un($ARGV[0])) or die;
  while (defined recv(S, $m, 4096, 0)) { $m =~ s/\\n/|/g; print "$m\\n" }`;

let directory: string;
let receiver: ChildProcess;
let messages: string[];
let environment: Record<string, string>;
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'dmad-notify-'));
  const socket = join(directory, 'notify');
  messages = [];
  receiver = spawn('perl', ['-e', RECEIVER, socket], { stdio: ['ignore', 'pipe', 'inherit'] });
  receiver.stdout?.on('data', (text) => messages.push(...String(text).trimEnd().split('\n')));
  while (!existsSync(socket)) await sleep(5);
  environment = { NOTIFY_SOCKET: socket };
});
afterEach(() => {
  receiver.kill('SIGKILL');
  rmSync(directory, { recursive: true, force: true });
});

const received = async (what: string, times = 1) => {
  while (messages.filter((message) => message === what).length < times) await sleep(5);
};

test('it hears when the daemon is ready, that it runs, and how long it takes to stop', async () => {
  Object.assign(environment, { WATCHDOG_USEC: '100000', DMAD_DRAIN_SECONDS: '3600' });
  const daemon = new Daemon(environment);
  const url = await daemon.ready();
  await received('WATCHDOG=1', 3);
  expect(messages[0]).toBe(`READY=1|STATUS=serving at ${url}`);
  expect(await daemon.stop()).toMatchObject({ code: 0, stderr: '' });
  await received('STOPPING=1|STATUS=shutting down|EXTEND_TIMEOUT_USEC=3615000000');
});

test("no watchdog, where it is another process's or none", async () => {
  const daemon = new Daemon({ ...environment, WATCHDOG_USEC: '1000', WATCHDOG_PID: '1' });
  await daemon.ready();
  await sleep(100);
  expect(messages).toHaveLength(1);
  await daemon.stop();
});

test('a service manager that does not listen changes nothing', async () => {
  const daemon = new Daemon({ NOTIFY_SOCKET: join(directory, 'nobody'), WATCHDOG_USEC: '1000' });
  await daemon.ready();
  expect(await daemon.stop()).toMatchObject({ code: 0, stderr: '' });
});

test('it hears the same of a gateway of a fleet, which does not wait for its etcd', async () => {
  const gateway = new Gateway('http://127.0.0.1:1', { ...environment, WATCHDOG_USEC: '100000' });
  const { port } = new URL(await gateway.ready());
  await received('WATCHDOG=1', 3);
  expect(messages[0]).toBe(`READY=1|STATUS=serving on 127.0.0.1, port ${port}`);
  expect(await gateway.stop()).toMatchObject({ code: 0, stderr: '' });
  await received('STOPPING=1|STATUS=shutting down|EXTEND_TIMEOUT_USEC=15000000');
});
