// SPDX-License-Identifier: Apache-2.0
import { MAX_SEGMENTS } from '../engines/records.ts';
import { fieldProblem, type Problem } from '../problems/problem.ts';
import { jsonPointer } from './json-pointer.ts';

/** More than any request can mean: of an array, of an object, and of one inside the other. */
const MAX_ELEMENTS = MAX_SEGMENTS;
const MAX_MEMBERS = 64;
const MAX_DEPTH = 8;

/**
 * Finds what no request can mean, before a schema looks at each of a hundred thousand members and
 * says what is wrong with it: that takes seconds, in which nobody else is answered.
 */
export function beyondLimits(
  value: unknown,
  path: readonly PropertyKey[] = [],
): Problem | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const keys = Object.keys(value);
  const [limit, what] = Array.isArray(value)
    ? [MAX_ELEMENTS, 'elements']
    : [MAX_MEMBERS, 'members'];
  if (keys.length > limit) return problem(path, `may not have more than ${limit} ${what}`);
  if (path.length > MAX_DEPTH) return problem(path, `lies deeper than ${MAX_DEPTH} levels`);
  for (const key of keys) {
    const member = [...path, key];
    if (key === '__proto__') return problem(member, 'is a reserved name: choose another');
    const found = beyondLimits((value as Record<string, unknown>)[key], member);
    if (found !== undefined) return found;
  }
  return undefined;
}

function problem(path: readonly PropertyKey[], detail: string): Problem {
  const pointer = jsonPointer(path);
  return fieldProblem('invalid_request', pointer, `${pointer || 'The body'} ${detail}.`);
}
