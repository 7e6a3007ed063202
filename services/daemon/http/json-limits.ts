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
export function beyondLimits(value: unknown): Problem | undefined {
  return search(value, undefined, 0);
}

/** Where a value is; put together only where something is wrong with it. */
interface Place {
  parent: Place | undefined;
  key: string;
}

function search(value: unknown, place: Place | undefined, depth: number): Problem | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const keys = Object.keys(value);
  const [limit, what] = Array.isArray(value)
    ? [MAX_ELEMENTS, 'elements']
    : [MAX_MEMBERS, 'members'];
  if (keys.length > limit) return problem(place, `may not have more than ${limit} ${what}`);
  if (depth > MAX_DEPTH) return problem(place, `lies deeper than ${MAX_DEPTH} levels`);
  for (const key of keys) {
    const member = (value as Record<string, unknown>)[key];
    if (key === '__proto__') {
      return problem({ parent: place, key }, 'is a reserved name: choose another');
    }
    if (typeof member !== 'object' || member === null) continue;
    const found = search(member, { parent: place, key }, depth + 1);
    if (found !== undefined) return found;
  }
  return undefined;
}

function pathOf(place: Place | undefined): string[] {
  const path: string[] = [];
  for (let at = place; at !== undefined; at = at.parent) path.unshift(at.key);
  return path;
}

function problem(place: Place | undefined, detail: string): Problem {
  const pointer = jsonPointer(pathOf(place));
  return fieldProblem('invalid_request', pointer, `${pointer || 'The body'} ${detail}.`);
}
