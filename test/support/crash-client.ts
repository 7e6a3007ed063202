// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import type { TransferDocument } from '../../services/daemon/transfers/schema.ts';
import { bearer } from './tokens.ts';

/** A token that every request has; the daemon's tokens file may be read anew at any time. */
export const TOKEN = { name: 'crash', header: bearer('crash') };

/** Nobody answered: the daemon is gone, whatever a proxy says in its place. */
class NoAnswer extends Error {}

/** @throws NoAnswer, or fetch's own error: the daemon has not answered */
export async function ask(url: string, init: RequestInit = {}): Promise<Response> {
  const response = await fetch(url, init);
  const isProxys = response.status >= 500 && response.headers.get('x-request-id') === null;
  if (!isProxys) return response;
  await response.arrayBuffer();
  throw new NoAnswer(`${response.status} from a proxy`);
}

export async function waitForEnd(url: string, id: string): Promise<TransferDocument> {
  for (;;) {
    const response = await ask(`${url}/transfers/${id}`, {
      headers: { prefer: 'wait=30', ...TOKEN.header },
    });
    assert.equal(response.status, 200, `${id}, which was answered 202, is lost`);
    const document = (await response.json()) as TransferDocument;
    if (document.finished_at !== null) return document;
  }
}

/** Waits until nothing goes on, what nobody knows the id of included. */
export async function waitForIdle(url: string): Promise<void> {
  for (const status of ['queued', 'running']) {
    for (;;) {
      const response = await ask(`${url}/transfers?status=${status}`, { headers: TOKEN.header });
      const { transfers } = (await response.json()) as { transfers: TransferDocument[] };
      if (transfers.length === 0) break;
      for (const { id } of transfers) await waitForEnd(url, id);
    }
  }
}

/** No key has made two transfers, and nothing is there that was refused. */
export async function checkKeys(url: string, refused: ReadonlySet<string>): Promise<void> {
  const keys = new Map<string, string>();
  let token = '';
  do {
    const response = await ask(`${url}/transfers?page_size=1000&page_token=${token}`, {
      headers: TOKEN.header,
    });
    const page = (await response.json()) as {
      transfers: TransferDocument[];
      next_page_token: string;
    };
    for (const { id, labels } of page.transfers) {
      assert.ok(!refused.has(labels.label ?? ''), `${id} was refused`);
      if (labels.key === undefined) continue;
      assert.ok(!keys.has(labels.key), `${id} and ${keys.get(labels.key)} have one key`);
      keys.set(labels.key, id);
    }
    token = page.next_page_token;
  } while (token !== '');
}
