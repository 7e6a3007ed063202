// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { EXHAUSTIVE, runs } from '../support/depth.ts';
import { NO_ETCD } from '../support/etcd.ts';
import { TestFleet } from '../support/fleet.ts';
import { Random } from '../support/random.ts';

const BLOCK = 4096;
const TRANSFERS = runs(200, 60);
const KILLS = runs(40, 2);
/** Within which another gateway has taken over what a dead one owned, if other tests leave it a processor. */
const TAKEOVER_MS = EXHAUSTIVE ? 10_000 : 30_000;

const suite = NO_ETCD === undefined ? describe : describe.skip;
const why = NO_ETCD === undefined ? '' : ` (skipped: ${NO_ETCD})`;

suite(`gateways that are killed${why}`, () => {
  let fleet: TestFleet;
  beforeAll(async () => {
    fleet = await TestFleet.start();
  }, 120_000);
  afterAll(() => fleet?.stop());

  const random = new Random();

  /** A copy of block 0 to a block of its own. Had it run twice, or late, a later fill would show. */
  const steps = (round: number, index: number) => {
    const block = index + 1;
    const byte = ((round * TRANSFERS + index) % 255) + 1;
    const pattern = byte.toString(16).padStart(2, '0');
    return {
      byte,
      fill: {
        ...{ host: 'host0', operation: 'fill', device_name: 'dax0.0' },
        ...{ dst_offset: 0, size: BLOCK, pattern },
      },
      copy: {
        ...{ host: 'host0', device_name: 'dax0.0', dst_device_name: 'dax1.0' },
        ...{ src_offset: 0, dst_offset: block * BLOCK, size: BLOCK },
      },
    };
  };

  test(`${KILLS} times: each 202 is found again, and ran once, in order`, async () => {
    for (let round = 0; round < KILLS; round++) {
      const victim = round % 2;
      const killAt = random.integer(0, TRANSFERS - 1);
      let restarted: Promise<void> | undefined;
      const ids: string[] = [];
      for (let index = 0; index < TRANSFERS; index++) {
        if (index === killAt) {
          restarted = fleet.gateways[victim]
            ?.stop('SIGKILL')
            .then(() => fleet.startGateway(victim));
        }
        const { fill, copy } = steps(round, index);
        ids.push((await fleet.send(fill, `${round} ${index} fill`)).id);
        ids.push((await fleet.send(copy, `${round} ${index} copy`)).id);
      }
      await restarted;
      await endOf(ids);
      const content = await contentOf('dax1.0', (TRANSFERS + 1) * BLOCK);
      for (let index = 0; index < TRANSFERS; index++) {
        const at = (index + 1) * BLOCK;
        const { byte } = steps(round, index);
        const block = content.subarray(at, at + BLOCK);
        expect({ round, index, block }).toEqual({ round, index, block: Buffer.alloc(BLOCK, byte) });
      }
      expect(new Set(ids).size).toBe(ids.length);
    }
    // No more on the host than were accepted.
    const { url } = fleet.hosts[0] as { url: string };
    let count = 0;
    for await (const _ of fleet.client(url).allTransfers({ page_size: '1000' })) count++;
    expect(count).toBe(KILLS * TRANSFERS * 2);
  }, 600_000);

  test(`a dead gateway’s work goes on within ${TAKEOVER_MS / 1000} s`, async () => {
    const { gateway: owner } = await ownerOf();
    const survivor = 1 - owner;
    await fleet.gateways[owner]?.stop('SIGKILL');
    const since = performance.now();
    const { copy } = steps(0, 0);
    const { status, body } = await fleet.ask('POST', '/transfers', {
      ...{ body: copy, gateway: survivor, headers: { prefer: 'wait=30' } },
    });
    expect({ status, body }).toMatchObject({ status: 201, body: { status: 'succeeded' } });
    expect(performance.now() - since).toBeLessThan(TAKEOVER_MS);
    await fleet.startGateway(owner);
  }, 120_000);

  test('one that gets SIGTERM answers those who wait, and leaves its hosts at once', async () => {
    const { gateway: owner } = await ownerOf();
    const unblock = await fleet.block(0, 'dax0.0');
    const { copy } = steps(0, 1);
    const waiting = fleet.ask('POST', '/transfers', {
      ...{ body: copy, gateway: owner, headers: { prefer: 'wait=60' } },
    });
    await fleet.until(async () => {
      const { body } = await fleet.ask('GET', '/transfers?page_size=1', { gateway: owner });
      return body.transfers[0].status === 'queued';
    });
    const since = performance.now();
    const { code } = (await fleet.gateways[owner]?.stop()) ?? {};
    expect(code).toBe(0);
    const { status, body } = await waiting;
    expect([status, body.status]).toEqual([202, 'queued']);
    unblock();
    const ended = await fleet.ask('GET', `/transfers/${body.id}`, {
      ...{ gateway: 1 - owner, headers: { prefer: 'wait=30' } },
    });
    expect(ended.body.status).toBe('succeeded');
    expect(performance.now() - since).toBeLessThan(TAKEOVER_MS);
    await fleet.startGateway(owner);
  }, 120_000);

  test('one that stands still for longer than its lease changes nothing when it goes on', async () => {
    const { gateway: owner } = await ownerOf();
    const survivor = 1 - owner;
    const ids: string[] = [];
    const sendPair = async (index: number, gateway: number) => {
      const { fill, copy } = steps(KILLS + 1, index);
      for (const [name, body] of Object.entries({ fill, copy })) {
        const headers = { prefer: 'respond-async', 'idempotency-key': `still ${index} ${name}` };
        const { status, body: made } = await fleet.ask('POST', '/transfers', {
          ...{ body, gateway, headers },
        });
        expect(status).toBe(202);
        ids.push(made.id);
      }
    };
    for (let index = 0; index < 5; index++) await sendPair(index, index % 2);
    fleet.gateways[owner]?.child.kill('SIGSTOP');
    for (let index = 5; index < 10; index++) await sendPair(index, survivor);
    await fleet.until(async () => {
      const { body } = await fleet.ask('GET', `/transfers/${ids.at(-1)}`, { gateway: survivor });
      return body.status === 'succeeded';
    });
    fleet.gateways[owner]?.child.kill('SIGCONT');
    await fleet.until(
      async () => (await fleet.ask('GET', '/readyz', { gateway: owner })).status === 200,
    );
    for (let index = 10; index < 15; index++) await sendPair(index, index % 2);
    await endOf(ids);
    const content = await contentOf('dax1.0', 16 * BLOCK);
    for (let index = 0; index < 15; index++) {
      const at = (index + 1) * BLOCK;
      const block = content.subarray(at, at + BLOCK);
      const { byte } = steps(KILLS + 1, index);
      expect({ index, block }).toEqual({ index, block: Buffer.alloc(BLOCK, byte) });
    }
  }, 120_000);

  test('while etcd hangs nothing is promised, and what was sent runs once', async () => {
    const { copy } = steps(0, 0);
    const { url } = fleet.hosts[0] as { url: string };
    const countOnHost = async () => {
      let count = 0;
      for await (const _ of fleet.client(url).allTransfers({ page_size: '1000' })) count++;
      return count;
    };
    const before = await countOnHost();
    for (let member = 0; member < fleet.etcd.size; member++) fleet.etcd.signal('SIGSTOP', member);
    const hanging = [0, 1].map((gateway) =>
      fleet
        .ask('POST', '/transfers', {
          ...{ body: copy, gateway, headers: { 'idempotency-key': 'hang' } },
        })
        .catch((error: Error) => error.message),
    );
    for (const answer of await Promise.all(hanging)) {
      // The connection is closed if it is not known whether etcd has it.
      if (answer !== 'fetch failed') {
        expect(answer).toMatchObject({ status: 503, body: { code: 'etcd_unavailable' } });
      }
    }
    await fleet.until(async () => (await fleet.ask('GET', '/readyz')).status === 503);
    const refused = await fleet.ask('POST', '/transfers', { body: copy });
    expect(refused).toMatchObject({ status: 503, body: { code: 'etcd_unavailable' } });
    for (let member = 0; member < fleet.etcd.size; member++) fleet.etcd.signal('SIGCONT', member);
    const { id } = await fleet.send(copy, 'hang');
    // One that has not heard of it yet, and cannot ask etcd, knows no better than 503.
    for (const gateway of [0, 1]) {
      await fleet.until(
        async () => (await fleet.ask('GET', '/readyz', { gateway })).status === 200,
      );
    }
    await endOf([id]);
    expect((await fleet.send(copy, 'hang')).id).toBe(id);
    expect(await countOnHost()).toBe(before + 1);
  }, 180_000);

  async function endOf(ids: readonly string[]): Promise<void> {
    for (const [index, id] of ids.entries()) {
      const found = await fleet.ask('GET', `/transfers/${id}`, {
        ...{ gateway: index % 2, headers: { prefer: 'wait=60' } },
      });
      expect(found).toMatchObject({ status: 200, body: { id, status: 'succeeded' } });
    }
  }

  async function contentOf(device: string, size: number): Promise<Buffer> {
    const { url } = fleet.hosts[0] as { url: string };
    const headers = { range: `bytes=0-${size - 1}` };
    const answer = await fetch(`${url}/devices/${device}/content`, { headers });
    return Buffer.from(await answer.arrayBuffer());
  }

  /** The gateway that hands the host its transfers. */
  async function ownerOf(): Promise<{ gateway: number }> {
    for (;;) {
      for (const gateway of [0, 1]) {
        const { body } = await fleet.ask('GET', '/metrics', { gateway });
        if (/^dmad_fleet_hosts_owned 1$/m.test(body)) return { gateway };
      }
    }
  }
});
