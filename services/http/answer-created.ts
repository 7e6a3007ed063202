// SPDX-License-Identifier: Apache-2.0
import type { FastifyReply } from 'fastify';
import { type Preference, readPrefer } from './prefer.ts';
import { Problem } from './problems/problem.ts';

/** When to ask again about what goes on, in seconds. */
export const RETRY_AFTER_SECONDS = '1';

/** What a POST created, or an earlier one with the same Idempotency-Key. */
export interface Created {
  /** Whether it has succeeded; otherwise it goes on. */
  succeeded: boolean;
  /** Whether an earlier request created it. */
  replayed: boolean;
  document(): unknown;
}

/** Answers 201 or 200 if it has succeeded, 202 if it goes on, with a body unless the client wants none. */
export function answerCreated(
  reply: FastifyReply,
  { minimal, applied }: Pick<Preference, 'minimal' | 'applied'>,
  { succeeded, replayed, document }: Created,
): FastifyReply {
  if (!succeeded) reply.code(202).header('retry-after', RETRY_AFTER_SECONDS);
  else reply.code(replayed ? 200 : 201);
  if (!minimal) return reply.send(document());
  const preferences = [applied, 'return=minimal'].filter((each) => each !== undefined);
  return reply.header('preference-applied', preferences.join(', ')).send();
}

/** What POST /transfers/batch created, one for each of its list and in its order. */
export interface CreatedBatch<Document> {
  ids: string[];
  /** Whether earlier requests created all of them. */
  replayed: boolean;
  documents(): Document[] | Promise<Document[]>;
}

/** Answers 202, with documents, or only with ids if the client wants no more. */
export async function answerBatch<Document>(
  reply: FastifyReply,
  prefer: string | undefined,
  { ids, replayed, documents }: CreatedBatch<Document>,
): Promise<{ transfers: (Document | string)[] }> {
  reply.request.transferIds = ids;
  reply.code(202).header('retry-after', RETRY_AFTER_SECONDS);
  if (replayed) reply.header('idempotency-replayed', 'true');
  if (!readPrefer(prefer, 0).minimal) return { transfers: await documents() };
  reply.header('preference-applied', 'return=minimal');
  return { transfers: ids };
}

/**
 * The problem of what failed while its client waited.
 *
 * @param replayed whether an earlier request created it: a failure then stays one, so no Retry-After
 *   asks for a retry that could bring nothing else
 * @param members of the problem's body
 */
export function failureOf(
  { code, message, options }: Problem,
  replayed: boolean,
  members: Record<string, unknown>,
): Problem {
  const { headers, ...others } = options;
  return new Problem(code, message, {
    ...others,
    ...(headers !== undefined && !replayed && { headers }),
    members,
  });
}
