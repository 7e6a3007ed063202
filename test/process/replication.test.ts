// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { fetchJson } from '../support/fetch.ts';
import { Host, MIB } from '../support/peers.ts';

const BLOCKS = 16;
const SIZE = BLOCKS * MIB;
/** On a busy machine it may take more than the 10 s that are the default. */
const PATIENT = { prefer: 'wait=60' };

describe('replication between two daemons', () => {
  let source: Host;
  let destination: Host;
  beforeAll(async () => {
    source = await Host.make(`${BLOCKS}MiB`);
    destination = await Host.make(`${BLOCKS}MiB`);
    destination.know(source.url);
    await Promise.all([source.start(), destination.start()]);
    await source.write(randomBytes(SIZE));
  });
  afterAll(() => Promise.all([source.remove(), destination.remove()]));

  const json = ({ body }: { body: Buffer }) => JSON.parse(body.toString());

  test.each(['full', 'delta'])('%s: makes a range equal, and proves it', async (mode) => {
    const answer = await destination.replicate(
      { size: SIZE, mode, labels: { job: mode } },
      PATIENT,
    );
    expect(answer.status).toBe(201);
    const replication = json(answer);
    expect(answer.headers.location).toBe(`/replications/${replication.id}`);
    const equal = mode === 'full' ? 0 : BLOCKS;
    expect(replication).toMatchObject({
      ...{ status: 'succeeded', consistency: 'consistent', waiting_for: null, round: 1 },
      blocks: { total: BLOCKS, equal, copied: BLOCKS - equal, again: 0 },
      ...{ bytes_completed: SIZE, progress: 1, error: null },
    });
    if (mode === 'delta') expect(replication.bytes_on_wire).toBeLessThan(1000);
    expect(await destination.digest(0, SIZE)).toBe(await source.digest(0, SIZE));
    const { inconsistent } = await fetchJson(`${destination.url}/devices/dax0.0`);
    expect(inconsistent).toEqual([]);
  });

  test('delta: fetches what differs, and no more', async () => {
    for (const block of [3, 4, 10]) await source.write(randomBytes(1000), block * MIB + 5);
    const answer = await destination.replicate({ size: SIZE }, PATIENT);
    expect(json(answer)).toMatchObject({
      ...{ status: 'succeeded', round: 1 },
      blocks: { total: BLOCKS, equal: BLOCKS - 3, copied: 3, again: 0 },
    });
    expect(json(answer).bytes_on_wire).toBeLessThan(3.1 * MIB);
    expect(await destination.digest(0, SIZE)).toBe(await source.digest(0, SIZE));
  });
});
