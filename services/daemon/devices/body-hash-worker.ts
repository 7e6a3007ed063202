// SPDX-License-Identifier: Apache-2.0
import { createHash, type Hash } from 'node:crypto';
import { parentPort } from 'node:worker_threads';

/** What becomes of the body with this number: more of it, its end, or nothing. */
export type BodyHashTask =
  | { kind: 'update'; body: number; bytes: Uint8Array }
  | { kind: 'digest'; body: number }
  | { kind: 'drop'; body: number };

/** Said of each `update`, and of each `digest` with what it is. */
export interface BodyHashAnswer {
  body: number;
  digest?: Uint8Array;
}

const hashes = new Map<number, Hash>();

parentPort?.on('message', (task: BodyHashTask) => {
  const { kind, body } = task;
  const hash = hashes.get(body) ?? createHash('sha256');
  if (kind === 'update') hashes.set(body, hash.update(task.bytes));
  else hashes.delete(body);
  if (kind === 'update') parentPort?.postMessage({ body } satisfies BodyHashAnswer);
  if (kind === 'digest') {
    parentPort?.postMessage({ body, digest: hash.digest() } satisfies BodyHashAnswer);
  }
});
