// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { report, runs } from '../support/depth.ts';
import { fetchJson } from '../support/fetch.ts';
import { Host, MIB } from '../support/peers.ts';
import { Random } from '../support/random.ts';

const KILLS = Number(process.env.REPLICATION_KILLS ?? runs(100, 4));
const SIZE = 24 * MIB;
const BLOCK = 65_536;
const BLOCKS = SIZE / BLOCK;
const RATE = 8 * MIB;
/** Of a daemon, on a busy machine. */
const LIFETIME_MS = 600_000;

let source: Host;
let destination: Host;
beforeAll(async () => {
  const options = { lifetimeMs: LIFETIME_MS };
  source = await Host.make('24MiB', {}, options);
  destination = await Host.make('24MiB', {}, options);
  destination.know(source.url);
  await Promise.all([source.start(), destination.start()]);
  await source.write(randomBytes(SIZE));
}, 60_000);
afterAll(() => Promise.all([source.remove(), destination.remove()]));

test(
  `kill -9 of either daemon at random moments, ${KILLS} times: each replication ends equal, and fetches nothing twice`,
  async () => {
    const random = new Random();
    let kills = 0;
    let received = 0;
    let needed = 0;
    while (kills < KILLS) {
      const changed = random.integer(1, BLOCKS);
      for (let i = 0; i < changed; i += 32) {
        // 32 blocks at a time, side by side.
        const first = random.integer(0, BLOCKS - 32);
        await source.write(randomBytes(32 * BLOCK), first * BLOCK);
      }
      const [theirs, ours] = [await source.read(0, SIZE), await destination.read(0, SIZE)];
      const differing = Array.from({ length: BLOCKS }, (_, i) => i * BLOCK).filter(
        (at) => !theirs.subarray(at, at + BLOCK).equals(ours.subarray(at, at + BLOCK)),
      ).length;
      const mode = random.integer(0, 3) === 0 ? 'full' : 'delta';
      const answer = await destination.replicate(
        { size: SIZE, block_size: BLOCK, mode, bytes_per_second: RATE },
        { prefer: 'respond-async' },
      );
      expect(answer.status).toBe(202);
      const { id } = JSON.parse(answer.body.toString());
      for (let once = random.integer(1, 2); once > 0 && kills < KILLS; once--, kills++) {
        await sleep(random.integer(0, 1500));
        const victim = random.integer(0, 1) === 0 ? source : destination;
        await victim.kill();
        await sleep(random.integer(0, 300));
        await victim.start();
        await checkConsistency(id, theirs);
      }
      const ended = await destination.ended(id);
      expect(ended).toMatchObject({ status: 'succeeded', consistency: 'consistent' });
      expect(ended.blocks.equal + ended.blocks.copied).toBe(BLOCKS);
      expect((await destination.read(0, SIZE)).equals(theirs)).toBe(true);
      const must = (mode === 'full' ? BLOCKS : differing) * BLOCK;
      // Beside blocks: digests, and what was under way when a connection was lost.
      expect(ended.bytes_on_wire).toBeLessThan(1.3 * must + 8 * 4 * MIB);
      received += ended.bytes_on_wire;
      needed += must;
    }
    report(`replication-kill: ${kills} kills, ${received} bytes for ${needed} that differed`);
    expect(received).toBeLessThan(1.3 * needed + 4 * MIB * KILLS);
  },
  60_000 + KILLS * 30_000,
);

/** Whatever it says is true. */
async function checkConsistency(id: string, theirs: Buffer): Promise<void> {
  const { consistency } = await destination.replication(id);
  const { inconsistent } = await fetchJson(`${destination.url}/devices/dax0.0`);
  if (consistency === 'consistent') {
    expect((await destination.read(0, SIZE)).equals(theirs)).toBe(true);
    expect(inconsistent).toEqual([]);
  } else if (consistency === 'inconsistent') {
    expect(inconsistent).toEqual([{ offset: 0, size: SIZE, replication: id }]);
  }
}
