// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { DmadClient, DmadError, type Transfer } from '../../services/client/index.ts';
import { bearer, secretOf } from './tokens.ts';

/** A token that every request has; the daemon's tokens file may be read anew at any time. */
export const TOKEN = { name: 'crash', header: bearer('crash') };

/** The daemon did not answer; a proxy may have. */
class NoAnswer extends Error {}

/** @throws NoAnswer, or fetch's own error: the daemon has not answered */
export async function ask(url: string, init: RequestInit = {}): Promise<Response> {
  const response = await fetch(url, init);
  const isProxys = response.status >= 500 && response.headers.get('x-request-id') === null;
  if (!isProxys) return response;
  await response.arrayBuffer();
  throw new NoAnswer(`${response.status} from a proxy`);
}

/** A client that tries nothing again: what a kill does to a request is to be seen. */
export function clientOf(url: string): DmadClient {
  return new DmadClient({ url, token: secretOf(TOKEN.name), retryForMs: 0 });
}

/** A refusal by the daemon fails the test; that the daemon is gone does not. */
export async function answered<T>(call: Promise<T>, what: string): Promise<T> {
  try {
    return await call;
  } catch (error) {
    const refused =
      error instanceof DmadError && error.status > 0 && error.code !== 'unexpected_answer';
    assert.ok(!refused, `${what}: ${error}`);
    throw error;
  }
}

export function waitForEnd(url: string, id: string): Promise<Transfer> {
  return answered(clientOf(url).waitForTransfer(id), `${id}, which was answered 202, is lost`);
}

/** Waits until no transfer is unfinished, including those whose ids are unknown. */
export async function waitForIdle(url: string): Promise<void> {
  const client = clientOf(url);
  for (const status of ['queued', 'running']) {
    for (;;) {
      const { transfers } = await client.listTransfers({ status });
      if (transfers.length === 0) break;
      for (const { id } of transfers) await waitForEnd(url, id);
    }
  }
}

/** No key has made two transfers, and nothing is there that was refused. */
export async function checkKeys(url: string, refused: ReadonlySet<string>): Promise<void> {
  const keys = new Map<string, string>();
  for await (const { id, labels } of clientOf(url).allTransfers({ page_size: '1000' })) {
    assert.ok(!refused.has(labels.label ?? ''), `${id} was refused`);
    if (labels.key === undefined) continue;
    assert.ok(!keys.has(labels.key), `${id} and ${keys.get(labels.key)} have one key`);
    keys.set(labels.key, id);
  }
}
