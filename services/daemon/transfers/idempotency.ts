// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto';
import { type HeapOptions, heapShare } from '../../base/heap.ts';
import { Problem, retryLater } from '../../http/problems/problem.ts';
import { monotonicNs } from './clocks.ts';
import type { Meaning } from './request.ts';
import type { Transfer } from './transfer.ts';
import { weightOf } from './weight.ts';

/** How long a key outlives its transfer, in milliseconds; the HTTP contract's figure. */
const KEPT_MS = 24 * 3600 * 1000;
/** Each key keeps its transfer; weights are in segments. */
const MAX = { keys: 100_000, weight: 1_000_000 };
/** What they may take of V8's heap: 1.7 KB each, and their segments. */
const HEAP_PART = 0.15;
const HEAP_BYTES = MAX.keys * 1700 + MAX.weight * 64;
/** What each client may have remembered, though others have taken all. */
const RESERVED = { keys: 100, weight: 1000 };
/** How often all keys are looked through at most while they are full: that takes some 5 ms. */
const SWEEP_MS = 1000;
const FULL = 'No more Idempotency-Keys can be remembered now: retry later, or without.';
const FULL_SECONDS = 60;

interface Remembered {
  fingerprint: string;
  /** Of its transfer. */
  id: string;
  /** What was counted of it. */
  weight: number;
  /** See {@link Transfer.finishedNs}; undefined while the transfer is not over. */
  finishedNs: number | undefined;
}

/** Which transfer each Idempotency-Key stands for. */
export class IdempotencyKeys {
  readonly #keys = new Map<string, Remembered>();
  readonly #onForget: (id: string) => void;
  readonly #max: typeof MAX;
  readonly #total = { keys: 0, weight: 0 };
  readonly #ofClient = new Map<string, typeof RESERVED>();
  /** When all of them were last looked through, by performance.now(). */
  #sweptAt = Number.NEGATIVE_INFINITY;

  /** @param onForget receives the id of each transfer whose key is forgotten */
  constructor(onForget: (id: string) => void, options: HeapOptions = {}) {
    this.#onForget = onForget;
    const share = heapShare(options, HEAP_PART, HEAP_BYTES);
    this.#max = { keys: Math.floor(MAX.keys * share), weight: Math.floor(MAX.weight * share) };
  }

  /** The id of the transfer that a key stands for, whatever the request. */
  peek(client: string, key: string): string | undefined {
    return this.#keys.get(nameOf(client, key))?.id;
  }

