// SPDX-License-Identifier: Apache-2.0
import { createHash, randomBytes } from 'node:crypto';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { DmadClient } from '../../services/client/index.ts';
import { type ConnectedClient, connect, DmadError } from '../../services/client/node.ts';
import { longTransfer, MEMORY_DIR, startTestApp, type TestApp } from '../support/app.ts';
import { crc32cText } from '../support/crc32c.ts';

const MIB = 2 ** 20;
/** Large enough that a {@link longTransfer} outlasts every call about it. */
const SIZE = 32 * MIB;

let app: TestApp;
let client: ConnectedClient;

beforeAll(async () => {
  app = await startTestApp({
    environment: { DMAD_DEVICES: `emulated:dax0.0=${SIZE},emulated:dax1.0=${SIZE}` },
    parentDir: MEMORY_DIR,
  });
  client = connect({ url: `http://127.0.0.1:${await app.listen()}`, retryForMs: 2000 });
});
afterAll(async () => {
  await client.close();
  await app.close();
});

const copy = (size = MIB) => ({
  ...{ device_name: 'dax0.0', dst_device_name: 'dax1.0' },
  ...{ src_offset: 0, dst_offset: 0, size },
});

/** What a call fails with. */
async function errorOf(promise: Promise<unknown>): Promise<DmadError> {
  const error = await promise.then(
    () => new Error('it succeeded'),
    (reason) => reason,
  );
  expect(error).toBeInstanceOf(DmadError);
  return error as DmadError;
}

