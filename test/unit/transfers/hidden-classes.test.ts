// SPDX-License-Identifier: Apache-2.0
import { setFlagsFromString } from 'node:v8';
import { expect, test } from '@jest/globals';
import { Inventory } from '../../../services/daemon/devices/device.ts';
import { documentFor } from '../../../services/daemon/transfers/document.ts';
import { planTransfer } from '../../../services/daemon/transfers/plan.ts';
import { transferRequestSchema } from '../../../services/daemon/transfers/request-schema.ts';
import { Transfer } from '../../../services/daemon/transfers/transfer.ts';
import { writingOf } from '../../../services/daemon/transfers/writing.ts';
import { makeChooser, noDma } from '../../support/fake-dma.ts';
import { CLOCK, completion, makeDevice, makeOrigin, makeQueue, viewer } from './make-transfer.ts';

setFlagsFromString('--allow-natives-syntax');
const haveSameMap = new Function('one', 'other', 'return %HaveSameMap(one, other)') as (
  one: unknown,
  other: unknown,
) => boolean;
const hasFastProperties = new Function('one', 'return %HasFastProperties(one)') as (
  one: unknown,
) => boolean;
setFlagsFromString('--no-allow-natives-syntax');

const inventory = new Inventory([makeDevice({ name: 'dax0.0' }), makeDevice({ name: 'dax1.0' })]);
const chooser = makeChooser('auto', noDma());
const queue = makeQueue();

/** All that is made of one request. */
function objectsOfOne(id: string) {
  const request = transferRequestSchema.parse({
    ...{ device_name: 'dax0.0', dst_device_name: 'dax1.0' },
    ...{ src_offset: 0, dst_offset: 0, size: 4096 },
  });
  const plan = planTransfer(request, inventory, chooser);
  const transfer = new Transfer(id, plan, makeOrigin(), CLOCK);
  const ticket = queue.add({
    ...{ kind: 'transfer', id, client: 'one', start: () => {} },
    ...{ accesses: [], lane: 0, bytes: 4096 },
  });
  transfer.start(plan.choice);
  transfer.finish(transfer.outcome(completion(), undefined));
  const { end } = transfer;
  const document = documentFor(viewer('anna', 'transfers:all'), transfer);
  const writing = writingOf(transfer);
  return {
    plan,
    transfer,
    writing,
    ticket,
    work: ticket.work,
    end,
    report: end?.completion,
    document,
  };
}

// Of `{ ...one, more }` V8 of Node.js 20 makes a hidden class for each object. That takes 4 KB of a
// transfer, most of it in V8's old space.
test('what is made of each transfer has the same hidden class', () => {
  // It begins to do so once it has seen which objects come.
  for (let n = 0; n < 10; n++) objectsOfOne(`early ${n}`);
  const [one, other] = [objectsOfOne('1'), objectsOfOne('2')];
  const names = Object.keys(one) as (keyof typeof one)[];
  const apart = names.filter((name) => !haveSameMap(one[name], other[name]));
  expect(apart).toEqual([]);
  // What V8 has as a dictionary takes several times the memory.
  expect(names.filter((name) => !hasFastProperties(one[name]))).toEqual([]);
});
