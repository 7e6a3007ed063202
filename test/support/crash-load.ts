// SPDX-License-Identifier: Apache-2.0
import { deepEqual } from 'node:assert';
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { TransferDocument } from '../../services/daemon/transfers/schema.ts';
import { ask, TOKEN, waitForEnd } from './crash-client.ts';
import type { Random } from './random.ts';

const BLOCK = 64 * 1024;
/** Of each device, for each worker; a device has as many for all of them. */
const BLOCKS = 16;
const DEVICES = ['dax0.0', 'dax1.0'] as const;
/** What a worker asks for: some more often than others. */
const KINDS: readonly Kind[] = ['upload', 'copy', 'copy', 'copy', 'copy', 'fill', 'compare'];
/** After as many a worker looks what became of them: the daemon's history is not endless. */
const LOOK_AFTER = 30;

/** What a block is filled with; undefined: it cannot be known. */
type Value = number | undefined;
type Kind = 'upload' | 'copy' | 'fill' | 'compare';
type Comparison = TransferDocument['comparison'];

interface Piece {
  from: number;
  to: number;
  blocks: number;
}

/** What was asked for, in the order in which it was. */
interface Operation {
  kind: Kind;
  source: number;
  destination: number;
  pieces: Piece[];
  /** What an upload or a fill brings. */
  value: number | undefined;
  key: string | undefined;
  body: string;
  label: string;
  id: string | undefined;
  /** It was stopped for the journal, wherever it was. */
  stopped: boolean;
  answered: boolean;
  /** 201 without a key: a crash may lose it, though not its bytes. */
  succeeded: boolean;
  /** What that answer said of a compare. */
  comparison: Comparison;
}

export function devicesFor(workers: number): string {
  const size = workers * BLOCKS * BLOCK;
  return DEVICES.map((name) => `emulated:${name}=${size}`).join(',');
}

/**
 * A client that copies, fills and compares in a region of its own, one request after the other, and knows
 * what must be in it, whenever the daemon is killed.
 */
export class Worker {
  accepted = 0;
  interrupted = 0;
  refused = 0;
  /** Labels of transfers that the daemon refused: none of them may ever be found. */
  readonly refusedLabels = new Set<string>();
  uncertain = 0;
  /** Compares whose outcome was as the model has it: of equal bytes, and of others. */
  readonly compared = { equal: 0, different: 0 };
  readonly #random: Random;
  readonly #first: number;
  readonly #model: Value[][] = DEVICES.map(() => Array<Value>(BLOCKS).fill(0));
  #operations: Operation[] = [];
  #nextValue = 1;

  /** @param index of its region */
  constructor(index: number, random: Random) {
    this.#random = random;
    this.#first = index * BLOCKS;
  }

  /** Asks for one thing after the other until the daemon answers no more. */
  async work(url: string): Promise<void> {
    for (;;) {
      if (this.#operations.length >= LOOK_AFTER && !(await this.#look(url))) return;
      const kind = this.#random.pick(KINDS);
      const operation = kind === 'upload' ? this.#upload() : this.#transfer(kind);
      this.#operations.push(operation);
      try {
        if (kind === 'upload') await this.#sendUpload(url, operation);
        else await this.#sendTransfer(url, operation);
      } catch (error) {
        if (error instanceof assert.AssertionError) throw error;
        return;
      }
    }
  }

  /** @returns whether the daemon still answered */
  async #look(url: string): Promise<boolean> {
    try {
      await this.resolve(url);
      return true;
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error;
      return false;
    }
  }