async function bytesOf(stream: ReadableStream<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** The operation behind each method whose name is another. */
const METHODS: Record<string, string> = { watchTransfer: 'watch', watchTransfers: 'watchAll' };

test('the client has a method for each operation', async () => {
  const document = (await client.getOpenApi()) as {
    paths: Record<string, Record<string, { operationId?: string }>>;
  };
  const operations = Object.values(document.paths)
    .flatMap((path) => Object.values(path))
    .flatMap(({ operationId }) => operationId ?? []);
  expect(operations.length).toBeGreaterThan(20);
  const missing = operations
    .map((operation) => METHODS[operation] ?? operation)
    .filter((method) => !(method in DmadClient.prototype));
  expect(missing).toEqual([]);
});

test('what can be read', async () => {
  expect(await client.isLive()).toEqual({ status: 'ok' });
  expect(await client.isReady()).toMatchObject({ ready: true });
  expect(await client.getVersion()).toMatchObject({ api: { major: 1 } });
  expect(await client.getRoot()).toMatchObject({ name: 'dmad' });
  expect(await client.explainProblem('media_error')).toMatchObject({ code: 'media_error' });
  expect(await client.getMetrics()).toContain('dmad_build_info');
  expect(await client.whoami()).toMatchObject({ name: 'anonymous' });
  expect((await client.listEngines()).cpu.available).toBe(true);
  expect((await client.listDevices()).map(({ name }) => name)).toEqual(['dax0.0', 'dax1.0']);
  expect(await client.getDevice('dax0.0')).toMatchObject({ kind: 'emulated', size: SIZE });
  expect((await client.calibrate()).auto.calibration).not.toBeNull();
});

describe('transfers', () => {
  test('one that succeeds, one that is planned, one that goes on, one that is cancelled', async () => {
    const done = await client.runTransfer({ ...copy(), verify: 'crc32c' });
    expect(done).toMatchObject({ status: 'succeeded', verification: { method: 'crc32c' } });
    expect(await client.planTransfer(copy())).toMatchObject({ dry_run: true, bytes: MIB });
    const request = longTransfer(SIZE) as ReturnType<typeof copy>;
    const running = await client.createTransfer(request, { waitSeconds: 0 });
    expect(['queued', 'running']).toContain(running.status);
    const changed = await client.changeTransfer(running.id, { labels: { changed: 'yes' } });
    expect(changed).toMatchObject({ id: running.id, labels: { changed: 'yes' } });
    const cancelled = await client.cancelTransfer(running.id);
    expect(cancelled.status).toBe('cancelled');
    expect(await client.getTransfer(running.id)).toEqual(cancelled);
    expect(await errorOf(client.cancelTransfer(done.id))).toMatchObject({
      ...{ code: 'not_cancellable', status: 409, transfer: { id: done.id } },
    });
  });

  test('many at once, one behind the other', async () => {
    const [first, second] = await client.createTransfers([
      copy(512),
      { ...copy(512), depends_on: ['#0'] },
    ]);
    expect(second?.depends_on).toEqual([first?.id]);
    expect((await client.waitForTransfer(second?.id as string)).status).toBe('succeeded');
  });

  test('a key makes one transfer of several calls', async () => {
    const idempotencyKey = 'the same';
    const first = await client.createTransfer(copy(), { idempotencyKey });
    expect((await client.createTransfer(copy(), { idempotencyKey })).id).toBe(first.id);
    const other = client.createTransfer(copy(512), { idempotencyKey });
    expect((await errorOf(other)).code).toBe('idempotency_key_reused');
  });

  test('pages', async () => {
    const labels = { page: 'yes' };
    for (let i = 0; i < 5; i++) await client.runTransfer({ ...copy(512), labels });
    const all = [];
    for await (const transfer of client.allTransfers({ label: 'page:yes', page_size: '2' })) {
      all.push(transfer.id);
    }
    expect(new Set(all).size).toBe(5);
    expect((await client.listTransfers({ label: 'page:no' })).transfers).toEqual([]);
  });

  test('what is refused, and what fails', async () => {
    const refused = client.createTransfer({ ...copy(), size: '1PiB' });
    expect(await errorOf(refused)).toMatchObject({
      ...{ code: 'invalid_request', status: 400 },
      errors: [{ pointer: '/size' }],
    });
    const request = { ...(longTransfer(SIZE) as ReturnType<typeof copy>), timeout_ms: 50 };
    const failed = await errorOf(client.runTransfer(request));
    expect(failed).toMatchObject({ code: 'timeout', status: 504, transfer: { status: 'failed' } });
    expect((await errorOf(client.getTransfer('none'))).code).toBe('not_found');
  });

  test('a signal and a deadline end a call, not the transfer', async () => {
    const blocker = await app.block('dax1.0');
    const signal = AbortSignal.timeout(50);
    await expect(client.runTransfer(copy(), { signal })).rejects.toMatchObject({
      name: 'TimeoutError',
    });
    const late = await errorOf(client.runTransfer(copy(), { deadlineMs: 50 }));
    expect(late.code).toBe('deadline_exceeded');
    await expect(client.runTransfer(copy(), { signal: AbortSignal.abort('no') })).rejects.toBe(
      'no',
    );
    await blocker.release();
  });
});

describe('watching', () => {
  test('ends with the end, and keeps the segments', async () => {
    const request = { ...longTransfer(SIZE), timeout_ms: 300 } as unknown as ReturnType<
      typeof copy
    >;
    const { id } = await client.createTransfer(request, { waitSeconds: 0 });
    const seen = [];
    for await (const { transfer } of client.watch(id)) {
      expect(transfer.segments).toHaveLength(4096);
      seen.push(transfer.status);
    }
    expect(seen.at(-1)).toBe('failed');
    const after = [];
    for await (const { transfer } of client.watch(id)) after.push(transfer.status);
    expect(after).toEqual(['failed']);
    const unknown = client.watch('none').next();
    expect((await errorOf(unknown)).code).toBe('not_found');
  });

  test('all transfers, until one has seen enough', async () => {
    const abort = new AbortController();
    const events = client.watchAll({}, { signal: abort.signal });
    const first = events.next();
    // Until the stream is open it misses what happens.
    const made = [];
    let seen: Awaited<typeof first> | undefined;
    while (seen === undefined) {
      made.push((await client.runTransfer(copy(512))).id);
      seen = await Promise.race([first, sleep(20, undefined)]);
    }
    expect(made).toContain(seen.value.transfer.id);
    abort.abort('enough');
    await expect(
      (async () => {
        for await (const _ of events);
      })(),
    ).rejects.toBe('enough');
  });
});

describe('content', () => {
  const bytes = new Uint8Array(randomBytes(700_001));

  test.each([
    ['bytes', () => bytes],
    ['a blob', () => new Blob([bytes])],
    ['an iterable', () => new Blob([bytes]).stream()],
    ['what gives iterables', () => () => new Blob([bytes]).stream()],
  ])('up from %s and down again, with progress', async (_what, body) => {
    const progress: number[] = [];
    const onProgress = (done: number) => progress.push(done);
    const options = { offset: 4097, size: bytes.length, durability: 'flush' as const, onProgress };
    const written = await client.writeContent('dax0.0', body(), options);
    expect(written).toMatchObject({ bytes_written: bytes.length, crc32c: crc32cText(bytes) });
    if (_what !== 'bytes') expect(progress.at(-1)).toBe(bytes.length);
    progress.length = 0;
    const { size, stream } = await client.readContent('dax0.0', options);
    expect(size).toBe(bytes.length);
    expect((await bytesOf(stream)).equals(bytes)).toBe(true);
    expect(progress.at(-1)).toBe(bytes.length);
    const { crc32c } = await client.checksumContent('dax0.0', options);
    expect(crc32c).toBe(crc32cText(bytes));
  });

  test('digests of the body and of blocks', async () => {
    const digest = { 'sha-256': createHash('sha256').update(bytes).digest() };
    await client.writeContent('dax0.0', bytes, { digest });
    const wrong = client.writeContent('dax0.0', bytes.subarray(1), { digest });
    expect(await errorOf(wrong)).toMatchObject({
      ...{ code: 'digest_mismatch', bytesWritten: bytes.length - 1 },
    });
    await client.writeContent('dax0.0', bytes);
    const range = { offset: 0, size: bytes.length, blockSize: 65_536 };
    const expected = [];
    for (let at = 0; at < bytes.length; at += 65_536) {
      expected.push(
        createHash('sha256')
          .update(bytes.subarray(at, at + 65_536))
          .digest('hex'),
      );
    }
    const found = [];
    for await (const each of client.blockDigests('dax0.0', range)) {
      found.push(Buffer.from(each).toString('hex'));
    }
    expect(found).toEqual(expected);
    expect((await client.digestContent('dax0.0', range)).digests).toEqual(expected);
  });

  test('a download that is cancelled before it is read leaves no connection', async () => {
    const own = connect({ url: `http://127.0.0.1:${await app.listen()}` });
    const { stream } = await own.readContent('dax0.0');
    await stream.cancel();
    const closed = await Promise.race([own.close().then(() => true), sleep(2000, false)]);
    await own.destroy();
    expect(closed).toBe(true);
  });

  test('what does not fit, and what is given up', async () => {
    const tooMuch = client.writeContent('dax0.0', new Uint8Array(SIZE + 1));
    expect(await errorOf(tooMuch)).toMatchObject({ code: 'payload_too_large', bytesWritten: 0 });
    const beyond = client.readContent('dax0.0', { offset: SIZE - 10, size: 11 });
    expect((await errorOf(beyond)).code).toBe('out_of_range');
    const outside = client.readContent('dax0.0', { offset: SIZE });
    expect((await errorOf(outside)).code).toBe('range_not_satisfiable');
    const { stream } = await client.readContent('dax0.0');
    await stream.cancel();
    const abort = new AbortController();
    const other = await client.readContent('dax0.0', { signal: abort.signal });
    abort.abort('given up');
    await expect(text(other.stream as never)).rejects.toBe('given up');
  });
});
