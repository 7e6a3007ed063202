// SPDX-License-Identifier: Apache-2.0
import { z } from 'zod';
import type { Touches } from '../../http/access/authorize.ts';
import { fieldProblem, Problem } from '../../http/problems/problem.ts';
import { touchesOf, touchPointer } from './request.ts';
import type { TransferRequest } from './request-schema.ts';

/** What POST /transfers/batch reads of a request's header. */
export const batchHeadersSchema = z.object({
  prefer: z.string().optional().meta({
    description: '`return=minimal`: ids are answered instead of transfers.',
  }),
  'idempotency-key': z.string().optional().meta({
    description: 'Refused: each transfer of a batch has its own `idempotency_key`.',
  }),
});

/** @throws Problem invalid_request: each transfer of a batch has a key of its own */
export function refuseKeyInHeader(key: string | undefined): void {
  if (key === undefined) return;
  const detail = 'A batch has no Idempotency-Key: give each of its transfers an idempotency_key.';
  throw fieldProblem('invalid_request', '/idempotency-key', detail);
}

/** The same problem, which says which transfer of the list it is about. */
export function inBatch(problem: Problem, index: number): Problem {
  const { code, message, options } = problem;
  // One that is not about what the transfer says.
  if (options.headers !== undefined) return problem;
  const parent = `/transfers/${index}`;
  const field = code === 'idempotency_key_reused' ? '/idempotency_key' : '';
  const errors = (options.errors ?? [{ pointer: field, detail: message }]).map(
    ({ pointer, detail }) => ({ pointer: parent + pointer, detail }),
  );
  return new Problem(code, `Transfer ${index} of the list: ${message}`, { ...options, errors });
}

/** Which request of a list a name such as `#3` means; undefined if it is no such name. */
export function indexOf(name: string): number | undefined {
  const [, digits] = /^#(0|[1-9]\d{0,3})$/.exec(name) ?? [];
  return digits === undefined ? undefined : Number(digits);
}

/** @throws Problem what the work throws, as one about a transfer of the list */
export function about<Result>(index: number, work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    throw error instanceof Problem ? inBatch(error, index) : error;
  }
}

export interface BatchTouches {
  touches: Touches;
  /** Which transfer of the list a touch is of. */
  ownerOf(index: number): number;
  pointerOf(index: number): string;
}

/** What all of them touch, one behind the other. */
export function touchesOfAll(requests: readonly TransferRequest[]): BatchTouches {
  const each = requests.map(touchesOf);
  const owners = each.flatMap(({ length }, owner) =>
    Array.from({ length }, (_, index) => ({ owner, index })),
  );
  const at = (index: number) => owners[index] as (typeof owners)[number];
  return {
    touches: {
      length: owners.length,
      at(index) {
        const found = owners[index];
        return found && each[found.owner]?.at(found.index);
      },
    },
    ownerOf: (index) => at(index).owner,
    pointerOf(index) {
      const { owner, index: own } = at(index);
      return `/transfers/${owner}${touchPointer(requests[owner] as TransferRequest, own)}`;
    },
  };
}
