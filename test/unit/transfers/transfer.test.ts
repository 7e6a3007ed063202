// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { documentOf } from '../../../services/daemon/transfers/document.ts';
import { transferSchema } from '../../../services/daemon/transfers/schema.ts';
import { Problem } from '../../../services/http/problems/problem.ts';
import { runs } from '../../support/depth.ts';
import { completion, makeDevice, makeTransfer } from './make-transfer.ts';

describe('Transfer', () => {
  test('is a document of the published schema at every stage, its times in order', () => {
    const transfer = makeTransfer();
    const document = () => transferSchema.parse(JSON.parse(JSON.stringify(documentOf(transfer))));
    expect(document()).toMatchObject({ status: 'queued', started_at: null, finished_at: null });
    transfer.start(transfer.choice);
    expect(document()).toMatchObject({ status: 'running', finished_at: null });
    const started = Number(process.hrtime.bigint());
    const finished = started + 3_000_000;
    transfer.finish(
      transfer.outcome(
        completion({ startedNs: started, finishedNs: finished, copyNs: 2_000_000 }),
        undefined,
      ),
    );
    const { created_at, started_at, finished_at, timings } = document();
    expect(Date.parse(started_at ?? '')).toBeGreaterThanOrEqual(Date.parse(created_at));
    expect(Date.parse(finished_at ?? '') - Date.parse(started_at ?? '')).toBeGreaterThanOrEqual(2);
    expect(timings.total_ns - timings.queue_ns).toBe(3_000_000);
    expect(timings.copy_ns).toBe(2_000_000);
    // Nothing of it changes once it has finished.
    expect(document()).toEqual(document());
  });

  test('gives the three offsets, or segments, as it was asked', () => {
    expect(documentOf(makeTransfer())).toMatchObject({
      src_offset: 0,
      dst_offset: 4096,
      size: 4096,
      segments: null,
    });
    const segments = [{ src_offset: 1, dst_offset: 20, size: 3 }];
    expect(documentOf(makeTransfer({ segments, segmented: true }))).toMatchObject({
      src_offset: null,
      dst_offset: null,
      size: 3,
      segments,
    });
  });

  test('names both devices', () => {
    const destination = makeDevice({ name: 'dax7.1' });
    expect(documentOf(makeTransfer({ destination }))).toMatchObject({
      device_name: 'dax0.0',
      dst_device_name: 'dax7.1',
    });
  });

  test('reckons its throughput from the bytes and the time of the copy', () => {
    fc.assert(
      fc.property(
        fc.nat(2 ** 30),
        fc.integer({ min: 1, max: 2 ** 31 - 1 }),
        (bytesDone, copyNs) => {
          const transfer = makeTransfer();
          transfer.finish(transfer.outcome(completion({ bytesDone, copyNs }), undefined));
          const exact = (BigInt(bytesDone) * 1_000_000_000n) / BigInt(copyNs);
          const told = documentOf(transfer).throughput_bytes_per_second;
          // As exact as a double is.
          expect(Math.abs(told - Number(exact))).toBeLessThanOrEqual(1 + told * 2 ** -51);
        },
      ),
      { numRuns: runs(300) },
    );
    const idle = makeTransfer();
    idle.finish(idle.outcome(undefined, new Problem('cancelled', '')));
    expect(documentOf(idle)).toMatchObject({ throughput_bytes_per_second: 0, bytes_completed: 0 });
  });

  test('tells both checksums only where they were compared', () => {
    const crcs = { sourceCrc: 0, destinationCrc: 0xffffffff };
    const end = (code?: 'verify_mismatch' | 'media_error') => {
      const segments = [1, 2, 3].map((n) => ({ src_offset: 0, dst_offset: n * 10, size: 1 }));
      const transfer = makeTransfer({ verify: true, segments });
      const error = code && new Problem(code, '');
      transfer.finish(transfer.outcome(completion({ ...crcs, segment: error ? 1 : 0 }), error));
      return documentOf(transfer).verification;
    };
    const both = { method: 'crc32c', src: '00000000', dst: 'ffffffff' };
    expect(end()).toEqual({ ...both, segments: 3 });
    expect(end('verify_mismatch')).toEqual({ ...both, segments: 2 });
    expect(end('media_error')).toBeNull();
    expect(documentOf(makeTransfer({ verify: false })).verification).toBeNull();
  });
});
