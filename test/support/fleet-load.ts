// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from '@jest/globals';
import type { TestFleet } from './fleet.ts';
import { BLOCK, expectedOf, MAX_PAIRS, type Pair, type Step, stepsOf } from './fleet-steps.ts';
import type { Random } from './random.ts';

const PATIENCE_MS = 180_000;
const REPEAT_MS = 100;
const CHECKS_AT_ONCE = 8;
/** How many pairs a batch has at most. */
const MAX_BATCHED = 4;
/** One pair in this many is replicated to another host, if there is one. */
const PAIRS_A_RELAY = 4;
/** One in this many is changed once it is accepted. */
const PAIRS_A_CHANGE = 3;

interface Sent {
  id: string;
  key: string;
  body: object;
  /** Whether its labels were changed: `maybe` if no answer said so. */
  changed: 'no' | 'maybe' | 'yes';
}

/**
 * A client of a fleet that sends pairs of transfers, alone or in batches, to one gateway or another,
 * changes some of them, and then looks at the bytes: see fleet-steps.ts.
 */
export class FleetLoad {
  readonly #fleet: TestFleet;
  readonly #host: number;
  readonly #random: Random;
  readonly #pauseMs: number;
  readonly #labels: Record<string, string>;
  readonly #sent: Sent[] = [];
  /** How many of those the last check has seen. */
  #checked = 0;
  #round = 0;
  #pairs: Pair[] = [];

  /** @param pauseMs between pairs at most */
  constructor(fleet: TestFleet, host: number, random: Random, pauseMs = 30) {
    this.#fleet = fleet;
    this.#host = host;
    this.#random = random;
    this.#pauseMs = pauseMs;
    this.#labels = { sent_by: `load${host}` };
  }

  get accepted(): number {
    return this.#sent.length;
  }

