// SPDX-License-Identifier: Apache-2.0
import { expect, test } from '@jest/globals';
import { silentLog } from '../../../services/base/log.ts';
import type { Mirror } from '../../../services/fleet/etcd/mirror.ts';
import { Fleet } from '../../../services/fleet/hosts/fleet.ts';

test('a gateway that is shutting down connects to no host that is added meanwhile', () => {
  const hosts = new Map([['hosta', { url: 'http://127.0.0.1:1' }]]);
  const mirror = { hosts, seen: new Map(), running: new Map() } as unknown as Mirror;
  const fleet = new Fleet({
    ...{ mirror, log: silentLog().logger, token: () => undefined },
    ...{ stateChanged: () => {}, reported: () => {}, missed: () => {} },
  });
  fleet.close();
  fleet.hostChanged('hosta');
  const link = fleet.link('hosta');
  link?.close();
  expect(link).toBeUndefined();
});
