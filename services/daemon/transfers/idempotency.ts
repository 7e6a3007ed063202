// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto';
import { Problem, retryLater } from '../problems/problem.ts';
import { type Transfer, type TransferPlan, weightOf } from './transfer.ts';

/** How long a key is remembered, in milliseconds; the HTTP contract's figure. */
const KEPT_MS = 24 * 3600 * 1000;
export const IDEMPOTENCY_KEY = /^[\x20-\x7e]{1,255}$/;
/** A string as structured fields have it (RFC 9651, 3.3.3). */
const QUOTED = /^"((?:[^"\\]|\\["\\])*)"$/;
/** Each key keeps its transfer in memory; weights are in segments. */
const MAX = { keys: 100_000, weight: 1_000_000 };
/** What each client may have remembered, though others have taken all. */
const RESERVED = { keys: 100, weight: 1000 };

interface Remembered {
  fingerprint: string;
  transfer: Transfer;
  expiresAt: number;
}

export interface IdempotencyOptions {
  /** Milliseconds of a clock that does not step. */
  now(): number;
  /** A transfer whose key is forgotten. */
  onForget(transfer: Transfer): void;
}

/**
 * The key that a header's value names. The Idempotency-Key draft has clients send it as a
 * structured field, in quotes; many leave those out, and a retry by another library may have them.
 */
export function readKey(value: string): string {
  const quoted = QUOTED.exec(value)?.[1];
  return quoted === undefined ? value : quoted.replace(/\\(.)/g, '$1');
}

/** Which transfer each Idempotency-Key stands for. */
export class IdempotencyKeys {
  readonly #keys = new Map<string, Remembered>();
  readonly #options: IdempotencyOptions;
  readonly #total = { keys: 0, weight: 0 };
  readonly #ofClient = new Map<string, typeof RESERVED>();

  constructor(options: IdempotencyOptions) {
    this.#options = options;
  }

  /**
   * The transfer that the same request made before, if it did. Each client has keys of its own.
   *
   * @throws Problem idempotency_key_reused where another request used it, queue_full where no more
   *   can be remembered
   */
  find(client: string, key: string, request: Meaning): Transfer | undefined {
    this.forgetExpired();
    const known = this.#keys.get(nameOf(client, key));
    if (known === undefined) {
      const own = this.#ofClient.get(client) ?? { keys: 0, weight: 0 };
      if (reaches(this.#total, MAX) && reaches(own, RESERVED)) {
        const [oldest] = this.#keys.values();
        const detail = 'No more Idempotency-Keys can be remembered now: retry later, or without.';
        const ms = (oldest?.expiresAt ?? 0) - this.#options.now();
        throw retryLater('queue_full', detail, Math.ceil(ms / 1000));
      }
      return undefined;
    }
    if (known.fingerprint !== fingerprint(request)) {
      const detail = 'This Idempotency-Key was used with another body: use a new key.';
      throw new Problem('idempotency_key_reused', detail);
    }
    return known.transfer;
  }

  /**
   * Remembers a transfer by its key, if it has one.
   *
   * @param ageMs how long its key has been remembered already
   * @returns whether it is
   */
  remember(transfer: Transfer, ageMs = 0): boolean {
    const { plan, origin } = transfer;
    if (origin.key === undefined || ageMs >= KEPT_MS) return false;
    const expiresAt = this.#options.now() + KEPT_MS - ageMs;
    const remembered = { fingerprint: fingerprint(plan), transfer, expiresAt };
    this.#keys.set(nameOf(origin.client, origin.key), remembered);
    this.#count(transfer, 1);
    return true;
  }

  /** Its key is free again: the transfer was not accepted. */
  forget(transfer: Transfer): void {
    const { client, key } = transfer.origin;
    if (key !== undefined && this.#keys.delete(nameOf(client, key))) this.#count(transfer, -1);
  }

  /** Forgets those that were kept for as long as they are to be. */
  forgetExpired(): void {
    const now = this.#options.now();
    // A Map keeps the order of insertion, which is that of expiry.
    for (const [key, { expiresAt, transfer }] of this.#keys) {
      if (expiresAt > now) return;
      this.#keys.delete(key);
      this.#count(transfer, -1);
      this.#options.onForget(transfer);
    }
  }

  /** @param by 1 when it is remembered, -1 when it is forgotten */
  #count({ plan, origin: { client } }: Transfer, by: 1 | -1): void {
    const own = this.#ofClient.get(client) ?? { keys: 0, weight: 0 };
    for (const counted of [own, this.#total]) {
      counted.keys += by;
      counted.weight += by * weightOf(plan);
    }
    if (own.keys > 0) this.#ofClient.set(client, own);
    else this.#ofClient.delete(client);
  }
}

function reaches(taken: typeof MAX, limit: typeof MAX): boolean {
  return taken.keys >= limit.keys || taken.weight >= limit.weight;
}

/** Each client has keys of its own; neither their names nor keys have line breaks. */
function nameOf(client: string, key: string): string {
  return `${client}\n${key}`;
}

/** What a request means: the part of its plan that does not depend on what the host has now. */
export type Meaning = Omit<TransferPlan, 'source' | 'destination' | 'bytes' | 'choice'> & {
  source: { name: string };
  destination: { name: string };
};

/** Whatever its spelling: defaults filled in, numbers read, labels in order. */
function fingerprint(plan: Meaning): string {
  const labels = Object.entries(plan.labels).sort(([a], [b]) => (a < b ? -1 : 1));
  const pieces = plan.segments.map(({ src_offset, dst_offset, size }) => [
    src_offset,
    dst_offset,
    size,
  ]);
  const meaning = [
    plan.source.name,
    plan.destination.name,
    pieces,
    plan.segmented,
    plan.requestedEngine,
    plan.priority,
    plan.flush,
    plan.verify,
    plan.timeoutMs,
    labels,
  ];
  return createHash('sha256').update(JSON.stringify(meaning)).digest('base64');
}
