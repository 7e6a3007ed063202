// SPDX-License-Identifier: Apache-2.0
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { runs } from '../support/depth.ts';
import {
  batchRequest,
  patchRequest,
  sendAll,
  startFuzzApp,
  stillCopies,
  transferRequest,
} from '../support/fuzz.ts';

const BATCH = 50;
const BATCHES = { transfers: 600, batches: 300, changes: 200 };

test('bodies near the schema: no 500, no hang, each error a problem', async () => {
  const app = await startFuzzApp();
  const batch = fc.array(transferRequest, { minLength: BATCH, maxLength: BATCH });
  await fc.assert(
    fc.asyncProperty(batch, (requests) => sendAll(app, requests)),
    // What failed is in the message as it is; to shrink a batch would take minutes.
    { numRuns: runs(BATCHES.transfers), endOnFailure: true },
  );
  expect(await stillCopies(app)).toBe(true);
  await app.close();
}, 900_000);

test('batches near the schema: no 500, no hang, each error a problem', async () => {
  const app = await startFuzzApp();
  const batch = fc.array(batchRequest, { minLength: BATCH, maxLength: BATCH });
  await fc.assert(
    fc.asyncProperty(batch, (requests) => sendAll(app, requests)),
    { numRuns: runs(BATCHES.batches), endOnFailure: true },
  );
  expect(await stillCopies(app)).toBe(true);
  await app.close();
}, 900_000);

test('changes of a transfer that waits: no 500, no hang, each error a problem', async () => {
  const app = await startFuzzApp();
  const blocker = await app.block('dax0.0');
  const copy = { device_name: 'dax0.0', src_offset: 0, dst_offset: 8192, size: 4096 };
  let { id } = (await app.post(copy, { prefer: 'respond-async' })).json();
  const batch = fc.array(patchRequest, { minLength: BATCH, maxLength: BATCH });
  await fc.assert(
    fc.asyncProperty(batch, async (requests) => {
      await sendAll(
        app,
        requests.map(({ url, ...rest }) => ({ ...rest, url: String(url).replace('ID', id) })),
      );
      const { status } = (await app.inject({ url: `/transfers/${id}` })).json();
      // A short timeout may have ended it.
      if (status === 'queued') return;
      id = (await app.post(copy, { prefer: 'respond-async' })).json().id;
    }),
    { numRuns: runs(BATCHES.changes), endOnFailure: true },
  );
  await blocker.release();
  await app.close();
}, 900_000);
