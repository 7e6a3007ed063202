// SPDX-License-Identifier: Apache-2.0
import type { CallOptions } from './transport.ts';

export interface CreateOptions extends CallOptions {
  /** How long the daemon may wait for the end before it answers, 0 to 60 s; its default is 10. */
  waitSeconds?: number;
  /** Made up if absent. Give one to make the same call again later, in another process too. */
  idempotencyKey?: string;
}

export interface WaitOptions extends CallOptions {
  /** How long the daemon may wait before it answers, 0 to 60 s. */
  waitSeconds?: number;
}

/** How long the daemon waits by itself for the end of what it was given, in seconds. */
export const DEFAULT_WAIT_SECONDS = 10;
/** How long it is asked to wait by those who wait for the end, however long that takes. */
export const WAIT_SECONDS = 50;
export const JSON_TYPE = { 'content-type': 'application/json' };
export const MERGE_PATCH_TYPE = { 'content-type': 'application/merge-patch+json' };

/** A fleet has transfers that are accepted, and not yet with their host. */
const RUNNING: readonly string[] = ['accepted', 'queued', 'running'];

/** Whether a transfer or replication has ended: succeeded, failed, cancelled or interrupted. */
export function isOver({ status }: { status: string }): boolean {
  return !RUNNING.includes(status);
}

/** A random Idempotency-Key. crypto.randomUUID() is missing on pages without TLS. */
export function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Headers of a call that makes something, with its key and how long to wait for the end. */
export function creatingHeaders({
  waitSeconds,
  idempotencyKey = newKey(),
}: CreateOptions): Record<string, string> {
  return {
    ...JSON_TYPE,
    'idempotency-key': idempotencyKey,
    ...(waitSeconds === 0 && { prefer: 'respond-async' }),
    ...(waitSeconds !== undefined && waitSeconds > 0 && { prefer: `wait=${waitSeconds}` }),
  };
}
