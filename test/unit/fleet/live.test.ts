// SPDX-License-Identifier: Apache-2.0
import { expect, test } from '@jest/globals';
import { LiveTransfers, Strangers } from '../../../services/fleet/hosts/live.ts';

type HostReport = Parameters<LiveTransfers['reported']>[0];

const document = (status: string) => ({ id: 'host-a', status, segments: null }) as HostReport;

test('an end stands that was told before the answer to the request that began it', () => {
  const live = new LiveTransfers('hosta', new Strangers());
  for (const status of ['running', 'succeeded']) live.reported(document(status));
  expect(live.add('a', 'host-a')?.status).toBe('succeeded');
  live.reported(document('queued'));
  expect(live.get('a')?.status).toBe('succeeded');
});

test('what has not ended can wait again, as after a restart of its host', () => {
  const live = new LiveTransfers('hosta', new Strangers());
  live.add('a', 'host-a');
  for (const status of ['running', 'queued']) live.reported(document(status));
  expect(live.get('a')?.status).toBe('queued');
});
