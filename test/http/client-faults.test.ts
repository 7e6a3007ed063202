// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { DmadClient, DmadError, type Fetch } from '../../services/client/index.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { Random } from '../support/random.ts';

const MIB = 2 ** 20;
/** How many requests of a hundred meet a fault. */
const FAULTS = 40;

let app: TestApp;
let url: string;

beforeAll(async () => {
  app = await startTestApp();
  url = `http://127.0.0.1:${await app.listen()}`;
});
afterAll(() => app.close());

const problem = (code: string, status: number) =>
  new Response(JSON.stringify({ code, status, detail: 'a fault of the test' }), {
    status,
    headers: { 'content-type': 'application/problem+json', 'retry-after': '0' },
  });

/** The body breaks off after some of its bytes. */
function cutShort(response: Response, after: number): Response {
  const { status, headers } = response;
  const reader = response.body?.getReader();
  let left = after;
  const body = new ReadableStream({
    async pull(controller) {
      const { done, value } = (await reader?.read()) ?? { done: true };
      if (done || value === undefined) return controller.close();
      controller.enqueue(value.subarray(0, left));
      left -= value.length;
      if (left < 0) {
        await reader?.cancel();
        controller.error(new TypeError('terminated'));
      }
    },
  });
  return new Response(body, { status, headers });
}

/** fetch() that fails at random: before the daemon receives it, or after, or in the middle. */
function faultyFetch(random: Random): Fetch {
  return async (input, init) => {
    if (random.integer(1, 100) > FAULTS) return fetch(input, init);
    switch (random.integer(1, 6)) {
      case 1:
        throw new TypeError('fetch failed', { cause: new Error('connect ECONNREFUSED') });
      case 2:
        return problem('queue_full', 429);
      case 3:
        return problem('shutting_down', 503);
      case 4:
        return new Response('<h1>Bad gateway</h1>', { status: 502 });
      case 5: {
        // The daemon does it, and its answer is lost.
        const response = await fetch(input, init);
        await response.body?.cancel();
        throw new TypeError('fetch failed', { cause: new Error('other side closed') });
      }
      default:
        return cutShort(await fetch(input, init), random.integer(0, 100_000));
    }
  };
}

describe.each(Array.from({ length: 4 }, () => new Random().seed))('seed %i', (seed) => {
  const random = new Random(seed);
  const client = () => new DmadClient({ url, fetch: faultyFetch(random), retryForMs: 30_000 });

  test('no transfer twice, none lost', async () => {
    const faulty = client();
    const run = `${seed}`;
    const made = await Promise.all(
      Array.from({ length: 25 }, (_, index) => {
        const request = {
          ...{ device_name: 'dax0.0', dst_device_name: 'dax1.0' },
          ...{ src_offset: index * 1024, dst_offset: index * 1024, size: 1024 },
          labels: { run, index: String(index) },
        };
        return index % 2 === 0
          ? faulty.runTransfer(request)
          : faulty.runTransfer(request, { waitSeconds: 0 });
      }),
    );
    const found = new Map<string, string>();
    for await (const { id, status, labels } of faulty.allTransfers({
      ...{ label: `run:${run}`, page_size: '7' },
    })) {
      expect(status).toBe('succeeded');
      expect(found.has(labels.index as string)).toBe(false);
      found.set(labels.index as string, id);
    }
    expect(made.map(({ id }) => id)).toEqual(made.map((_, index) => found.get(String(index))));
  });

  test('watching ends with the end', async () => {
    const faulty = client();
    const blocker = await app.block('dax1.0');
    const request = { device_name: 'dax0.0', dst_device_name: 'dax1.0', size: MIB };
    const { id } = await faulty.createTransfer(
      { ...request, src_offset: 0, dst_offset: 0 },
      { waitSeconds: 0 },
    );
    const seen: string[] = [];
    const watched = (async () => {
      for await (const { transfer } of faulty.watch(id)) seen.push(transfer.status);
    })();
    await blocker.release();
    await watched;
    expect(seen.at(-1)).toBe('succeeded');
    expect(seen.filter((status) => status === 'succeeded')).toHaveLength(1);
  });

  test('bytes arrive whole, up and down', async () => {
    const faulty = client();
    const bytes = new Uint8Array(randomBytes(500_000));
    await faulty.writeContent('dax0.0', bytes, { offset: 1000 });
    const range = { offset: 1000, size: bytes.length };
    const { stream } = await faulty.readContent('dax0.0', range);
    const chunks: Uint8Array[] = [];
    for await (const chunk of stream) chunks.push(chunk);
    expect(Buffer.concat(chunks).equals(bytes)).toBe(true);
    const digests: string[] = [];
    for await (const digest of faulty.blockDigests('dax0.0', { ...range, blockSize: 4096 })) {
      digests.push(Buffer.from(digest).toString('hex'));
    }
    const expected = await new DmadClient({ url }).digestContent('dax0.0', {
      ...{ ...range, blockSize: 4096 },
    });
    expect(digests).toEqual(expected.digests);
  });
});

