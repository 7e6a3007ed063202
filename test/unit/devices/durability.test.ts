// SPDX-License-Identifier: Apache-2.0
import { expect, test } from '@jest/globals';
import { durabilityOf } from '../../../services/daemon/devices/durability.ts';
import { makeDevice } from '../transfers/make-transfer.ts';

test.each([
  ['clwb', true, true, 'flush', 'clwb'],
  ['msync', true, true, 'flush', 'msync'],
  ['cpu_cache', true, true, 'flush', 'cpu_cache'],
  ['none', true, true, 'volatile', null],
  ['clwb', true, false, 'none', null],
  ['clwb', false, true, 'none', null],
  ['none', false, true, 'none', null],
] as const)(
  'by %s, asked for: %p, succeeded: %p: %s',
  (basis, flush, succeeded, achieved, told) => {
    expect(durabilityOf(makeDevice({ flushBasis: basis }), flush, succeeded)).toEqual({
      ...{ requested: flush ? 'flush' : 'none', achieved, basis: told },
    });
  },
);
