// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from '@jest/globals';
import { type Device, Inventory } from '../../../services/daemon/devices/device.ts';
import { UnflushedDevices } from '../../../services/daemon/devices/unflushed.ts';
import { readClocks } from '../../../services/daemon/journal/elapsed.ts';
import { KNOWS_CHANGES } from '../../../services/daemon/journal/format.ts';
import { readRecords } from '../../../services/daemon/transfers/record.ts';
import { type Recovered, recover } from '../../../services/daemon/transfers/recovery.ts';
import { acceptedRows } from '../../../services/daemon/transfers/rows.ts';
import { makeChooser, noDma } from '../../support/fake-dma.ts';
import { CLOCK, makeDevice, makeTransfer } from './make-transfer.ts';

const [UUID_A, UUID_B] = ['uuid:9fb5dd70-c631-4a13-becb-7fd18b56ae49', 'uuid:bfb29b10-119c-495d'];
const MIB = 2 ** 20;

const devdax = (name: string, identity: string): Device =>
  makeDevice({ name, identity, kind: 'devdax', size: MIB, flushBasis: 'clwb' });

const whyOf = (outcome: Recovered) =>
  outcome.kind === 'interrupted' ? outcome.error.message : outcome.kind;

/** A transfer from dax0.0 to dax1.0 that was accepted on some devices, on what is there now. */
function recovered(then: [string, string], now: (string | undefined)[]): Recovered {
  const [source, destination] = then.map((identity, n) => devdax(`dax${n}.0`, identity));
  if (source === undefined || destination === undefined) throw new Error('two are needed');
  const rows = acceptedRows(makeTransfer({ source, destination }));
  const [record] = readRecords(rows as Map<string, string>, (key) => expect(key).toBe('readable'));
  if (record === undefined) throw new Error('no record was read');
  const inventory = new Inventory([]);
  for (const [n, identity] of now.entries()) {
    if (identity === undefined) inventory.miss(`dax${n}.0`, 'it is not there');
    else inventory.put(devdax(`dax${n}.0`, identity));
  }
  return recover(record, {
    inventory,
    chooser: makeChooser('auto', noDma()),
    doubt: undefined,
    writer: KNOWS_CHANGES,
    clock: CLOCK,
    host: readClocks(),
  });
}

describe('a transfer of the journal', () => {
  test('runs again on the same devices', () => {
    expect(recovered([UUID_A, UUID_B], [UUID_A, UUID_B]).kind).toBe('again');
  });

  test('does not run where two equal devices have exchanged their names', () => {
    const why = whyOf(recovered([UUID_A, UUID_B], [UUID_B, UUID_A]));
    expect(why).toContain('dax0.0 is another device than it was');
  });

  test('does not run where a device was made anew with the same size', () => {
    const why = whyOf(recovered([UUID_A, UUID_B], [UUID_A, 'uuid:new']));
    expect(why).toContain('dax1.0 is another device than it was');
  });

  test.each([
    ['comes later than the daemon', [UUID_A, undefined], 'dax1.0 was not there when the daemon'],
    ['is not served any more', [UUID_A], 'dax1.0 is no device of this daemon any more'],
  ])('does not run where a device %s', (_what, now, why) => {
    expect(whyOf(recovered([UUID_A, UUID_B], now))).toContain(why);
  });

  test('does not run where an older daemon kept only size and alignment', () => {
    const legacy = `${MIB} 4096`;
    expect(whyOf(recovered([legacy, legacy], [UUID_A, UUID_B]))).toContain('older daemon');
  });
});

describe('after the host restarted', () => {
  const device = devdax('dax0.0', UUID_A);
  const before = 'another boot';
  const { boot_id: now } = readClocks();

  test.each([
    ['runs again in the same boot, flushed or not', now, false, 'again'],
    ['runs again if its source was flushed', before, true, 'again'],
    ['is interrupted if its source may be lost', before, false, 'the host restarted'],
  ])('a transfer %s', (_what, bootId, persistent, outcome) => {
    const transfer = makeTransfer({ source: device, destination: device });
    const rows = acceptedRows(transfer, { bootId, persistent, unsettled: false });
    const [record] = readRecords(rows as Map<string, string>, (key) => expect(key).toBe(''));
    if (record === undefined) throw new Error('no record was read');
    const recovered = recover(record, {
      ...{ inventory: new Inventory([device]), chooser: makeChooser('auto', noDma()) },
      ...{ doubt: undefined, writer: KNOWS_CHANGES, clock: CLOCK, host: readClocks() },
    });
    expect(whyOf(recovered)).toContain(outcome);
  });

  test.each([
    ['nothing is flushed where nothing can be', 'none', false, false],
    ['all is where the caches are kept', 'cpu_cache', true, true],
    ['what an earlier daemon of this boot wrote may not be', 'clwb', true, false],
    ['what nobody wrote unflushed is', 'clwb', false, true],
  ] as const)('%s', (_what, flushBasis, all, persistent) => {
    const one = makeDevice({ flushBasis });
    expect(new UnflushedDevices(all).isPersistent(one)).toBe(persistent);
  });

  test('what was written unflushed is not persistent', () => {
    const unflushed = new UnflushedDevices(false);
    unflushed.add(device);
    expect(unflushed.isPersistent(device)).toBe(false);
  });
});