  /** After a restart: asks again for what had a key, and waits for all that goes on. */
  async resolve(url: string): Promise<void> {
    for (const operation of this.#operations) {
      if (operation.key !== undefined && !operation.answered) {
        await this.#sendTransfer(url, operation);
      }
    }
    const seen = new Map<string, TransferDocument>();
    for (const { id, succeeded } of this.#operations) {
      if (id !== undefined && !succeeded) seen.set(id, await waitForEnd(url, id));
    }
    for (const operation of this.#operations) this.#apply(operation, seen);
    this.#operations = [];
  }

  /** Compares every byte; all must be over. */
  async check(url: string): Promise<void> {
    for (const [device, name] of DEVICES.entries()) {
      const start = this.#first * BLOCK;
      const range = `bytes=${start}-${start + BLOCKS * BLOCK - 1}`;
      const response = await ask(`${url}/devices/${name}/content`, {
        headers: { range, ...TOKEN.header },
      });
      const bytes = Buffer.from(await response.arrayBuffer());
      assert.equal(bytes.length, BLOCKS * BLOCK);
      const model = this.#model[device] as Value[];
      for (let block = 0; block < BLOCKS; block++) {
        const found = bytes.subarray(block * BLOCK, (block + 1) * BLOCK);
        const value = model[block];
        if (value === undefined) {
          this.uncertain++;
          // It may be a mixture; from now on it is known again.
          await this.#put(url, device, block, this.#newValue());
        } else {
          const what = `worker ${this.#first / BLOCKS}, ${name}, block ${block}`;
          assert.ok(found.equals(filled(value)), `${what}: ${found.readUInt32LE()}, not ${value}`);
        }
      }
    }
  }

  async #put(url: string, device: number, block: number, value: number): Promise<void> {
    const offset = (this.#first + block) * BLOCK;
    const response = await ask(`${url}/devices/${DEVICES[device]}/content?offset=${offset}`, {
      method: 'PUT',
      headers: TOKEN.header,
      body: filled(value),
    });
    await response.arrayBuffer();
    assert.equal(response.status, 200);
    (this.#model[device] as Value[])[block] = value;
  }

  #newValue(): number {
    return this.#first * 2 ** 20 + this.#nextValue++;
  }

  #upload(): Operation {
    const destination = this.#random.integer(0, 1);
    const to = this.#random.integer(0, BLOCKS - 1);
    const pieces = [{ from: to, to, blocks: 1 }];
    const asked = { kind: 'upload', source: destination, destination, pieces } as const;
    return { ...asked, ...NEW, value: this.#newValue(), key: undefined, body: '', label: '' };
  }

  #transfer(kind: Exclude<Kind, 'upload'>): Operation {
    const random = this.#random;
    const { source, destination, pieces } = this.#ranges(kind);
    const value = kind === 'fill' ? this.#newValue() : undefined;
    const key = random.integer(1, 2) === 1 ? randomUUID() : undefined;
    const label = randomUUID();
    const segments = pieces.map(({ from, to, blocks }) => ({
      ...(kind !== 'fill' && { src_offset: (this.#first + from) * BLOCK }),
      dst_offset: (this.#first + to) * BLOCK,
      size: blocks * BLOCK,
    }));
    const body = JSON.stringify({
      operation: kind,
      ...(value === undefined
        ? { device_name: DEVICES[source], dst_device_name: DEVICES[destination] }
        : { device_name: DEVICES[destination], pattern: filled(value).toString('hex', 0, 4) }),
      segments,
      ...(kind !== 'compare' && { durability: random.pick(['none', 'flush']) }),
      labels: { label, ...(key !== undefined && { key }) },
    });
    return { kind, source, destination, pieces, ...NEW, value, key, body, label };
  }

  /** Of compares half are of what was copied before, so that some find no difference. */
  #ranges(kind: Kind): Pick<Operation, 'source' | 'destination' | 'pieces'> {
    const random = this.#random;
    const copied = this.#operations.findLast((one) => one.kind === 'copy');
    if (kind === 'compare' && copied !== undefined && random.integer(1, 2) === 1) return copied;
    const source = random.integer(0, 1);
    const destination = random.integer(0, 1);
    const count = random.integer(1, 3) === 1 ? random.integer(2, 5) : 1;
    const pieces = Array.from({ length: count }, (): Piece => {
      const blocks = random.integer(1, BLOCKS / 2);
      const from = random.integer(0, BLOCKS - blocks);
      let to = random.integer(0, BLOCKS - blocks);
      if (source === destination && Math.abs(to - from) < blocks) {
        to = from >= blocks ? random.integer(0, from - blocks) : from + blocks;
      }
      return to + blocks <= BLOCKS ? { from, to, blocks } : { from: 0, to: BLOCKS - 1, blocks: 1 };
    });
    return { source, destination, pieces };
  }

  async #sendUpload(url: string, operation: Operation): Promise<void> {
    const [{ to } = { to: 0 }] = operation.pieces;
    const offset = (this.#first + to) * BLOCK;
    const device = DEVICES[operation.destination];
    const response = await ask(`${url}/devices/${device}/content?offset=${offset}`, {
      method: 'PUT',
      headers: TOKEN.header,
      body: filled(operation.value ?? 0),
    });
    await response.arrayBuffer();
    assert.equal(response.status, 200);
    operation.answered = true;
  }

  async #sendTransfer(url: string, operation: Operation): Promise<void> {
    const { key, body } = operation;
    const send = async () => {
      const response = await ask(`${url}/transfers`, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          ...TOKEN.header,
          ...(this.#random.integer(1, 3) > 1 && { prefer: 'respond-async' }),
          ...(key !== undefined && { 'idempotency-key': key }),
        },
        body,
      });
      const answer = (await response.json()) as TransferDocument & { transfer?: TransferDocument };
      const document = answer.transfer ?? answer;
      const { code, transfer: stopped } = document as { code?: string; transfer?: { id: string } };
      const refused = response.status === 429 || code === 'overloaded';
      const byJournal = code === 'storage_full' || code === 'journal_unavailable';
      if (byJournal && stopped !== undefined) {
        operation.stopped = true;
        return stopped.id;
      }
      if (refused || byJournal) {
        this.#operations = this.#operations.filter((other) => other !== operation);
        this.refusedLabels.add(operation.label);
        this.refused++;
        return undefined;
      }
      // What was interrupted before a client asks again is answered as interrupted.
      const interrupted = response.status === 503 && document.status === 'interrupted';
      const taken = [200, 201, 202].includes(response.status) || interrupted;
      assert.ok(taken, JSON.stringify(answer));
      operation.id = document.id;
      operation.answered = true;
      operation.succeeded = response.status === 201 && key === undefined;
      operation.comparison = document.comparison;
      this.accepted++;
      return document.id;
    };
    // Two at once with one key are one.
    const twice = key !== undefined && this.#random.integer(1, 4) === 1;
    const ids = await Promise.all(twice ? [send(), send()] : [send()]);
    assert.equal(new Set(ids).size, 1, 'two transfers for one key');
  }

  #apply(operation: Operation, seen: ReadonlyMap<string, TransferDocument>): void {
    const { kind, source, destination, pieces, value, id, answered, succeeded, stopped } =
      operation;
    const document = seen.get(id ?? '');
    const status = succeeded ? 'succeeded' : document?.status;
    if (status === 'interrupted') this.interrupted++;
    else if (id !== undefined) assert.equal(status, 'succeeded');
    const certain = kind === 'upload' ? answered : status === 'succeeded' && !stopped;
    if (kind === 'compare') {
      if (certain) this.#checkComparison(operation, document?.comparison ?? operation.comparison);
      return;
    }
    const from = this.#model[source] as Value[];
    const to = this.#model[destination] as Value[];
    for (const piece of pieces) {
      const values = from.slice(piece.from, piece.from + piece.blocks);
      for (const [index, copied] of values.entries()) {
        to[piece.to + index] = certain ? (value ?? copied) : undefined;
      }
    }
  }

