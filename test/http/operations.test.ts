// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { MEMORY_DIR, startTestApp, type TestApp } from '../support/app.ts';
import { expectProblem } from '../support/conformance.ts';
import { crc32cText } from '../support/crc32c.ts';
import { DeviceModel } from '../support/operations.ts';
import { noise } from '../support/random.ts';

const MIB = 2 ** 20;
const SIZE = 4 * MIB;
const NAMES = ['dax0.0', 'dax1.0'] as const;

let app: TestApp;
const model = new DeviceModel([]);
beforeAll(async () => {
  app = await startTestApp({
    environment: { DMAD_DEVICES: NAMES.map((name) => `emulated:${name}=${SIZE}`).join(',') },
    parentDir: MEMORY_DIR,
  });
  for (const name of NAMES) {
    const bytes = noise(SIZE);
    await app.ask({ method: 'PUT', url: `/devices/${name}/content`, payload: bytes });
    model.devices.push(bytes);
  }
});
afterAll(() => app.close());

const post = async (body: object) => {
  const { status, body: bytes } = await app.ask({
    ...{ method: 'POST', url: '/transfers', payload: body },
  });
  return { status, transfer: JSON.parse(bytes.toString()) };
};

const contentOf = async (device: number) =>
  (await app.ask({ url: `/devices/${NAMES[device]}/content` })).body;

describe('a fill', () => {
  const fill = { operation: 'fill', device_name: 'dax0.0', dst_offset: 4096, size: 1000 };
  const apply1 = (pattern: string) =>
    model.apply({
      kind: 'fill',
      destination: 0,
      segments: [{ src_offset: 0, dst_offset: 4096, size: 1000 }],
      pattern,
    });

  test('writes zeros by default, flushed', async () => {
    const { status, transfer } = await post(fill);
    expect(status).toBe(201);
    expect(transfer).toMatchObject({
      ...{ operation: 'fill', status: 'succeeded', pattern: '00', segments: null },
      ...{ device_name: 'dax0.0', dst_device_name: 'dax0.0' },
      ...{ src_offset: null, dst_offset: 4096, size: 1000, bytes_completed: 1000 },
      ...{ engine: 'cpu', engine_reason: 'only the CPU can fill', verification: null },
      durability: { requested: 'flush' },
    });
    apply1('00');
    expect((await contentOf(0)).equals(model.devices[0] as Buffer)).toBe(true);
  });

  test('begins its pattern anew at each segment, cuts the last part, and verifies it', async () => {
    const segments = [
      { dst_offset: 1, size: 7 },
      { dst_offset: 100, size: 2 },
    ];
    const pattern = '00112233';
    const { transfer } = await post({
      ...{ operation: 'fill', device_name: '/dev/dax0.0', pattern: pattern.toUpperCase() },
      ...{ segments, verify: 'crc32c', durability: 'none' },
    });
    const crc = crc32cText(Buffer.from('001122330011220011', 'hex'));
    expect(transfer).toMatchObject({
      ...{ pattern, segments, size: 9, src_offset: null, dst_offset: null },
      verification: { method: 'crc32c', segments: 2, src: crc, dst: crc },
    });
    const bytes = await contentOf(0);
    expect(bytes.subarray(1, 8).toString('hex')).toBe('00112233001122');
    expect(bytes.subarray(100, 102).toString('hex')).toBe('0011');
    bytes.copy(model.devices[0] as Buffer);
  });

  test.each(['ab', 'abcd', '01234567', 'a'.repeat(16), 'b'.repeat(32), 'c'.repeat(64)])(
    'takes the pattern %s',
    async (pattern) => {
      expect((await post({ ...fill, pattern })).transfer.pattern).toBe(pattern);
      apply1(pattern);
    },
  );

  test.each(['', '0', '000', '000000', '0x00', ' 00', 'gg', '0'.repeat(130), '0'.repeat(256)])(
    'refuses the pattern "%s"',
    async (pattern) => {
      const problem = expectProblem(
        await app.ask({ method: 'POST', url: '/transfers', payload: { ...fill, pattern } }),
        ...([400, 'invalid_request'] as const),
      );
      expect(problem.errors).toMatchObject([{ pointer: '/pattern' }]);
    },
  );

  test('shows its plan', async () => {
    const { status, transfer: plan } = await post({ ...fill, dry_run: true });
    expect(status).toBe(200);
    expect(plan).toEqual({
      ...{ dry_run: true, engine: 'cpu', engine_reason: 'only the CPU can fill' },
      ...{ segments: [{ dst_offset: 4096, size: 1000 }], bytes: 1000 },
    });
  });
});

