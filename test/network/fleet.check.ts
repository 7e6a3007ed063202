// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { EXHAUSTIVE, report } from '../support/depth.ts';
import { NO_ETCD } from '../support/etcd.ts';
import { TestFleet } from '../support/fleet.ts';
import { FleetLoad } from '../support/fleet-load.ts';
import { Random } from '../support/random.ts';
import { Parties } from './parties.ts';

const ETCD = ['etcd0', 'etcd1', 'etcd2'];
const GATEWAYS = ['gateway0', 'gateway1'];
const HOSTS = ['host0'];
/** How long a partition lasts after it has shown. */
const CUT_MS = EXHAUSTIVE ? 30_000 : 1000;
/** Within which another gateway has taken over, or another member of etcd leads. */
const TAKEOVER_MS = 10_000;
const HOUR_MS = 3_600_000;
const PAUSE_MS = 300;
const COPY = {
  ...{ host: 'host0', device_name: 'dax2.0', src_offset: 0, dst_offset: 4096, size: 4096 },
};

const suite = NO_ETCD === undefined ? describe : describe.skip;
const why = NO_ETCD === undefined ? '' : ` (skipped: ${NO_ETCD})`;

suite(`a fleet in a network that is cut${why}`, () => {
  const network = new Parties([...ETCD, ...GATEWAYS, ...HOSTS]);
  const random = new Random();
  let fleet: TestFleet;
  let load: FleetLoad;
  beforeAll(async () => {
    await network.open();
    const placesOf = (names: string[]) => names.map((name) => network.placeOf(name));
    fleet = await TestFleet.start({
      ...{ members: ETCD.length, gateways: GATEWAYS.length, hosts: HOSTS.length },
      places: { etcd: placesOf(ETCD), gateways: placesOf(GATEWAYS), hosts: placesOf(HOSTS) },
      lifetimeMs: HOUR_MS,
    });
    load = new FleetLoad(fleet, 0, random, PAUSE_MS);
  }, 180_000);
  afterAll(async () => {
    await fleet?.stop();
    await network.close();
  });

  /** Clients send all the time; whatever is cut, each of their transfers runs once and in order. */
  let stop: AbortController;
  let working: Promise<void>;
  beforeEach(() => {
    stop = new AbortController();
    working = load.run(stop.signal);
  });
  afterEach(async () => {
    network.mend();
    stop.abort();
    await working;
    await fleet.until(async () => (await Promise.all([0, 1].map(isReady))).every(Boolean));
    await load.check();
    report(`TEST_SEED=${random.seed}: ${load.accepted} accepted`);
  }, 180_000);

  const isReady = async (gateway: number) => {
    const { status } = await fleet.ask('GET', '/readyz', { gateway });
    return status === 200;
  };
  const post = (gateway: number, prefer: string) =>
    fleet.ask('POST', '/transfers', { body: COPY, gateway, headers: { prefer } });
  /** The gateway that hands the host its transfers, as it says itself. */
  const ownerOf = async (): Promise<number> => {
    for (;;) {
      for (const gateway of GATEWAYS.keys()) {
        const { body } = await fleet.ask('GET', '/metrics', { gateway });
        if (/^dmad_fleet_hosts_owned 1$/m.test(body)) return gateway;
      }
      await sleep(100);
    }
  };
  /** While a leader of etcd is elected, a gateway may say that it is to be asked again. */
  const succeeds = async (gateway: number) => {
    const deadline = performance.now() + TAKEOVER_MS;
    for (;;) {
      const { status, body } = await post(gateway, 'wait=30');
      if (status === 503 && performance.now() < deadline) {
        await sleep(100);
        continue;
      }
      expect({ status, body }).toMatchObject({ status: 201, body: { status: 'succeeded' } });
      return body.id as string;
    }
  };
  const isRefused = async (gateway: number) => {
    const { status, body, headers } = await post(gateway, 'respond-async');
    expect({ status, body }).toMatchObject({ status: 503, body: { code: 'etcd_unavailable' } });
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
  };

  test('a gateway that etcd cannot reach promises nothing; the other one takes its hosts over', async () => {
    const gateway = await ownerOf();
    const other = 1 - gateway;
    const before = await succeeds(gateway);
    network.cut(GATEWAYS[gateway] as string, ETCD);
    const since = performance.now();
    await succeeds(other);
    expect(performance.now() - since).toBeLessThan(TAKEOVER_MS + CUT_MS);
    await fleet.until(async () => !(await isReady(gateway)));
    await isRefused(gateway);
    await sleep(CUT_MS);
    network.mend();
    await fleet.until(() => isReady(gateway));
    await succeeds(gateway);
    expect(await fleet.ask('GET', `/transfers/${before}`, { gateway })).toMatchObject({
      ...{ status: 200, body: { id: before, status: 'succeeded' } },
    });
  }, 180_000);

  test('a host that its gateway cannot reach gets its work when it can', async () => {
    const gateway = await ownerOf();
    network.cut('host0', [GATEWAYS[gateway] as string]);
    const { status, body } = await post(gateway, 'respond-async');
    expect(status).toBe(202);
    await fleet.until(async () => {
      const path = `/transfers/${body.id}`;
      const found = await fleet.ask('GET', path, { gateway: 1 - gateway });
      return found.body.status === 'accepted' && found.body.waiting_for !== null;
    });
    await sleep(CUT_MS);
    network.mend();
    const headers = { prefer: 'wait=60' };
    const ended = await fleet.ask('GET', `/transfers/${body.id}`, { gateway, headers });
    expect(ended.body.status).toBe('succeeded');
  }, 180_000);

  test('a member of etcd without a majority is passed by; without any majority nothing is promised', async () => {
    const [first = '', ...others] = ETCD;
    network.cut(first, others);
    const since = performance.now();
    for (const gateway of GATEWAYS.keys()) await succeeds(gateway);
    report(`one member cut off: ${Math.round(performance.now() - since)} ms`);
    const known = await succeeds(0);
    network.cut(others[0] as string, others.slice(1));
    await fleet.until(async () => !(await isReady(0)) && !(await isReady(1)));
    for (const gateway of GATEWAYS.keys()) await isRefused(gateway);
    await sleep(CUT_MS);
    network.mend();
    await fleet.until(async () => (await isReady(0)) && (await isReady(1)));
    for (const gateway of GATEWAYS.keys()) {
      await succeeds(gateway);
      const { body } = await fleet.ask('GET', `/transfers/${known}`, { gateway });
      expect(body).toMatchObject({ id: known, status: 'succeeded' });
    }
  }, 180_000);

  test('members of etcd that stand still hold nobody up for long, whatever is watched on them', async () => {
    for (const member of ETCD.keys()) {
      fleet.etcd.signal('SIGSTOP', member);
      const since = performance.now();
      // Each gateway has to see by its watch how it ends.
      await Promise.all([...GATEWAYS.keys()].map(succeeds));
      const took = performance.now() - since;
      await sleep(CUT_MS);
      fleet.etcd.signal('SIGCONT', member);
      report(`member ${member} stopped: ${Math.round(took)} ms`);
      expect(took).toBeLessThan(2 * TAKEOVER_MS);
      await fleet.etcd.healthy();
    }
  }, 180_000);
});
