// SPDX-License-Identifier: Apache-2.0
import { type Problem, retryLater } from '../../http/problems/problem.ts';
import type { Mirror } from '../etcd/mirror.ts';
import type { RunningRecord } from './record.ts';

/** Transfers that have not ended: each gateway keeps them in memory, 2 KB each. */
const MAX_RUNNING = 200_000;
/** Their segments, about 100 bytes each: of all clients, and of one client. */
const MAX_SEGMENTS = 262_144;
const MAX_SEGMENTS_OF_ONE = 131_072;
/** Within this time the watch reports what was accepted, or the mirror reads everything again. */
const SEEN_WITHIN_MS = 10_000;
const MANY_UNSEEN = 1000;

interface Unseen {
  client: string;
  segments: number;
  /** By performance.now(). */
  since: number;
}

/**
 * Limits how many transfers and segments of the fleet are under way. A transfer that this gateway
 * accepts counts from its request on: the watch, from which the mirror knows it, reports it later.
 */
export class AdmissionControl {
  readonly #mirror: Mirror;
  readonly #limitOf: (client: string) => number | undefined;
  readonly #unseen = new Map<string, Unseen>();
  readonly #unseenOf = new Map<string, number>();
  readonly #unseenSegmentsOf = new Map<string, number>();
  #unseenSegments = 0;

  /** @param limitOf how many transfers of a client may be under way */
  constructor(mirror: Mirror, limitOf: (client: string) => number | undefined) {
    this.#mirror = mirror;
    this.#limitOf = limitOf;
  }

  /** Reserves room for a transfer until it is released. @returns a problem if there is none */
  reserve({ id, client, request }: RunningRecord): Problem | undefined {
    const segments = request.segments?.length ?? 0;
    if (this.#unseen.size >= MANY_UNSEEN) this.#forgetOld();
    let problem = this.#problemWith(client, segments);
    if (problem !== undefined && this.#forgetOld()) problem = this.#problemWith(client, segments);
    if (problem !== undefined) return problem;
    this.#unseen.set(id, { client, segments, since: performance.now() });
    this.#count(client, 1, segments);
    return undefined;
  }

  /** Ends a reservation: the mirror has the transfer, or it was not accepted. */
  release(id: string): void {
    const unseen = this.#unseen.get(id);
    if (unseen === undefined) return;
    this.#unseen.delete(id);
    this.#count(unseen.client, -1, -unseen.segments);
  }

  #problemWith(client: string, segments: number): Problem | undefined {
    const mirror = this.#mirror;
    if (mirror.running.size + this.#unseen.size >= MAX_RUNNING) {
      return retryLater('queue_full', `${MAX_RUNNING} transfers have not ended: retry later.`);
    }
    const limit = this.#limitOf(client);
    const own = mirror.runningOf(client) + (this.#unseenOf.get(client) ?? 0);
    if (limit !== undefined && own >= limit) {
      const detail = `With this transfer, more than ${limit} of ${client} would not have ended, which is its limit: retry later.`;
      return retryLater('queue_full', detail);
    }
    if (segments === 0) return undefined;
    const all = mirror.segments + this.#unseenSegments + segments;
    const ownSegments =
      mirror.segmentsOf(client) + (this.#unseenSegmentsOf.get(client) ?? 0) + segments;
    if (all <= MAX_SEGMENTS && ownSegments <= MAX_SEGMENTS_OF_ONE) return undefined;
    const of =
      ownSegments > MAX_SEGMENTS_OF_ONE
        ? `${MAX_SEGMENTS_OF_ONE} segments of ${client}`
        : `${MAX_SEGMENTS} segments`;
    return retryLater(
      'queue_full',
      `With this transfer, more than ${of} would not have ended: retry later.`,
    );
  }

  /** Releases what the watch never reports: transfers that ended while it was down. @returns whether there were any */
  #forgetOld(): boolean {
    const before = this.#unseen.size;
    const old = performance.now() - SEEN_WITHIN_MS;
    // In order of age, oldest first.
    for (const [id, { since }] of this.#unseen) {
      if (since > old) break;
      this.release(id);
    }
    return this.#unseen.size < before;
  }

  #count(client: string, transfers: number, segments: number): void {
    add(this.#unseenOf, client, transfers);
    add(this.#unseenSegmentsOf, client, segments);
    this.#unseenSegments += segments;
  }
}

function add(counts: Map<string, number>, key: string, change: number): void {
  const count = (counts.get(key) ?? 0) + change;
  if (count > 0) counts.set(key, count);
  else counts.delete(key);
}
