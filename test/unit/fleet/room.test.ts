// SPDX-License-Identifier: Apache-2.0
import { describe, expect, jest, test } from '@jest/globals';
import type { Mirror } from '../../../services/fleet/etcd/mirror.ts';
import { Room } from '../../../services/fleet/transfers/room.ts';
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

describe('room for transfers', () => {
  test('is taken from the request on, and given back', () => {
    const room = new Room(empty, () => 1);
    const [first, second] = [recordOf(), recordOf()];
    expect(room.reserve(first)).toBeUndefined();
    expect(room.reserve(second)).toMatchObject({ code: 'queue_full' });
    expect(room.reserve(recordOf({}, { client: 'other' }))).toBeUndefined();
    room.release(first.id);
    room.release(first.id);
    expect(room.reserve(second)).toBeUndefined();
  });

  test('has an end for segments, of one client and of all', () => {
    const room = new Room(empty, () => undefined);
    const taken = (client: string) => {
      for (let count = 0; ; count++) if (room.reserve(large(client)) !== undefined) return count;
    };
    expect(taken('me')).toBe(32);
    expect(room.reserve(recordOf())).toBeUndefined();
    expect(taken('other')).toBe(32);
    expect(taken('third')).toBe(0);
  });

  test('what the watch has not told of for long is not counted any more', () => {
    const room = new Room(empty, () => 1);
    const now = jest.spyOn(performance, 'now');
    now.mockReturnValue(0);
    expect(room.reserve(recordOf())).toBeUndefined();
    now.mockReturnValue(9000);
    expect(room.reserve(recordOf())).toBeDefined();
    now.mockReturnValue(11_000);
    expect(room.reserve(recordOf())).toBeUndefined();
    now.mockRestore();
  });
});
