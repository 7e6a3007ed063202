// SPDX-License-Identifier: Apache-2.0
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { MEMORY_DIR, startTestApp, type TestApp } from '../support/app.ts';
import type { Answer } from '../support/conformance.ts';
import { EXHAUSTIVE, report, runs } from '../support/depth.ts';
import {
  bodyOf,
  DeviceModel,
  randomOperation,
  randomOptions,
  randomTransfer,
  type TransferOperation,
  type Upload,
} from '../support/operations.ts';
import { noise, Random } from '../support/random.ts';
import { request, Wire } from '../support/wire.ts';

const SIZE = 4 * 2 ** 20;
const NAMES = ['dax0.0', 'dax1.0'] as const;
const ALIVE = { connection: 'keep-alive' };
const JSON_TYPE = { ...ALIVE, 'content-type': 'application/json' };
const PATCH_TYPE = { ...ALIVE, 'content-type': 'application/merge-patch+json' };

/** A transfer that was accepted. */
interface Accepted {
  operation: TransferOperation;
  id: string;
  dependencies: Accepted[];
  labels: Record<string, string>;
  /** Its time is made to run out while it waits. */
  timesOut: boolean;
}

interface Step {
  method: string;
  url: string;
  bytes: Buffer;
  answered(answer: Answer): void;
  /** The daemon had no time for it: nothing comes of it. */
  refused?: () => void;
}

let app: TestApp;
let wire: Wire;
const model = new DeviceModel([]);
/** A machine with other work may have none, or many, that are refused. */
const counts = {
  refused: 0,
  operations: 0,
  batches: 0,
  replayed: 0,
  dependent: 0,
  failed: 0,
  changed: 0,
};

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
  wire = new Wire(await app.listen());
});
afterAll(async () => {
  wire.end();
  await app.close();
});

/** In one write on one connection: accepted in this order, and none waits for another's end. */
async function sendAtOnce(steps: readonly Step[]): Promise<void> {
  wire.send(Buffer.concat(steps.map(({ bytes }) => bytes)));
  for (const { method, url, answered, refused } of steps) {
    const answer = await wire.answer();
    app.conformance.check(method, url, answer);
    if (answer.status !== 503) {
      answered(answer);
      continue;
    }
    expect(jsonOf(answer).code).toBe('overloaded');
    counts.refused++;
    refused?.();
  }
}

const jsonOf = ({ body }: Answer) => JSON.parse(body.toString());

const endOf = async (id: string) =>
  (await app.http.inject({ url: `/transfers/${id}`, headers: { prefer: 'wait=60' } })).json();

/** What one mix asks for, and what must come of it. */
class Mix {
  /** In the order in which they were accepted. */
  readonly #accepted: (Upload | Accepted)[] = [];
  readonly #random: Random;
  /** What touches the first device waits until the mix is sent. */
  readonly #held: boolean;
  /** Batches whose transfers all have keys. */
  readonly #keyed: { body: object; accepted: Accepted[] }[] = [];

  constructor(random: Random, held: boolean) {
    this.#random = random;
    this.#held = held;
  }