  /** Holds what a compare has found against the model, as far as that knows. */
  #checkComparison({ source, destination, pieces, label }: Operation, found: Comparison): void {
    for (const [segment, { from, to, blocks }] of pieces.entries()) {
      for (let block = 0; block < blocks; block++) {
        const one = this.#model[source]?.[from + block];
        const other = this.#model[destination]?.[to + block];
        if (one === undefined || other === undefined) return;
        if (one === other) continue;
        const [these, those] = [filled(one), filled(other)];
        const at = these.findIndex((byte, index) => byte !== those[index]);
        const first_difference = {
          segment,
          src_offset: (this.#first + from + block) * BLOCK + at,
          dst_offset: (this.#first + to + block) * BLOCK + at,
        };
        deepEqual(found, { equal: false, first_difference }, `compare ${label}`);
        this.compared.different++;
        return;
      }
    }
    deepEqual(found, { equal: true, first_difference: null }, `compare ${label}`);
    this.compared.equal++;
  }
}

/** Of an operation that was not asked for yet. */
const NEW = {
  ...{ id: undefined, stopped: false, answered: false, succeeded: false, comparison: null },
} as const;

function filled(value: number): Buffer {
  const bytes = Buffer.alloc(BLOCK);
  bytes.writeUInt32LE(value);
  return bytes.fill(bytes.subarray(0, 4));
}