describe('a comparison', () => {
  const compare = { operation: 'compare', device_name: 'dax0.0', dst_device_name: 'dax1.0' };
  const size = 100_000;

  test('of equal ranges, and of those that differ', async () => {
    await post({
      ...{ device_name: 'dax0.0', dst_device_name: 'dax1.0' },
      ...{ src_offset: 0, dst_offset: 8, size },
    });
    model.apply({
      ...{ kind: 'copy', source: 0, destination: 1 },
      segments: [{ src_offset: 0, dst_offset: 8, size }],
    });
    const pieces = { src_offset: 0, dst_offset: 8, size };
    const equal = await post({ ...compare, ...pieces });
    expect(equal.status).toBe(201);
    expect(equal.transfer).toMatchObject({
      ...{ operation: 'compare', status: 'succeeded', bytes_completed: size, progress: 1 },
      ...{ comparison: { equal: true, first_difference: null }, verification: null },
      durability: { requested: 'none', achieved: 'none', basis: null },
    });

    await post({ operation: 'fill', device_name: 'dax1.0', dst_offset: 8 + 50_000, size: 1 });
    model.devices[1]?.fill(0, 8 + 50_000, 8 + 50_001);
    const byte = model.devices[0]?.[50_000];
    const segments = [
      { src_offset: 0, dst_offset: 8, size: 50_000 },
      { src_offset: 50_000, dst_offset: 50_008, size: 10 },
    ];
    const differ = await post({ ...compare, segments });
    expect(differ.status).toBe(201);
    const found = { segment: 1, src_offset: 50_000, dst_offset: 50_008 };
    expect(differ.transfer.comparison).toEqual(
      byte === 0
        ? { equal: true, first_difference: null }
        : { equal: false, first_difference: found },
    );
    expect(differ.transfer.bytes_completed).toBeLessThanOrEqual(50_010);
  });

  test('of ranges that overlap', async () => {
    const body = {
      operation: 'compare',
      device_name: 'dax0.0',
      src_offset: 5,
      dst_offset: 5,
      size,
    };
    expect((await post(body)).transfer.comparison).toEqual({ equal: true, first_difference: null });
  });

  test('does not wait for what reads, and waits for what writes', async () => {
    const blocker = await app.block('dax1.0', 2 * MIB);
    const reads = { ...compare, src_offset: 2 * MIB, dst_offset: 0, size: 10 };
    expect((await post(reads)).status).toBe(201);
    const waits = await app.post(
      { ...compare, src_offset: 0, dst_offset: 2 * MIB, size: 10 },
      { prefer: 'respond-async' },
    );
    expect(waits.json().status).toBe('queued');
    await blocker.release();
    const headers = { prefer: 'wait=60' };
    const ended = await app.inject({ url: `/transfers/${waits.json().id}`, headers });
    expect(ended.json().status).toBe('succeeded');
  });
});