  get #transfers(): Accepted[] {
    return this.#accepted.filter((one): one is Accepted => 'id' in one);
  }

  steps(count: number): Step[] {
    return Array.from({ length: count }, () => this.#step());
  }

  #step(): Step {
    const random = this.#random;
    const transfer = random.pick(this.#transfers.length > 0 ? this.#transfers : [undefined]);
    const replay = random.pick(this.#keyed.length > 0 ? this.#keyed : [undefined]);
    const kind = random.integer(1, 10);
    if (kind <= 3 && transfer !== undefined) return this.#patch(transfer);
    if (kind === 4 && replay !== undefined) return this.#replay(replay);
    if (kind <= 6) return this.#batch();
    // One that waits would keep what comes behind it on the connection waiting.
    const operation = this.#held ? randomTransfer(random) : randomOperation(random);
    return operation.kind === 'upload' ? this.#upload(operation) : this.#single(operation);
  }

  #upload(upload: Upload): Step {
    const { destination, offset, bytes } = upload;
    const url = `/devices/${NAMES[destination]}/content?offset=${offset}`;
    return this.#sent('PUT', url, ALIVE, bytes, ({ status }) => {
      expect(status).toBe(200);
      this.#accepted.push(upload);
    });
  }

  #single(operation: TransferOperation): Step {
    const dependencies = this.#dependencies();
    const { body, labels } = this.#item(operation, ids(dependencies));
    const fields = { ...JSON_TYPE, prefer: 'respond-async' };
    return this.#sent('POST', '/transfers', fields, body, (answer) => {
      expect(answer.status).toBe(202);
      const { id } = jsonOf(answer);
      this.#accepted.push({ operation, id, dependencies, labels, timesOut: false });
    });
  }

  #batch(): Step {
    const random = this.#random;
    const keyed = random.integer(0, 1) === 1;
    const items = Array.from({ length: random.integer(1, 6) }, (_, index) => {
      const operation = randomTransfer(random);
      const before = this.#dependencies();
      const earlier = random.integer(0, 1) && index > 0 ? [random.integer(0, index - 1)] : [];
      const names = [...ids(before), ...earlier.map((at) => `#${at}`)];
      const item = this.#item(operation, names);
      const body = { ...item.body, ...(keyed && { idempotency_key: randomUUID() }) };
      return { ...item, operation, body, before, earlier };
    });
    const body = { transfers: items.map((item) => item.body) };
    const minimal = random.integer(0, 1) === 1;
    const fields = { ...JSON_TYPE, ...(minimal && { prefer: 'return=minimal' }) };
    counts.batches++;
    return this.#sent('POST', '/transfers/batch', fields, body, (answer) => {
      expect(answer.status).toBe(202);
      const accepted: Accepted[] = [];
      for (const [index, { operation, before, earlier, labels }] of items.entries()) {
        const told = jsonOf(answer).transfers[index];
        const id = minimal ? told : told.id;
        const dependencies = [...before, ...earlier.map((at) => accepted[at] as Accepted)];
        accepted.push({ operation, id, dependencies, labels, timesOut: false });
      }
      this.#accepted.push(...accepted);
      if (keyed) this.#keyed.push({ body, accepted });
    });
  }

  /** Sends a batch again, of which nothing may come. */
  #replay({ body, accepted }: { body: object; accepted: Accepted[] }): Step {
    const fields = { ...JSON_TYPE, prefer: 'return=minimal' };
    return this.#sent('POST', '/transfers/batch', fields, body, (answer) => {
      expect(answer.headers['idempotency-replayed']).toBe('true');
      expect(jsonOf(answer).transfers).toEqual(ids(accepted));
      counts.replayed++;
    });
  }

  #patch(transfer: Accepted): Step {
    const random = this.#random;
    const { operation } = transfer;
    const devices = [operation.destination, operation.kind !== 'fill' && operation.source];
    const waits = this.#held && devices.includes(0);
    const labels = { changed: randomUUID() };
    const timeouts = waits ? [1, 1, null, 86_400_000] : [null, 86_400_000];
    const patch = {
      ...(random.integer(0, 1) && { labels }),
      ...(random.integer(0, 1) && { priority: random.pick(['high', 'normal', 'low', null]) }),
      ...(random.integer(0, 1) && !transfer.timesOut && { timeout_ms: random.pick(timeouts) }),
    };
    // What does not wait may have started, or be over.
    const mayBeOver = !waits || mayFailWhileItWaits(transfer);
    if (patch.timeout_ms === 1) transfer.timesOut = true;
    const url = `/transfers/${transfer.id}`;
    const step = this.#sent('PATCH', url, PATCH_TYPE, patch, (answer) => {
      if (answer.status === 409 && mayBeOver) return;
      expect(answer.status).toBe(200);
      counts.changed++;
      Object.assign(transfer.labels, patch.labels);
      expect(jsonOf(answer)).toMatchObject({ id: transfer.id, labels: transfer.labels });
    });
    const timesOut = patch.timeout_ms === 1;
    return {
      ...step,
      ...(timesOut && { refused: () => Object.assign(transfer, { timesOut: false }) }),
    };
  }

  #item(operation: TransferOperation, depends_on: string[]) {
    const labels = { made: randomUUID() };
    const body = {
      ...bodyOf(operation),
      ...randomOptions(operation, this.#random),
      ...(depends_on.length > 0 && { depends_on }),
      labels,
    };
    return { body, labels };
  }

  #dependencies(): Accepted[] {
    const random = this.#random;
    const count = random.integer(1, 3) === 1 ? random.integer(1, 3) : 0;
    const all = this.#transfers;
    return all.length === 0 ? [] : Array.from({ length: count }, () => random.pick(all));
  }

  #sent(
    method: string,
    url: string,
    fields: Record<string, string>,
    body: object | Buffer,
    answered: (answer: Answer) => void,
  ): Step {
    const payload = Buffer.isBuffer(body) ? body : JSON.stringify(body);
    return { method, url, bytes: request(`${method} ${url}`, fields, payload), answered };
  }

  /** Waits for those whose time runs out: what is released may be over sooner. */
  async timeouts(): Promise<void> {
    for (const { id, timesOut } of this.#transfers) {
      if (timesOut) await endOf(id);
    }
  }

  /** Holds every document against the model; all must be on their way. */
  async check(): Promise<void> {
    const failed = new Set<Accepted>();
    for (const one of this.#accepted) {
      counts.operations++;
      if (!('id' in one)) {
        model.apply(one);
        continue;
      }
      const { operation, id, dependencies, labels, timesOut } = one;
      const document = await endOf(id);
      expect(document).toMatchObject({ id, labels, depends_on: [...new Set(ids(dependencies))] });
      if (dependencies.length > 0) counts.dependent++;
      const behindFailed = dependencies.some((dependency) => failed.has(dependency));
      if (timesOut || behindFailed) {
        counts.failed++;
        failed.add(one);
        const codes = [
          ...(timesOut ? ['timeout'] : []),
          ...(behindFailed ? ['dependency_failed'] : []),
        ];
        expect(document).toMatchObject({ status: 'failed', bytes_completed: 0 });
        expect(codes).toContain(document.error.code);
      } else {
        expect(document).toMatchObject({
          status: 'succeeded',
          error: null,
          ...model.apply(operation),
        });
      }
    }
  }
}

