// SPDX-License-Identifier: Apache-2.0
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { sendAll, startFuzzApp, stillCopies, transferRequest } from '../support/fuzz.ts';

const BODIES = 20_000;
const BATCH = 50;

test('20,000 bodies near the schema: no 500, no hang, each error a problem', async () => {
  const app = await startFuzzApp();
  const batch = fc.array(transferRequest, { minLength: BATCH, maxLength: BATCH });
  await fc.assert(
    fc.asyncProperty(batch, (requests) => sendAll(app, requests)),
    // What failed is in the message as it is; to shrink a batch would take minutes.
    { numRuns: BODIES / BATCH, endOnFailure: true },
  );
  expect(await stillCopies(app)).toBe(true);
  await app.close();
}, 180_000);