  /** Sends until `stop` is called. */
  async run(stop: AbortSignal): Promise<void> {
    this.#round++;
    this.#pairs = [];
    while (this.#pairs.length < MAX_PAIRS && !stop.aborted) {
      const batched = this.#random.pick([true, false]);
      const sent = batched ? await this.#sendBatch() : await this.#sendAlone(this.#newPair());
      if (this.#random.integer(1, PAIRS_A_CHANGE) === 1) {
        await this.#change(this.#random.pick(sent), stop);
      }
      await sleep(this.#random.integer(0, this.#pauseMs));
    }
  }

  /** Each that was accepted since the last check has succeeded, by every gateway, and has run once. */
  async check(): Promise<void> {
    const fresh = this.#sent.slice(this.#checked).values();
    const checker = async () => {
      for (const sent of fresh) await this.#find(sent);
    };
    await Promise.all(Array.from({ length: CHECKS_AT_ONCE }, checker));
    this.#checked = this.#sent.length;
    expect(new Set(this.#sent.map(({ id }) => id)).size).toBe(this.#sent.length);
    await this.#checkBytes();
    const onHosts = await this.#countOnHosts();
    expect({ host: this.#host, onHosts }).toEqual({ host: this.#host, onHosts: this.accepted });
  }

  #newPair(): Pair {
    const { length: hosts } = this.#fleet.hosts;
    const relayed = hosts > 1 && this.#random.integer(1, PAIRS_A_RELAY) === 1;
    const pair = {
      ...{ round: this.#round, index: this.#pairs.length, host: this.#host, labels: this.#labels },
      next: relayed ? (this.#host + 1) % hosts : undefined,
    };
    this.#pairs.push(pair);
    return pair;
  }

  async #sendAlone(pair: Pair): Promise<Sent[]> {
    const sent: Sent[] = [];
    for (const { key, body } of stepsOf(pair)) {
      const resolved = withIds(body, sent);
      const { id } = await this.#post('/transfers', resolved, { 'idempotency-key': key });
      sent.push({ id, key, body: resolved, changed: 'no' });
    }
    this.#sent.push(...sent);
    return sent;
  }

  async #sendBatch(): Promise<Sent[]> {
    const count = this.#random.integer(1, Math.min(MAX_BATCHED, MAX_PAIRS - this.#pairs.length));
    const steps: Step[] = [];
    for (let made = 0; made < count; made++) {
      const base = steps.length;
      for (const step of stepsOf(this.#newPair())) steps.push(shifted(step, base));
    }
    const transfers = steps.map(({ key, body }) => ({ ...body, idempotency_key: key }));
    const { transfers: made } = await this.#post('/transfers/batch', { transfers });
    const sent: Sent[] = [];
    for (const [index, { key, body }] of steps.entries()) {
      sent.push({ id: made[index].id, key, body: withIds(body, sent), changed: 'no' });
    }
    this.#sent.push(...sent);
    return sent;
  }

  /** Changes a transfer's labels, unless it ends before. */
  async #change(sent: Sent, stop: AbortSignal): Promise<void> {
    const patch = { labels: { changed: sent.key }, priority: 'high' };
    const headers = { 'content-type': 'application/merge-patch+json' };
    // What a host has that is away cannot be changed until it is back.
    while (!stop.aborted) {
      const answer = await this.#ask('PATCH', `/transfers/${sent.id}`, patch, headers);
      if (answer?.status === 200) sent.changed = 'yes';
      if (answer?.status === 200 || answer?.status === 409) return;
      if (answer !== undefined) {
        expect({ ...sent, ...answer }).toMatchObject({ status: 503 });
      }
      sent.changed = 'maybe';
      await sleep(REPEAT_MS);
    }
  }

  async #find({ id, key, body, changed }: Sent): Promise<void> {
    const labels = { ...this.#labels, ...(changed === 'yes' && { changed: key }) };
    for (const gateway of this.#fleet.gateways.keys()) {
      const headers = { prefer: 'wait=60' };
      const found = await this.#fleet.ask('GET', `/transfers/${id}`, { gateway, headers });
      expect({ key, gateway, ...found }).toMatchObject({
        ...{ status: 200, body: { id, status: 'succeeded', labels } },
      });
      if (changed === 'no') expect(found.body.labels).toEqual(labels);
    }
    const headers = { 'idempotency-key': key };
    const again = await this.#fleet.ask('POST', '/transfers', { body, headers });
    expect({ key, ...again }).toMatchObject({ status: 200, body: { id } });
  }

  async #checkBytes(): Promise<void> {
    for (const pair of this.#pairs) {
      for (const { host, device, offset, byte } of expectedOf(pair)) {
        const url = `${this.#fleet.hosts[host]?.url}/devices/${device}/content`;
        const headers = { range: `bytes=${offset}-${offset + BLOCK - 1}` };
        const block = Buffer.from(await (await fetch(url, { headers })).arrayBuffer());
        const where = { ...pair, host, device, offset };
        expect({ ...where, block }).toEqual({ ...where, block: Buffer.alloc(BLOCK, byte) });
      }
    }
  }

  /** How many of its transfers and replications all hosts have. */
  async #countOnHosts(): Promise<number> {
    let count = 0;
    for (const { url } of this.#fleet.hosts) {
      for (const noun of ['transfers', 'replications']) {
        const label = `sent_by:${this.#labels.sent_by}`;
        let page = '';
        do {
          const query = new URLSearchParams({ page_size: '1000', label });
          if (page !== '') query.set('page_token', page);
          const answer = await fetch(`${url}/${noun}?${query}`);
          const body = (await answer.json()) as Record<string, unknown>;
          count += (body[noun] as unknown[]).length;
          page = body.next_page_token as string;
        } while (page !== '');
      }
    }
    return count;
  }

  /** Asks one gateway or another until it is accepted. */
  async #post(path: string, body: object, key: Record<string, string> = {}) {
    const headers = { ...key, prefer: 'respond-async' };
    const deadline = performance.now() + PATIENCE_MS;
    while (performance.now() < deadline) {
      const answer = await this.#ask('POST', path, body, headers);
      if (answer !== undefined) {
        if ([200, 201, 202].includes(answer.status)) return answer.body;
        expect({ asked: body, ...answer }).toMatchObject({ status: 503 });
        expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
      }
      await sleep(REPEAT_MS);
    }
    throw new Error(`nobody accepts ${JSON.stringify(body)}`);
  }

  /** @returns undefined if what was asked died before it had answered */
  #ask(method: string, path: string, body: object, headers: Record<string, string>) {
    const gateway = this.#random.integer(0, this.#fleet.gateways.length - 1);
    return this.#fleet.ask(method, path, { body, headers, gateway }).catch(() => undefined);
  }
}

/** Dependencies by their ids. @param before what was sent before it, in order */
function withIds({ depends_on, ...body }: Step['body'], before: readonly Sent[]): object {
  if (depends_on === undefined) return body;
  return { ...body, depends_on: depends_on.map((name) => before[Number(name.slice(1))]?.id) };
}

/** The same in a batch that begins with that many others. */
function shifted({ key, body }: Step, base: number): Step {
  const { depends_on } = body;
  if (depends_on === undefined) return { key, body };
  return {
    key,
    body: { ...body, depends_on: depends_on.map((name) => `#${Number(name.slice(1)) + base}`) },
  };
}