describe('what does not fit an operation is refused', () => {
  const at = { dst_offset: 0, size: 10 };
  const fill = { operation: 'fill', device_name: 'dax0.0', ...at };
  const compare = { operation: 'compare', device_name: 'dax0.0', src_offset: 0, ...at };
  const copy = { device_name: 'dax0.0', src_offset: 0, dst_offset: 100, size: 10 };

  test.each([
    [{ ...fill, src_offset: 0 }, '/src_offset'],
    [{ ...fill, dst_device_name: 'dax1.0' }, '/dst_device_name'],
    [{ ...fill, dst_offset: undefined }, '/dst_offset'],
    [{ ...fill, size: undefined }, '/size'],
    [{ operation: 'fill', device_name: 'dax0.0', segments: [copy] }, '/segments/0/device_name'],
    [{ operation: 'fill', device_name: 'dax0.0', segments: [at, { ...at, src_offset: 0 }] }, null],
    [{ device_name: 'dax0.0', segments: [at] }, '/segments/0/src_offset'],
    [{ ...compare, pattern: '00' }, '/pattern'],
    [{ ...compare, verify: 'none' }, '/verify'],
    [{ ...compare, verify: 'crc32c' }, '/verify'],
    [{ ...compare, durability: 'flush' }, '/durability'],
    [{ ...compare, durability: 'none' }, '/durability'],
    [{ ...copy, pattern: '00' }, '/pattern'],
    [{ ...copy, operation: 'move' }, '/operation'],
    [{ ...copy, operation: null }, '/operation'],
  ])('%j', async (payload, pointer) => {
    const answer = await app.ask({ method: 'POST', url: '/transfers', payload });
    const problem = expectProblem(answer, 400, 'invalid_request');
    const pointers = problem.errors?.map((error) => error.pointer);
    expect(pointers).toContain(pointer ?? '/segments/1/src_offset');
  });

  test.each([
    [{ ...fill, dst_offset: SIZE - 9 }, 'out_of_range', '/size'],
    [{ ...fill, device_name: 'dax7.0' }, 'unknown_device', '/device_name'],
    [{ ...compare, dst_device_name: 'dax7.0' }, 'unknown_device', '/dst_device_name'],
    [{ ...compare, dst_offset: SIZE }, 'out_of_range', '/dst_offset'],
    [{ ...fill, engine: 'dma' }, 'engine_unavailable', '/engine'],
    [{ ...compare, engine: 'dma' }, 'engine_unavailable', '/engine'],
  ] as const)('%j is %s', async (payload, code, pointer) => {
    const answer = await app.ask({ method: 'POST', url: '/transfers', payload });
    expect(expectProblem(answer, 422, code).errors).toMatchObject([{ pointer }]);
  });

  test('bad blocks, at any place that is read or written', async () => {
    const device = app.inventory.get('dax1.0');
    device.badBlocks = [{ offset: MIB, size: 512 }];
    const near = { dst_offset: MIB - 1, size: 2 };
    for (const payload of [
      { operation: 'fill', device_name: 'dax1.0', ...near },
      {
        operation: 'compare',
        device_name: 'dax0.0',
        dst_device_name: 'dax1.0',
        src_offset: 0,
        ...near,
      },
      {
        operation: 'compare',
        device_name: 'dax1.0',
        dst_device_name: 'dax0.0',
        src_offset: MIB,
        ...at,
      },
    ]) {
      const answer = await app.ask({ method: 'POST', url: '/transfers', payload });
      expectProblem(answer, 422, 'bad_block');
    }
    device.badBlocks = [];
  });

  test('a key stands for one operation, and one pattern', async () => {
    const send = (payload: object) =>
      app.ask({ method: 'POST', url: '/transfers', payload, headers: { 'idempotency-key': 'op' } });
    const first = await send(fill);
    expect(first.status).toBe(201);
    expect((await send({ ...fill, pattern: '00' })).status).toBe(200);
    expectProblem(await send({ ...fill, pattern: '01' }), 422, 'idempotency_key_reused');
    expectProblem(
      await send({ ...fill, operation: 'copy', ...copy }),
      422,
      'idempotency_key_reused',
    );
  });
});

test('metrics tell operations apart', async () => {
  const text = (await app.ask({ url: '/metrics' })).body.toString();
  for (const operation of ['copy', 'fill', 'compare']) {
    const done = `dmad_transfers_total{operation="${operation}",engine="cpu",status="succeeded"}`;
    expect(Number(text.split(`${done} `)[1]?.split('\n')[0])).toBeGreaterThan(0);
    const bytes = `dmad_transfer_bytes_total{operation="${operation}",engine="cpu"}`;
    expect(Number(text.split(`${bytes} `)[1]?.split('\n')[0])).toBeGreaterThan(0);
  }
});

test('a list can be of one operation', async () => {
  const list = async (query: string) =>
    JSON.parse((await app.ask({ url: `/transfers?${query}` })).body.toString()).transfers;
  for (const operation of ['copy', 'fill', 'compare']) {
    const found = await list(`operation=${operation}`);
    expect(found.length).toBeGreaterThan(0);
    expect(new Set(found.map((transfer: { operation: string }) => transfer.operation))).toEqual(
      new Set([operation]),
    );
  }
  expectProblem(await app.ask({ url: '/transfers?operation=move' }), 400, 'invalid_request');
});
