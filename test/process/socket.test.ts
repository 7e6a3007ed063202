// SPDX-License-Identifier: Apache-2.0
import { existsSync, lstatSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { expectProblem } from '../support/conformance.ts';
import { Daemon } from '../support/daemon.ts';
import { deepTest } from '../support/depth.ts';
import { exchange, request, Wire } from '../support/wire.ts';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'dmad-test-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

test('mode 0660, any Host, and gone at the end', async () => {
  const path = join(directory, 'one.sock');
  const daemon = new Daemon({ DMAD_SOCKET: path });
  await daemon.ready();
  expect(lstatSync(path).mode & 0o7777).toBe(0o660);
  const own = await exchange(path, request('GET /livez'));
  expect(own.status).toBe(200);
  const foreign = await exchange(path, request('GET /devices', { host: 'dmad.example.com' }));
  expect(foreign.status).toBe(200);
  const body = '{"device_name":"dax0.0","src_offset":0,"dst_offset":4096,"size":4096}';
  const type = { 'content-type': 'application/json' };
  expect((await exchange(path, request('POST /transfers', type, body))).status).toBe(201);
  // Its client waits for the answer, though it sends nothing more.
  const cut = new Wire(path);
  cut.socket.end(request('PUT /devices/dax0.0/content', { 'content-length': '5' }, 'abc'));
  const problem = expectProblem(await cut.answer(), 400, 'invalid_request');
  expect(problem).toMatchObject({ bytes_written: 3 });
  expect(await daemon.stop()).toMatchObject({ code: 0, stderr: '' });
  expect(existsSync(path)).toBe(false);
});

test('one that a dead daemon left is replaced', async () => {
  const path = join(directory, 'two.sock');
  const first = new Daemon({ DMAD_SOCKET: path });
  await first.ready();
  await first.stop('SIGKILL');
  expect(existsSync(path)).toBe(true);
  const second = new Daemon({ DMAD_SOCKET: path });
  await second.ready();
  expect((await exchange(path, request('GET /livez'))).status).toBe(200);
  await second.stop();
  expect(existsSync(path)).toBe(false);
});

deepTest('while it drains, it answers there too', async () => {
  const path = join(directory, 'three.sock');
  const daemon = new Daemon({ DMAD_SOCKET: path });
  await daemon.ready();
  const upload = new Wire(path).send(
    request('PUT /devices/dax0.0/content', { expect: '100-continue', 'content-length': '3' }),
  );
  await upload.sees('100 Continue');
  daemon.child.kill('SIGTERM');
  await daemon.logged(/shutting down/);
  const ready = await exchange(path, request('GET /readyz'));
  expect(ready.status).toBe(503);
  expect(existsSync(path)).toBe(true);
  expect((await upload.send('end').answer()).status).toBe(200);
  expect(await daemon.exited).toMatchObject({ code: 0, stderr: '' });
  expect(existsSync(path)).toBe(false);
});

deepTest('clients that stall there do not hold up the end', async () => {
  const path = join(directory, 'four.sock');
  const daemon = new Daemon({ DMAD_SOCKET: path, DMAD_DRAIN_SECONDS: '1' });
  await daemon.ready();
  const idle = new Wire(path).send(request('GET /livez', { connection: 'keep-alive' }));
  await idle.answer();
  const halfHeader = new Wire(path).send('GET /livez HTTP/1.1\r\nhost:');
  const halfBody = new Wire(path).send(
    request('PUT /devices/dax0.0/content', { 'content-length': '10' }, 'half!'),
  );
  const events = new Wire(path).send(request('GET /events'));
  await events.sees('200 OK');
  const download = new Wire(path).send(request('GET /devices/dax0.0/content'));
  await download.sees('200 OK');
  download.socket.pause();
  expect(await daemon.stop()).toMatchObject({ code: 0, signal: null, stderr: '' });
  for (const wire of [idle, halfHeader, halfBody, events, download]) wire.end();
});

(process.getuid?.() === 0 ? test : test.skip)('its group is a setting', async () => {
  const path = join(directory, 'group.sock');
  const daemon = new Daemon({ DMAD_SOCKET: path, DMAD_SOCKET_GROUP: 'daemon' });
  await daemon.ready();
  const { gid, mode } = lstatSync(path);
  expect([gid, mode & 0o7777]).toEqual([Number(idOf('daemon')), 0o660]);
  await daemon.stop();
  const numbered = new Daemon({ DMAD_SOCKET: path, DMAD_SOCKET_GROUP: '4321' });
  await numbered.ready();
  expect(lstatSync(path).gid).toBe(4321);
  await numbered.stop();
});

deepTest('a group that there is not, or that the daemon may not give it to', async () => {
  const path = join(directory, 'none.sock');
  const environment = { DMAD_SOCKET: path, DMAD_SOCKET_GROUP: 'no-such-group' };
  const { code, stderr } = await new Daemon(environment).exited;
  expect(code).toBe(78);
  expect(stderr).toBe('dmad: DMAD_SOCKET_GROUP: there is no group "no-such-group"\n');
  expect(existsSync(path)).toBe(false);
  const wrapper = ['setpriv', '--bounding-set=-chown', '--inh-caps=-chown'];
  const refused = await new Daemon({ ...environment, DMAD_SOCKET_GROUP: '4321' }, { wrapper })
    .exited;
  expect(refused.code).toBe(78);
  expect(refused.stderr).toMatch(/^dmad: DMAD_SOCKET_GROUP: [^\n]*SupplementaryGroups=[^\n]*\n$/);
});

/** The id of a group in /etc/group. */
function idOf(group: string): string | undefined {
  return new RegExp(`^${group}:[^:]*:([0-9]+):`, 'm').exec(readFileSync('/etc/group', 'utf8'))?.[1];
}
