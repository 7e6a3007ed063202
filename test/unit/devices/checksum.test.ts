// SPDX-License-Identifier: Apache-2.0
import { beforeEach, describe, expect, test } from '@jest/globals';
import { SegmentList } from '../../../services/base/segments.ts';
import { checksum } from '../../../services/daemon/devices/checksum.ts';
import type { Engine } from '../../../services/daemon/engines/engine.ts';
import type { JobListener } from '../../../services/daemon/engines/jobs-in-flight.ts';
import type { Completion, Job } from '../../../services/daemon/engines/records.ts';
import { completion, makeDevice } from '../transfers/make-transfer.ts';

const MIB = 2 ** 20;
const ECANCELED = -125;
const NEVER = new AbortController().signal;

describe('checksum', () => {
  const device = makeDevice({ size: 2 ** 40 });
  let jobs: Job[];
  let end: (members?: Partial<Completion>) => void;
  let paid: number;
  const engine = {
    submit: (job: Job, listener: JobListener) => {
      end = (members) => listener.done(completion(members));
      return jobs.push(job);
    },
    cancel: () => end({ status: ECANCELED }),
  } as unknown as Engine;
  const pace = (bytes: number) => {
    paid += bytes;
    return 0;
  };
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  beforeEach(() => {
    jobs = [];
    paid = 0;
  });

  test('is paid for piece by piece, each before it is read', async () => {
    const over = checksum(engine, device, { offset: 5, size: 40 * MIB }, pace, NEVER);
    for (const [index, size] of [16 * MIB, 16 * MIB, 8 * MIB].entries()) {
      await turn();
      expect(jobs).toHaveLength(index + 1);
      expect(jobs[index]).toMatchObject({
        segments: SegmentList.of({ src_offset: 5 + index * 16 * MIB, dst_offset: 0, size }),
        crcSeed: index,
      });
      expect(paid).toBe(Math.min((index + 1) * 16, 40) * MIB);
      end({ sourceCrc: index + 1 });
    }
    expect(await over).toBe(3);
  });

  test('who goes away pays for what was begun, and no more', async () => {
    const left = new AbortController();
    const over = checksum(engine, device, { offset: 0, size: 2 ** 40 }, pace, left.signal);
    await turn();
    left.abort();
    await expect(over).rejects.toMatchObject({ code: 'cancelled' });
    expect([jobs.length, paid]).toEqual([1, 16 * MIB]);
  });

  test('who goes away while it rests has nothing read', async () => {
    const left = new AbortController();
    const over = checksum(engine, device, { offset: 0, size: MIB }, () => 1e15, left.signal);
    await turn();
    left.abort();
    await expect(over).rejects.toMatchObject({ code: 'cancelled' });
    expect(jobs).toHaveLength(0);
  });
});
