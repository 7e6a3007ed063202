// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { EXHAUSTIVE, report, runs } from '../support/depth.ts';
import { NO_ETCD } from '../support/etcd.ts';
import { TestFleet } from '../support/fleet.ts';
import { FleetLoad } from '../support/fleet-load.ts';
import { Random } from '../support/random.ts';

const MEMBERS = 3;
const GATEWAYS = 2;
const HOSTS = 3;
const KILLS = Number(process.env.FLEET_KILLS ?? runs(100, 6));
/** Between two looks at all that was accepted. */
const KILLS_A_ROUND = 10;
const AWAY_MS = EXHAUSTIVE ? 60_000 : 3000;
/** Within which another gateway has taken over what a dead one owned. */
const TAKEOVER_MS = 10_000;
const HOUR_MS = 3_600_000;

const suite = NO_ETCD === undefined ? describe : describe.skip;
const why = NO_ETCD === undefined ? '' : ` (skipped: ${NO_ETCD})`;

suite(`three members of etcd, two gateways and three hosts${why}`, () => {
  let fleet: TestFleet;
  let loads: FleetLoad[];
  const random = new Random();
  beforeAll(async () => {
    fleet = await TestFleet.start({
      ...{ members: MEMBERS, gateways: GATEWAYS, hosts: HOSTS, lifetimeMs: HOUR_MS },
    });
    loads = fleet.hosts.map((_, host) => new FleetLoad(fleet, host, random));
  }, 180_000);
  afterAll(() => fleet?.stop());

  /** Each that can be killed, and how it is started again. */
  const victims: { name: string; kill(): Promise<unknown>; start(): Promise<void> | void }[] = [
    ...Array.from({ length: MEMBERS }, (_, index) => ({
      name: `etcd ${index}`,
      kill: () => fleet.etcd.kill(index),
      start: () => fleet.etcd.run(index),
    })),
    ...Array.from({ length: GATEWAYS }, (_, index) => ({
      name: `gateway ${index}`,
      kill: async () => fleet.gateways[index]?.stop('SIGKILL'),
      start: () => fleet.startGateway(index),
    })),
    ...Array.from({ length: HOSTS }, (_, index) => ({
      name: `host ${index}`,
      kill: async () => fleet.hosts[index]?.daemon.stop('SIGKILL'),
      start: () => fleet.startHost(index),
    })),
  ];

  /** Kills anything, also what has just been started, and all of a kind at once. */
  async function killSome(count: number, killed: string[]): Promise<void> {
    const starting = new Map<string, Promise<void>>();
    for (let kill = 0; kill < count; kill++) {
      await sleep(random.integer(0, 1500));
      const { name, ...victim } = random.pick(victims);
      await starting.get(name);
      killed.push(name);
      await victim.kill();
      const downMs = random.integer(0, 3000);
      starting.set(
        name,
        sleep(downMs).then(() => victim.start()),
      );
    }
    await Promise.all(starting.values());
    await fleet.etcd.healthy();
  }

  test(
    `kill -9 of any of them, ${KILLS} times: each 202 is found again, and ran once, in order`,
    () =>
      random.explain(async () => {
        const killed: string[] = [];
        while (killed.length < KILLS) {
          const stop = new AbortController();
          const working = Promise.all(loads.map((load) => load.run(stop.signal)));
          await killSome(Math.min(KILLS_A_ROUND, KILLS - killed.length), killed);
          stop.abort();
          await working;
          for (const load of loads) await load.check();
        }
        const accepted = loads.map((load) => load.accepted);
        report(`TEST_SEED=${random.seed}: ${killed.length} kills, accepted: ${accepted}`);
        expect(Math.min(...accepted)).toBeGreaterThan(KILLS);
      }),
    HOUR_MS,
  );

  test.each([0, 1])(
    'what gateway %i has accepted goes on within 10 s of its death',
    async (dead) => {
      const survivor = 1 - dead;
      const unblock = await Promise.all(fleet.hosts.map((_, host) => fleet.block(host, 'dax2.0')));
      const copies = fleet.hosts.map(({ name: host }, index) => ({
        body: {
          host,
          device_name: 'dax2.0',
          src_offset: 0,
          dst_offset: (index + 1) * 8192,
          size: 4096,
        },
        headers: { prefer: 'respond-async' },
      }));
      const post = async (gateway: number) => {
        const answers = copies.map((copy) => fleet.ask('POST', '/transfers', { ...copy, gateway }));
        for (const { status, body } of await Promise.all(answers)) {
          expect({ status, body }).toMatchObject({ status: 202 });
          ids.push(body.id);
        }
      };
      const ids: string[] = [];
      await post(dead);
      await fleet.until(async () => {
        const found = ids.map((id) => fleet.ask('GET', `/transfers/${id}`, { gateway: survivor }));
        return (await Promise.all(found)).every(({ body }) => body.status === 'queued');
      });
      await fleet.gateways[dead]?.stop('SIGKILL');
      const since = performance.now();
      for (const release of unblock) release();
      await post(survivor);
      for (const id of ids) {
        const headers = { prefer: 'wait=30' };
        const { body } = await fleet.ask('GET', `/transfers/${id}`, { gateway: survivor, headers });
        expect(body).toMatchObject({ id, status: 'succeeded' });
      }
      const took = performance.now() - since;
      report(`gateway ${dead} died: ${Math.round(took)} ms`);
      expect(took).toBeLessThan(TAKEOVER_MS);
      await fleet.startGateway(dead);
    },
    120_000,
  );

  test(
    `a host that is away for ${AWAY_MS / 1000} s gets its work when it is back`,
    async () => {
      const [load] = loads as [FleetLoad];
      await fleet.hosts[0]?.daemon.stop('SIGKILL');
      const stop = new AbortController();
      const working = load.run(stop.signal);
      await sleep(AWAY_MS);
      stop.abort();
      await working;
      await fleet.startHost(0);
      await load.check();
    },
    4 * AWAY_MS + 120_000,
  );
});
