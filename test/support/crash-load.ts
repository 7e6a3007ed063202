// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { TransferDocument } from '../../services/daemon/transfers/schema.ts';
import type { Random } from './random.ts';
import { bearer } from './tokens.ts';

const BLOCK = 64 * 1024;
/** Of each device, for each worker; a device has as many for all of them. */
const BLOCKS = 16;
const DEVICES = ['dax0.0', 'dax1.0'] as const;
/** A token that every request has; the daemon's tokens file may be read anew at any time. */
export const TOKEN = { name: 'crash', header: bearer('crash') };
/** After as many a worker looks what became of them: the daemon's history is not endless. */
const LOOK_AFTER = 30;

/** What a block is filled with; undefined: it cannot be known. */
type Value = number | undefined;

interface Piece {
  from: number;
  to: number;
  blocks: number;
}

/** What was asked for, in the order in which it was. */
interface Operation {
  source: number;
  destination: number;
  pieces: Piece[];
  /** What an upload brings. */
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
}

export function devicesFor(workers: number): string {
  const size = workers * BLOCKS * BLOCK;
  return DEVICES.map((name) => `emulated:${name}=${size}`).join(',');
}

/**
 * A client that copies to and fro in a region of its own, one request after the other, and knows
 * what must be in it, whenever the daemon is killed.
 */
export class Worker {
  accepted = 0;
  interrupted = 0;
  refused = 0;
  /** Labels of transfers that the daemon refused: none of them may ever be found. */
  readonly refusedLabels = new Set<string>();
  uncertain = 0;
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
      const operation = this.#random.integer(1, 6) === 1 ? this.#upload() : this.#transfer();
      this.#operations.push(operation);
      try {
        if (operation.value === undefined) await this.#sendTransfer(url, operation);
        else await this.#sendUpload(url, operation);
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
      const response = await fetch(`${url}/devices/${name}/content`, {
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
    const response = await fetch(`${url}/devices/${DEVICES[device]}/content?offset=${offset}`, {
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
    return {
      ...{ source: destination, destination, pieces: [{ from: to, to, blocks: 1 }] },
      ...{
        value: this.#newValue(),
        key: undefined,
        body: '',
        label: '',
        id: undefined,
        stopped: false,
        answered: false,
        succeeded: false,
      },
    };
  }

  #transfer(): Operation {
    const random = this.#random;
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
    const key = random.integer(1, 2) === 1 ? randomUUID() : undefined;
    const segments = pieces.map(({ from, to, blocks }) => ({
      src_offset: (this.#first + from) * BLOCK,
      dst_offset: (this.#first + to) * BLOCK,
      size: blocks * BLOCK,
    }));
    const label = randomUUID();
    const body = JSON.stringify({
      ...{ device_name: DEVICES[source], dst_device_name: DEVICES[destination], segments },
      durability: random.integer(1, 2) === 1 ? 'none' : 'flush',
      labels: { label, ...(key !== undefined && { key }) },
    });
    return {
      source,
      destination,
      pieces,
      value: undefined,
      key,
      body,
      label,
      id: undefined,
      stopped: false,
      answered: false,
      succeeded: false,
    };
  }

  async #sendUpload(url: string, operation: Operation): Promise<void> {
    const [{ to } = { to: 0 }] = operation.pieces;
    const offset = (this.#first + to) * BLOCK;
    const device = DEVICES[operation.destination];
    const response = await fetch(`${url}/devices/${device}/content?offset=${offset}`, {
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
      const response = await fetch(`${url}/transfers`, {
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
      this.accepted++;
      return document.id;
    };
    // Two at once with one key are one.
    const twice = key !== undefined && this.#random.integer(1, 4) === 1;
    const ids = await Promise.all(twice ? [send(), send()] : [send()]);
    assert.equal(new Set(ids).size, 1, 'two transfers for one key');
  }

  #apply(operation: Operation, seen: ReadonlyMap<string, TransferDocument>): void {
    const { source, destination, pieces, value, id, answered, succeeded, stopped } = operation;
    const from = this.#model[source] as Value[];
    const to = this.#model[destination] as Value[];
    const status = succeeded ? 'succeeded' : seen.get(id ?? '')?.status;
    if (status === 'interrupted') this.interrupted++;
    else if (id !== undefined) assert.equal(status, 'succeeded');
    const certain = value === undefined ? status === 'succeeded' && !stopped : answered;
    for (const piece of pieces) {
      const values =
        value === undefined ? from.slice(piece.from, piece.from + piece.blocks) : [value];
      for (const [index, one] of values.entries()) {
        to[piece.to + index] = certain ? one : undefined;
      }
    }
  }
}

function filled(value: number): Buffer {
  const bytes = Buffer.alloc(BLOCK);
  bytes.writeUInt32LE(value);
  return bytes.fill(bytes.subarray(0, 4));
}

async function waitForEnd(url: string, id: string): Promise<TransferDocument> {
  for (;;) {
    const response = await fetch(`${url}/transfers/${id}`, {
      headers: { prefer: 'wait=30', ...TOKEN.header },
    });
    assert.equal(response.status, 200, `${id}, which was answered 202, is lost`);
    const document = (await response.json()) as TransferDocument;
    if (document.finished_at !== null) return document;
  }
}

/** Waits until nothing goes on, what nobody knows the id of included. */
export async function waitForIdle(url: string): Promise<void> {
  for (const status of ['queued', 'running']) {
    for (;;) {
      const response = await fetch(`${url}/transfers?status=${status}`, { headers: TOKEN.header });
      const { transfers } = (await response.json()) as { transfers: TransferDocument[] };
      if (transfers.length === 0) break;
      for (const { id } of transfers) await waitForEnd(url, id);
    }
  }
}

/** No key has made two transfers, and nothing is there that was refused. */
export async function checkKeys(url: string, refused: ReadonlySet<string>): Promise<void> {
  const keys = new Map<string, string>();
  let token = '';
  do {
    const response = await fetch(`${url}/transfers?page_size=1000&page_token=${token}`, {
      headers: TOKEN.header,
    });
    const page = (await response.json()) as {
      transfers: TransferDocument[];
      next_page_token: string;
    };
    for (const { id, labels } of page.transfers) {
      assert.ok(!refused.has(labels.label ?? ''), `${id} was refused`);
      if (labels.key === undefined) continue;
      assert.ok(!keys.has(labels.key), `${id} and ${keys.get(labels.key)} have one key`);
      keys.set(labels.key, id);
    }
    token = page.next_page_token;
  } while (token !== '');
}
