// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { Daemon } from '../support/daemon.ts';
import { freePort } from '../support/free-port.ts';
import { inMounts, whyNot } from '../support/mounts.ts';
import { exchange, request } from '../support/wire.ts';

const CLEAN = { code: 0, signal: null };
/** Ends with the test process, as the daemons do. */
const CHILD = ['setpriv', '--pdeathsig', 'KILL'] as const;

let directory: string;
let socket: string;
let started: ChildProcess[];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'dmad-test-'));
  socket = join(directory, 'socket');
  started = [];
});
afterEach(() => {
  for (const child of started) child.kill('SIGKILL');
  rmSync(directory, { recursive: true, force: true });
});

/** A daemon whose log a shell puts somewhere; it can be asked on its Unix socket. */
async function logTo(redirection: string, port = 0): Promise<Daemon> {
  const wrapper = ['sh', '-c', `exec "$@" ${redirection}`, 'sh'];
  const daemon = new Daemon({ DMAD_SOCKET: socket, DMAD_PORT: String(port) }, { wrapper });
  await answers();
  return daemon;
}

async function answers(): Promise<void> {
  while (!existsSync(socket) || (await ready()).waiting_for.length > 0) await sleep(20);
}

const ask = async (what: string, body = '') => {
  const { status, body: answer } = await exchange(socket, request(what, {}, body));
  return { status, text: answer.toString() };
};
const ready = async () => JSON.parse((await ask('GET /readyz')).text);
const upload = () => ask('PUT /devices/dax0.0/content', 'bytes');
const metric = async (name: string) => {
  const { text } = await ask('GET /metrics');
  return Number(
    text
      .split('\n')
      .find((line) => line.startsWith(name))
      ?.replace(/^.* /, ''),
  );
};

/** Requests whose lines take about 10 KB each. */
async function fillLog(requests: number): Promise<void> {
  const long = 'x'.repeat(5000);
  for (let index = 0; index < requests; index++) await ask(`GET /transfers?${long}`);
}

function fifo(): string {
  const path = join(directory, 'fifo');
  execFileSync('mkfifo', [path]);
  return path;
}

function run(command: string, ...args: string[]): ChildProcess {
  const child = spawn(CHILD[0], [...CHILD.slice(1), command, ...args], {
    stdio: ['ignore', openSync(join(directory, 'read'), 'a'), 'ignore'],
  });
  started.push(child);
  return child;
}

const linesRead = () =>
  readFileSync(join(directory, 'read'), 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Record<string, unknown>);

test('a device that is full: the service goes on, and says that it cannot log', async () => {
  const daemon = await logTo('>/dev/full');
  expect((await upload()).status).toBe(200);
  expect(await ready()).toEqual({
    ...{ ready: true, waiting_for: [] },
    degraded: ['log: it cannot be written (ENOSPC)'],
  });
  expect(await metric('dmad_log_waiting_bytes')).toBeGreaterThan(0);
  expect(await daemon.stop()).toMatchObject({ ...CLEAN, stderr: '' });
});

const TMPFS = inMounts('mount -t tmpfs -o size=64k,mode=0700 tmpfs /mnt; cd /mnt');
const reason = whyNot(TMPFS);
if (reason !== undefined) process.stderr.write(`skipped, a log on a full tmpfs: ${reason}\n`);
(reason === undefined ? test : test.skip)('a disk that fills, and has room again', async () => {
  // The daemon's own mount: what makes room has to run beside it.
  const wrapper = [
    ...TMPFS,
    ...['sh', '-c', '(while ! [ -e "$0" ]; do sleep 0.1; done; rm ballast) & '],
  ];
  const go = join(directory, 'go');
  wrapper[wrapper.length - 1] +=
    'head -c 49152 /dev/zero >ballast; exec "$@" >log 2>&1 3<log; cat log';
  const daemon = new Daemon({ DMAD_SOCKET: socket }, { wrapper: [...wrapper, go] });
  await answers();
  await fillLog(4);
  while ((await ready()).degraded === undefined) await sleep(20);
  execFileSync('touch', [go]);
  while ((await ready()).degraded !== undefined) await sleep(20);
  expect(await metric('dmad_log_lines_lost_total{log="daemon"}')).toBe(0);
  expect(await daemon.stop()).toMatchObject(CLEAN);
});

