// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from '@jest/globals';
import type { TestFleet } from './fleet.ts';
import type { Random } from './random.ts';

const BLOCK = 4096;
/** As many blocks as a device of a host has, without the first. */
const MAX_PAIRS = 255;
const PATIENCE_MS = 180_000;
const REPEAT_MS = 100;
const CHECKS_AT_ONCE = 8;
const LABELS = { sent_by: 'load' };

interface Sent {
  id: string;
  key: string;
  body: object;
}

/**
 * A client of a fleet whose transfers show by their bytes that each ran once and in order: it fills a
 * block of one host's dax0.0 and copies that to a block of dax1.0 of its own, again and again. A fill
 * that came late or twice would be in the next copy, and a copy would have a later fill's bytes.
 */
export class FleetLoad {
  readonly #fleet: TestFleet;
  readonly #host: number;
  readonly #random: Random;
  readonly #pauseMs: number;
  readonly #sent: Sent[] = [];
  #round = 0;
  #pairs = 0;

  /** @param pauseMs between pairs at most */
  constructor(fleet: TestFleet, host: number, random: Random, pauseMs = 30) {
    this.#fleet = fleet;
    this.#host = host;
    this.#random = random;
    this.#pauseMs = pauseMs;
  }

  get accepted(): number {
    return this.#sent.length;
  }

  /** Sends until it is told to stop. */
  async run(stop: AbortSignal): Promise<void> {
    this.#round++;
    for (this.#pairs = 0; this.#pairs < MAX_PAIRS && !stop.aborted; this.#pairs++) {
      const host = `host${this.#host}`;
      const name = `${host} ${this.#round} ${this.#pairs}`;
      const pattern = this.#byteOf(this.#pairs).toString(16).padStart(2, '0');
      await this.#send(`${name} fill`, {
        ...{ host, operation: 'fill', device_name: 'dax0.0', dst_offset: 0, size: BLOCK, pattern },
        ...{ labels: LABELS },
      });
      await this.#send(`${name} copy`, {
        ...{ host, device_name: 'dax0.0', dst_device_name: 'dax1.0', src_offset: 0 },
        ...{ dst_offset: (this.#pairs + 1) * BLOCK, size: BLOCK, labels: LABELS },
      });
      await sleep(this.#random.integer(0, this.#pauseMs));
    }
  }

  /** Each that was accepted since the last check has succeeded, by every gateway, and has run once. */
  async check(): Promise<void> {
    const fresh = this.#sent.slice(-2 * this.#pairs).values();
    const checker = async () => {
      for (const sent of fresh) await this.#find(sent);
    };
    await Promise.all(Array.from({ length: CHECKS_AT_ONCE }, checker));
    expect(new Set(this.#sent.map(({ id }) => id)).size).toBe(this.#sent.length);
    await this.#checkBytes();
    const onHost = await this.#count(this.#fleet.hosts[this.#host]?.url as string);
    expect({ host: this.#host, onHost }).toEqual({ host: this.#host, onHost: this.accepted });
  }

  async #find({ id, key, body }: Sent): Promise<void> {
    for (const gateway of this.#fleet.gateways.keys()) {
      const headers = { prefer: 'wait=60' };
      const found = await this.#fleet.ask('GET', `/transfers/${id}`, { gateway, headers });
      expect({ key, gateway, ...found }).toMatchObject({
        ...{ status: 200, body: { id, status: 'succeeded' } },
      });
    }
    const headers = { 'idempotency-key': key };
    const again = await this.#fleet.ask('POST', '/transfers', { body, headers });
    expect({ key, ...again }).toMatchObject({ status: 200, body: { id } });
  }

  async #checkBytes(): Promise<void> {
    const url = `${this.#fleet.hosts[this.#host]?.url}/devices/dax1.0/content`;
    const headers = { range: `bytes=0-${(this.#pairs + 1) * BLOCK - 1}` };
    const content = Buffer.from(await (await fetch(url, { headers })).arrayBuffer());
    for (let pair = 0; pair < this.#pairs; pair++) {
      const block = content.subarray((pair + 1) * BLOCK, (pair + 2) * BLOCK);
      const expected = Buffer.alloc(BLOCK, this.#byteOf(pair));
      const where = { host: this.#host, round: this.#round, pair };
      expect({ ...where, block }).toEqual({ ...where, block: expected });
    }
  }

  async #count(url: string): Promise<number> {
    let count = 0;
    const label = Object.entries(LABELS).map(([key, value]) => `${key}:${value}`);
    const transfers = this.#fleet.client(url).allTransfers({ page_size: '1000', label });
    for await (const _ of transfers) count++;
    return count;
  }

  /** Asks one gateway or another until it is accepted. */
  async #send(key: string, body: object): Promise<void> {
    const headers = { 'idempotency-key': key, prefer: 'respond-async' };
    const deadline = performance.now() + PATIENCE_MS;
    for (;;) {
      const gateway = this.#random.integer(0, this.#fleet.gateways.length - 1);
      const answer = await this.#fleet
        .ask('POST', '/transfers', { body, headers, gateway })
        .catch(({ message }: Error) => message);
      // No answer, or half of one: what was asked died.
      if (typeof answer !== 'string') {
        if ([200, 201, 202].includes(answer.status)) {
          this.#sent.push({ id: answer.body.id, key, body });
          return;
        }
        expect({ key, ...answer }).toMatchObject({ status: 503 });
        expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
      }
      if (performance.now() > deadline) throw new Error(`nobody accepts ${key}`);
      await sleep(REPEAT_MS);
    }
  }

  /** Differs from the pair before, and from the same pair of the rounds before. */
  #byteOf(pair: number): number {
    return ((this.#round * 7 + pair) % 255) + 1;
  }
}
