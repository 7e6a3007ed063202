// SPDX-License-Identifier: Apache-2.0
import { describe, expect, jest, test } from '@jest/globals';
import type { Mirror } from '../../../services/fleet/etcd/mirror.ts';
import { AdmissionControl } from '../../../services/fleet/transfers/admission-control.ts';
import { recordOf } from '../../support/fleet-records.ts';

const empty = {
  ...{ running: new Map(), runningOf: () => 0, segmentsOf: () => 0, segments: 0 },
} as unknown as Mirror;
const large = (client = 'me') =>
  recordOf(
    {
      ...{ src_offset: undefined, dst_offset: undefined, size: undefined },
      segments: Array.from({ length: 4096 }, (_, index) => ({
        ...{ src_offset: index * 64, dst_offset: 2 ** 30 + index * 64, size: 64 },
      })),
    },
    { client },
  );

describe('AdmissionControl', () => {
  test('counts a transfer from its request on, until it is released', () => {
    const admission = new AdmissionControl(empty, () => 1);
    const [first, second] = [recordOf(), recordOf()];
    expect(admission.reserve(first)).toBeUndefined();
    expect(admission.reserve(second)).toMatchObject({ code: 'queue_full' });
    expect(admission.reserve(recordOf({}, { client: 'other' }))).toBeUndefined();
    admission.release(first.id);
    admission.release(first.id);
    expect(admission.reserve(second)).toBeUndefined();
  });

  test('limits the segments of one client, and of all', () => {
    const admission = new AdmissionControl(empty, () => undefined);
    const taken = (client: string) => {
      for (let count = 0; ; count++)
        if (admission.reserve(large(client)) !== undefined) return count;
    };
    expect(taken('me')).toBe(32);
    expect(admission.reserve(recordOf())).toBeUndefined();
    expect(taken('other')).toBe(32);
    expect(taken('third')).toBe(0);
  });

  test('does not count for ever what the watch never reports', () => {
    const admission = new AdmissionControl(empty, () => 1);
    const now = jest.spyOn(performance, 'now');
    now.mockReturnValue(0);
    expect(admission.reserve(recordOf())).toBeUndefined();
    now.mockReturnValue(9000);
    expect(admission.reserve(recordOf())).toBeDefined();
    now.mockReturnValue(11_000);
    expect(admission.reserve(recordOf())).toBeUndefined();
    now.mockRestore();
  });
});
