// SPDX-License-Identifier: Apache-2.0
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { type ConnectedClient, connect, type FaultRequest } from '../../services/client/node.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { makeSysfs, recordedSysfs } from '../support/sysfs-tree.ts';

let app: TestApp;
let client: ConnectedClient;

beforeAll(async () => {
  app = await startTestApp({ environment: { DMAD_FAULTS: '1' } });
  client = connect({ url: `http://127.0.0.1:${await app.listen()}`, retryForMs: 0 });
});
afterAll(async () => {
  await client.close();
  await app.close();
});
afterEach(() => client.clearFaults());

const place = { device_name: 'dax0.0', offset: 4096, size: 4096 };
const copy = {
  ...{ device_name: 'dax0.0', dst_device_name: 'dax1.0' },
  ...{ src_offset: 0, dst_offset: 0, size: 65_536, verify: 'crc32c' as const },
};
const set = (fault: Omit<FaultRequest, 'device_name'>) => client.addFault({ ...place, ...fault });

/** What a call ends with. */
function end(promise: Promise<unknown>) {
  return promise.then(
    () => ({ code: 'done', status: 0 }),
    ({ code, status }) => ({ code, status }),
  );
}

async function readAll(offset: number): Promise<void> {
  const { stream } = await client.readContent('dax0.0', { offset, size: 8192 });
  for await (const _ of stream);
}

describe('each kind meets its problem', () => {
  test.each([
    ['media_error', { code: 'media_error', status: 502 }],
    ['device_gone', { code: 'device_gone', status: 503 }],
    ['verify_mismatch', { code: 'verify_mismatch', status: 502 }],
  ] as const)('%s, as often as it is asked for', async (kind, problem) => {
    await set({ kind, count: 2 });
    expect(await client.listFaults()).toMatchObject([{ ...place, kind, count: 2 }]);
    expect(await end(client.runTransfer(copy))).toEqual(problem);
    // Those that touch other bytes do not meet it.
    expect(await end(client.runTransfer({ ...copy, src_offset: 8192 }))).toMatchObject({
      code: 'done',
    });
    expect(await end(client.runTransfer(copy))).toEqual(problem);
    expect(await end(client.runTransfer(copy))).toMatchObject({ code: 'done' });
    expect(await client.listFaults()).toEqual([]);
  });

  test('verify_mismatch leaves what is not verified alone', async () => {
    await set({ kind: 'verify_mismatch' });
    expect(await end(client.runTransfer({ ...copy, verify: 'none' }))).toMatchObject({
      code: 'done',
    });
    expect(await client.listFaults()).toHaveLength(1);
  });

  test('content, checksums and digests meet it too', async () => {
    const problem = { code: 'media_error', status: 502 };
    await set({ kind: 'media_error', count: 4 });
    expect(await end(client.writeContent('dax0.0', new Uint8Array(8192)))).toEqual(problem);
    expect(await end(readAll(0))).toEqual(problem);
    expect(await end(client.checksumContent('dax0.0'))).toEqual(problem);
    expect(await end(client.digestContent('dax0.0'))).toEqual(problem);
    expect(await end(readAll(0))).toMatchObject({ code: 'done' });
  });

  test('the message names each device that may have failed', async () => {
    await set({ kind: 'media_error', count: 2 });
    await expect(client.runTransfer(copy)).rejects.toThrow(/dax0\.0 to dax1\.0/);
    await expect(client.checksumContent('dax0.0')).rejects.toThrow(/segment 0, dax0\.0\)/);
  });

  test('slow begins later', async () => {
    await set({ kind: 'slow', delay_ms: 300 });
    const before = performance.now();
    await client.runTransfer(copy);
    expect(performance.now() - before).toBeGreaterThan(290);
  });

  test('hang ends with its timeout, with a cancel, or once the faults are removed', async () => {
    await set({ kind: 'hang', count: 3 });
    const late = client.runTransfer({ ...copy, timeout_ms: 100 });
    expect(await end(late)).toEqual({ code: 'timeout', status: 504 });
    const { id } = await client.createTransfer(copy, { waitSeconds: 0 });
    expect((await client.cancelTransfer(id)).status).toBe('cancelled');
    const waiting = await client.createTransfer(copy, { waitSeconds: 0 });
    expect((await client.getTransfer(waiting.id, { waitSeconds: 1 })).status).toBe('running');
    await client.clearFaults();
    expect((await client.waitForTransfer(waiting.id)).status).toBe('succeeded');
  });

  test('what hangs goes by the timeout that it is given meanwhile', async () => {
    await set({ kind: 'hang', count: 2 });
    const request = { ...copy, timeout_ms: 600 };
    const longer = await client.createTransfer(request, { waitSeconds: 0 });
    const elsewhere = { ...request, dst_offset: 2 ** 18 };
    const shorter = await client.createTransfer(elsewhere, { waitSeconds: 0 });
    await client.changeTransfer(longer.id, { timeout_ms: null });
    await client.changeTransfer(shorter.id, { timeout_ms: 1 });
    expect((await client.waitForTransfer(shorter.id)).error?.code).toBe('timeout');
    expect((await client.getTransfer(longer.id, { waitSeconds: 1 })).status).toBe('running');
    await client.clearFaults();
    expect((await client.waitForTransfer(longer.id)).status).toBe('succeeded');
  });
});

test('what is no device, and what lies outside', async () => {
  const other = client.addFault({ device_name: 'dax9.0', kind: 'hang' });
  expect((await end(other)).code).toBe('unknown_device');
  expect((await end(set({ kind: 'hang', size: '2MiB' }))).code).toBe('out_of_range');
  expect((await end(set({ kind: 'none' as never }))).code).toBe('invalid_request');
  expect(await client.addFault({ device_name: 'dax0.0', kind: 'hang' })).toMatchObject({
    ...{ offset: 0, size: 2 ** 20, count: 1, delay_ms: 0 },
  });
});

test('metrics say that faults are on, and what they struck', async () => {
  await set({ kind: 'media_error' });
  await end(client.runTransfer(copy));
  await set({ kind: 'slow' });
  const metrics = await client.getMetrics();
  expect(metrics).toContain('dmad_emulated_faults 1');
  expect(metrics).toMatch(/dmad_emulated_faults_struck_total\{kind="media_error"\} [1-9]/);
});

test('a shutdown does not wait for what hangs', async () => {
  const other = await startTestApp({ environment: { DMAD_FAULTS: '1' } });
  const its = connect({ url: `http://127.0.0.1:${await other.listen()}`, retryForMs: 0 });
  await its.addFault({ device_name: 'dax0.0', kind: 'hang', count: 2 });
  await its.createTransfer(copy, { waitSeconds: 0 });
  const upload = end(its.writeContent('dax0.0', new Uint8Array(100), { offset: 2 ** 19 }));
  while ((await its.listFaults()).length > 0) {}
  await other.close(100);
  await upload;
  await its.destroy();
});

test('without DMAD_FAULTS there is no such route, and with real devices the daemon does not start', async () => {
  const plain = await startTestApp();
  expect((await plain.inject({ method: 'GET', url: '/faults' })).statusCode).toBe(404);
  await plain.close();
  const { root: sysfsRoot, remove } = makeSysfs(recordedSysfs('6.12'));
  const real = startTestApp({
    sysfsRoot,
    environment: { DMAD_FAULTS: '1', DMAD_DEVICES: '/dev/dax0.0', DMAD_INSECURE: '1' },
  });
  await expect(real).rejects.toThrow('DMAD_FAULTS is for emulated devices alone');
  remove();
});