  /**
   * The id of the transfer that the same request made before, if it did. Each client has its own keys.
   *
   * @throws Problem idempotency_key_reused if another request used it, queue_full if no more can be
   *   remembered
   */
  find(client: string, key: string, request: Meaning): string | undefined {
    const name = nameOf(client, key);
    const known = this.#keys.get(name);
    if (known === undefined || isOld(known)) {
      if (known !== undefined) this.#forgetOld(name, known);
      if (this.#isFull(client)) {
        if (performance.now() - this.#sweptAt >= SWEEP_MS) this.forgetExpired();
        if (this.#isFull(client)) throw retryLater('queue_full', FULL, FULL_SECONDS);
      }
      return undefined;
    }
    if (known.fingerprint !== fingerprint(request)) {
      const detail = 'This Idempotency-Key was used with another body: use a new key.';
      throw new Problem('idempotency_key_reused', detail);
    }
    return known.id;
  }

  /**
   * Remembers a transfer by its key, if it has one that is still good.
   *
   * @returns whether it is
   */
  remember(transfer: Transfer): boolean {
    const { id, plan, origin } = transfer;
    const finishedNs = transfer.finished ? transfer.finishedNs : undefined;
    if (origin.key === undefined || isOld({ finishedNs })) return false;
    const name = nameOf(origin.client, origin.key);
    const known = this.#keys.get(name);
    // The key was used again after it had expired: the later transfer is the one that it names.
    if (known !== undefined && known.id > id) return false;
    if (known !== undefined) this.#forgetOld(name, known);
    const weight = weightOf(transfer);
    this.#keys.set(name, { fingerprint: fingerprint(plan), id, weight, finishedNs });
    this.#count(origin.client, 1, weight);
    return true;
  }

  /** A transfer's settings have changed, and so may what they weigh. */
  weighAgain(transfer: Transfer): void {
    const known = this.#keyOf(transfer);
    if (known === undefined) return;
    const weight = weightOf(transfer);
    this.#count(transfer.origin.client, 0, weight - known.weight);
    known.weight = weight;
  }

  /** A transfer has finished: from now on the time of its key runs. */
  finish(transfer: Transfer): void {
    const known = this.#keyOf(transfer);
    if (known !== undefined) known.finishedNs = transfer.finishedNs;
  }

  /** Its key is free again: the transfer was not accepted. */
  forget(transfer: Transfer): void {
    const { client, key = '' } = transfer.origin;
    const known = this.#keyOf(transfer);
    if (known !== undefined) this.#remove(nameOf(client, key), known);
  }

  /** Forgets those that were kept for as long as they are to be. */
  forgetExpired(): void {
    this.#sweptAt = performance.now();
    for (const [name, known] of this.#keys) {
      if (isOld(known)) this.#forgetOld(name, known);
    }
  }

  /** What is remembered of a transfer's key, unless that stands for another one. */
  #keyOf({ id, origin: { client, key } }: Transfer): Remembered | undefined {
    const known = key === undefined ? undefined : this.#keys.get(nameOf(client, key));
    return known?.id === id ? known : undefined;
  }

  #forgetOld(name: string, known: Remembered): void {
    this.#remove(name, known);
    this.#onForget(known.id);
  }

  #remove(name: string, { weight }: Remembered): void {
    this.#keys.delete(name);
    this.#count(clientOf(name), -1, -weight);
  }

  #isFull(client: string): boolean {
    const own = this.#ofClient.get(client) ?? { keys: 0, weight: 0 };
    return reaches(this.#total, this.#max) && reaches(own, RESERVED);
  }

  /** How many keys more, and how much weight; negative: less. */
  #count(client: string, keys: number, weight: number): void {
    const own = this.#ofClient.get(client) ?? { keys: 0, weight: 0 };
    for (const counted of [own, this.#total]) {
      counted.keys += keys;
      counted.weight += weight;
    }
    if (own.keys > 0) this.#ofClient.set(client, own);
    else this.#ofClient.delete(client);
  }
}

/** A key is good while its transfer waits or runs, however long that takes, and then for 24 h. */
function isOld({ finishedNs }: Pick<Remembered, 'finishedNs'>): boolean {
  return finishedNs !== undefined && (monotonicNs() - finishedNs) / 1e6 >= KEPT_MS;
}

function reaches(taken: typeof MAX, limit: typeof MAX): boolean {
  return taken.keys >= limit.keys || taken.weight >= limit.weight;
}

/** Each client has its own keys; neither names nor keys have line breaks. */
function nameOf(client: string, key: string): string {
  return `${client}\n${key}`;
}

function clientOf(name: string): string {
  return name.slice(0, name.indexOf('\n'));
}

/** Whatever its spelling: defaults filled in, numbers read, labels in order. */
function fingerprint(plan: Meaning): string {
  const labels = Object.entries(plan.labels).sort(([a], [b]) => (a < b ? -1 : 1));
  const pieces = Array.from(plan.segments, ({ src_offset, dst_offset, size }) => [
    src_offset,
    dst_offset,
    size,
  ]);
  const meaning = [
    plan.operation,
    plan.pattern,
    plan.source.name,
    plan.destination.name,
    pieces,
    plan.segmented,
    plan.requestedEngine,
    plan.priority,
    plan.flush,
    plan.verify,
    plan.timeoutMs,
    plan.dependsOn,
    labels,
  ];
  return createHash('sha256').update(JSON.stringify(meaning)).digest('base64');
}