test('a reader that stalls: requests, probes and the end go on; lines are counted', async () => {
  const path = fifo();
  run('sh', '-c', `exec sleep 1000 <${path}`);
  const daemon = await logTo(`>${path}`);
  await fillLog(300);
  expect((await ask('GET /livez')).status).toBe(200);
  while ((await ready()).degraded?.[0] !== 'log: nobody reads it') await sleep(50);
  expect(await metric('dmad_log_lines_lost_total{log="daemon"}')).toBeGreaterThan(0);
  // The room that is kept for the audit log.
  expect((await upload()).status).toBe(200);
  expect(await metric('dmad_log_lines_lost_total{log="audit"}')).toBe(0);
  const began = Date.now();
  expect(await daemon.stop()).toMatchObject({ ...CLEAN, stderr: '' });
  expect(Date.now() - began).toBeLessThan(5000);
});

test('when audit lines are lost, the daemon is not ready until it can write them again', async () => {
  const path = fifo();
  const stalled = run('sh', '-c', `exec sleep 1000 <${path}`);
  const port = await freePort();
  const daemon = await logTo(`>${path}`, port);
  const refused = request(`GET /${'x'.repeat(15_000)}`, { host: 'elsewhere' });
  while ((await ready()).ready) {
    for (let index = 0; index < 50; index++) await exchange(port, refused);
  }
  expect((await ready()).waiting_for).toEqual(['audit log']);
  expect(await metric('dmad_log_lines_lost_total{log="audit"}')).toBeGreaterThan(0);
  expect((await upload()).status).toBe(200);
  run('cat', path);
  stalled.kill();
  while (!(await ready()).ready) await sleep(20);
  while (!linesRead().some(({ lost }) => lost !== undefined)) await sleep(50);
  expect(linesRead().find(({ lost }) => lost !== undefined)).toMatchObject({
    lost: { audit: expect.any(Number) },
  });
  expect(await daemon.stop()).toMatchObject(CLEAN);
});

test('a reader that goes, and another that comes: it finds the lines between', async () => {
  const path = fifo();
  const first = run('cat', path);
  const daemon = await logTo(`>${path}`);
  first.kill('SIGKILL');
  await once(first, 'exit');
  for (let index = 0; index < 3; index++) expect((await upload()).status).toBe(200);
  while ((await ready()).degraded?.[0] !== 'log: it cannot be written (EPIPE)') await sleep(20);
  run('cat', path);
  expect((await upload()).status).toBe(200);
  const uploads = () =>
    linesRead().filter(({ log, method }) => log === 'audit' && method === 'PUT');
  while (uploads().length < 4) await sleep(20);
  expect((await ready()).degraded).toBeUndefined();
  expect(await daemon.stop()).toMatchObject(CLEAN);
  expect(linesRead().at(-1)).toMatchObject({ msg: 'stopped' });
});

test.each([
  ['that its log goes to', ''],
  ['while its log goes to a file', '>"$LOG"'],
])('a terminal that is closed, %s: it goes on, and ends in order', async (_what, redirection) => {
  const [code, pid] = [join(directory, 'code'), join(directory, 'pid')];
  const script = `trap "" HUP; "$@" ${redirection} & echo $! >${pid}; wait $!; echo $? >${code}`;
  const terminal = ['script', '-qec', `set -- $COMMAND; ${script}`, '/dev/null'];
  const wrapper = [
    'sh',
    '-c',
    `COMMAND="$*" exec ${terminal[0]} ${terminal[1]} '${terminal[2]}' /dev/null`,
    'sh',
  ];
  // Not the helper's own, which goes with the terminal.
  const DMAD_STATE_DIR = mkdtempSync(join(directory, 'state'));
  const LOG = join(directory, 'log');
  const daemon = new Daemon({ DMAD_SOCKET: socket, DMAD_STATE_DIR, LOG }, { wrapper });
  await answers();
  daemon.child.kill('SIGKILL');
  await sleep(300);
  expect(await upload()).toMatchObject({ status: 200 });
  process.kill(Number(readFileSync(pid, 'utf8')), 'SIGTERM');
  while (!existsSync(code) || readFileSync(code, 'utf8') === '') await sleep(20);
  expect(readFileSync(code, 'utf8')).toBe('0\n');
});
