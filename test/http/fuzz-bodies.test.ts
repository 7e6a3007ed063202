// SPDX-License-Identifier: Apache-2.0
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { runs } from '../support/depth.ts';
import { sendAll, startFuzzApp, stillCopies, transferRequest } from '../support/fuzz.ts';

const BATCH = 50;
const BATCHES = 400;

test('bodies near the schema: no 500, no hang, each error a problem', async () => {
  const app = await startFuzzApp();
  const batch = fc.array(transferRequest, { minLength: BATCH, maxLength: BATCH });
  await fc.assert(
    fc.asyncProperty(batch, (requests) => sendAll(app, requests)),
    // What failed is in the message as it is; to shrink a batch would take minutes.
    { numRuns: runs(BATCHES), endOnFailure: true },
  );
  expect(await stillCopies(app)).toBe(true);
  await app.close();
}, 180_000);