/** Its time may run out, or that of one that it depends on. */
function mayFailWhileItWaits({ timesOut, dependencies }: Accepted): boolean {
  return timesOut || dependencies.some(mayFailWhileItWaits);
}

function ids(transfers: readonly Accepted[]): string[] {
  return transfers.map(({ id }) => id);
}

function checkBytes(): void {
  for (const [device, bytes] of model.devices.entries()) {
    const found = readFileSync(join(app.stateDir, 'devices', NAMES[device] as string));
    expect(found.equals(bytes)).toBe(true);
  }
}

test('mixes of copies, fills, compares, uploads, batches, dependencies and changes, sent at once, do what the model does', async () => {
  const random = new Random();
  await random.explain(async () => {
    for (let round = 0; round < runs(1000); round++) {
      const blocker = random.integer(1, 2) === 1 ? await app.block('dax0.0') : undefined;
      const mix = new Mix(random, blocker !== undefined);
      await sendAtOnce(mix.steps(random.integer(1, 10)));
      // These can name those by their ids.
      await sendAtOnce(mix.steps(random.integer(0, 10)));
      await mix.timeouts();
      await blocker?.release();
      await mix.check();
      if (random.integer(0, 9) === 0) checkBytes();
    }
    checkBytes();
  });
  report(`mixes: ${JSON.stringify(counts)}`);
  if (EXHAUSTIVE)
    expect(Math.min(...Object.values({ ...counts, refused: 100 }))).toBeGreaterThan(50);
}, 600_000);