describe('nothing hangs', () => {
  const never: Fetch = () => new Promise(() => {});

  test('not a call, when nothing ever answers and the signal is ignored', async () => {
    const client = new DmadClient({ url, fetch: never });
    const late = client.getVersion({ deadlineMs: 30 });
    await expect(late).rejects.toMatchObject({ code: 'deadline_exceeded', status: 0 });
    const signal = AbortSignal.timeout(30);
    for (const call of [
      client.createTransfer({ device_name: 'dax0.0' }, { signal }),
      client.cancelTransfer('id', { signal }),
      client.watch('id', { signal }).next(),
      client.readContent('dax0.0', { signal }),
      client.blockDigests('dax0.0', { signal }).next(),
      client.writeContent('dax0.0', new Uint8Array(1), { signal }),
    ]) {
      await expect(call).rejects.toMatchObject({ name: 'TimeoutError' });
    }
  });

  test('not one that is refused for ever, nor one that finds nobody', async () => {
    const refused = new DmadClient({
      url,
      fetch: async () => problem('queue_full', 429),
      retryForMs: 200,
    });
    await expect(refused.getVersion()).rejects.toMatchObject({ code: 'queue_full', status: 429 });
    const gone = new DmadClient({ url: 'http://127.0.0.1:1', retryForMs: 200 });
    const error = await gone.getVersion().catch((reason) => reason);
    expect(error).toBeInstanceOf(DmadError);
    expect(error).toMatchObject({ code: 'unreachable', status: 0 });
    expect(error.message).toMatch(/ECONNREFUSED|bad port/);
    await expect(gone.watch('id', { retryForMs: 100 }).next()).rejects.toThrow(DmadError);
  });
});

describe('what is not made again', () => {
  const counting = (answer: () => Promise<Response>) => {
    const counter = { calls: 0 };
    const fetch: Fetch = () => {
      counter.calls++;
      return answer();
    };
    return { counter, client: new DmadClient({ url, fetch, retryForMs: 500 }) };
  };
  const lost = async () => {
    throw new TypeError('fetch failed');
  };

  test('a calibration, and a body that is gone, after a lost connection', async () => {
    const { counter, client } = counting(lost);
    await expect(client.calibrate()).rejects.toMatchObject({ code: 'unreachable' });
    expect(counter.calls).toBe(1);
    const body = new Blob([new Uint8Array(10)]).stream();
    await expect(client.writeContent('dax0.0', body)).rejects.toThrow(DmadError);
    expect(counter.calls).toBe(2);
  });

  test('a transfer that failed, also if its problem has Retry-After', async () => {
    const transfer = { id: 'id', status: 'failed' };
    const { counter, client } = counting(
      async () =>
        new Response(JSON.stringify({ code: 'device_gone', detail: 'gone', transfer }), {
          status: 503,
          headers: { 'content-type': 'application/problem+json', 'retry-after': '0' },
        }),
    );
    const failed = client.createTransfer({ device_name: 'dax0.0' });
    await expect(failed).rejects.toMatchObject({ code: 'device_gone', transfer });
    expect(counter.calls).toBe(1);
  });

  test('one key goes with all attempts', async () => {
    const keys = new Set<string | null>();
    const fetch: Fetch = async (_input, init) => {
      keys.add(new Headers(init?.headers).get('idempotency-key'));
      throw new TypeError('fetch failed');
    };
    const client = new DmadClient({ url, fetch, retryForMs: 500 });
    await expect(client.createTransfer({ device_name: 'dax0.0' })).rejects.toThrow(DmadError);
    expect(keys.size).toBe(1);
    expect([...keys][0]).toMatch(/^[0-9a-f]{32}$/);
  });
});
