// SPDX-License-Identifier: Apache-2.0
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { runs } from '../support/depth.ts';
import { anyBytes, anyRequest, sendAll, startFuzzApp, stillCopies } from '../support/fuzz.ts';
import { request, Wire } from '../support/wire.ts';

const BATCH = 50;
/** With those of fuzz-bodies.test.ts, deep tests send 100,000 requests. */
const BATCHES = 800;
const BATCHES_OVER_SOCKETS = 100;
/** Where an answer is one that ends; else the connection is cut. */
const PATIENCE_MS = 100;

test('requests to anywhere: no 500, no hang, each error a problem', async () => {
  const app = await startFuzzApp();
  const batch = fc.array(anyRequest, { minLength: BATCH, maxLength: BATCH });
  await fc.assert(
    fc.asyncProperty(batch, (requests) => sendAll(app, requests)),
    { numRuns: runs(BATCHES), endOnFailure: true },
  );
  expect(await stillCopies(app)).toBe(true);
  await app.close();
}, 900_000);

test('bytes over a socket: what comes back is HTTP, and no 500', async () => {
  const app = await startFuzzApp();
  const port = await app.listen();
  const batch = fc.array(anyBytes, { minLength: BATCH, maxLength: BATCH });
  await fc.assert(
    fc.asyncProperty(batch, async (all) => {
      await Promise.all(
        all.map(async (bytes) => {
          const wire = new Wire(port).send(bytes);
          // Half a request, or a stream of events, is never answered whole.
          const timer = setTimeout(() => wire.socket.end(), PATIENCE_MS);
          const cut = setTimeout(() => wire.end(), 3 * PATIENCE_MS);
          await wire.closed;
          clearTimeout(timer);
          clearTimeout(cut);
          const text = wire.pending.toString('latin1');
          if (text === '') return;
          const shown = `${JSON.stringify(text.slice(0, 300))} for ${bytes.toString('base64')}`;
          if (!/^HTTP\/1\.1 [1-5]\d\d /.test(text)) throw new Error(`no HTTP: ${shown}`);
          if (/^HTTP\/1\.1 500 /.test(text)) throw new Error(`500: ${shown}`);
          const isError = /^HTTP\/1\.1 [45]/.test(text);
          if (!isError) return;
          if (!/\r\nx-request-id: [0-9a-f-]{36}\r\n/i.test(text))
            throw new Error(`no id: ${shown}`);
          if (!/\r\ncontent-type: application\/problem\+json/i.test(text)) {
            throw new Error(`no problem: ${shown}`);
          }
        }),
      );
    }),
    { numRuns: runs(BATCHES_OVER_SOCKETS), endOnFailure: true },
  );
  const live = new Wire(port).send(request('GET /livez'));
  expect((await live.answer()).status).toBe(200);
  live.end();
  expect(await stillCopies(app)).toBe(true);
  await app.close();
}, 900_000);
