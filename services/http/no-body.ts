// SPDX-License-Identifier: Apache-2.0
import type { FastifyRequest, RequestPayload } from 'fastify';
import { Problem } from './problems/problem.ts';

export interface NoBodyOptions {
  /** Whether to refuse a request before its body is looked at. */
  atOnce?(request: FastifyRequest['raw']): boolean;
  /** How long the body may send nothing, in milliseconds; absent if others see to that. */
  idleMs?: number;
  /** Of the answer to another type. */
  headers?: Record<string, string>;
}

/**
 * @param type the media type that is taken
 * @returns a parser for bodies of all other types: one of no bytes is none, whatever its type, which
 *   of a body in chunks is known only once it comes; any other is refused
 */
export function noBodyUnless(type: string, { atOnce, idleMs, headers }: NoBodyOptions = {}) {
  return (
    { raw }: FastifyRequest,
    body: RequestPayload,
    done: (error: Error | null, body?: unknown) => void,
  ): void => {
    const detail = `Send the body as ${type}.`;
    const refuse = () =>
      settle(new Problem('unsupported_media_type', detail, headers && { headers }));
    const stalled = () =>
      settle(new Problem('request_timeout', 'The body did not arrive in time.'));
    const timer = idleMs === undefined ? undefined : setTimeout(stalled, idleMs);
    const settle = (error?: Error) => {
      clearTimeout(timer);
      body.off('data', refuse).off('end', settle).off('error', settle);
      done(error ?? null, undefined);
    };
    if (atOnce?.(raw)) refuse();
    else body.on('data', refuse).on('end', settle).on('error', settle);
  };
}
