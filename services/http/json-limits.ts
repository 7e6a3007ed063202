// SPDX-License-Identifier: Apache-2.0
import { MAX_SEGMENTS } from '../base/vocabulary.ts';
import { jsonPointer } from './json-pointer.ts';
import { fieldProblem, type Problem } from './problems/problem.ts';

/** More than any request can mean: of an array, of an object, and of one inside the other. */
const MAX_ELEMENTS = MAX_SEGMENTS;
const MAX_MEMBERS = 64;
const MAX_DEPTH = 8;

/**
 * Finds what no request can mean, before a schema looks at each of a hundred thousand members and
 * says what is wrong with it: that takes seconds, in which nobody else is answered.
 */
export function beyondLimits(value: unknown): Problem | undefined {
  const found = search(value, 0);
  if (found === undefined) return undefined;
  const pointer = jsonPointer(found.path.reverse());
  return fieldProblem('invalid_request', pointer, `${pointer || 'The body'} ${found.detail}.`);
}

interface Found {
  /** Where it is, innermost first; put together on the way back from it. */
  path: PropertyKey[];
  detail: string;
}

function search(value: unknown, depth: number): Found | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  return Array.isArray(value) ? searchArray(value, depth) : searchObject(value, depth);
}

function searchArray(elements: readonly unknown[], depth: number): Found | undefined {
  const found = beyond(elements.length, MAX_ELEMENTS, 'elements', depth);
  if (found !== undefined) return found;
  for (let index = 0; index < elements.length; index++) {
    const inside = search(elements[index], depth + 1);
    if (inside !== undefined) return within(inside, index);
  }
  return undefined;
}

function searchObject(members: object, depth: number): Found | undefined {
  let count = 0;
  // Not Object.keys(), which would make an array for each of thousands of segments.
  for (const _ in members) count++;
  const found = beyond(count, MAX_MEMBERS, 'members', depth);
  if (found !== undefined) return found;
  for (const key in members) {
    if (key === '__proto__') return { path: [key], detail: 'is a reserved name: choose another' };
    const inside = search((members as Record<string, unknown>)[key], depth + 1);
    if (inside !== undefined) return within(inside, key);
  }
  return undefined;
}

function beyond(count: number, limit: number, what: string, depth: number): Found | undefined {
  if (count > limit) return { path: [], detail: `may not have more than ${limit} ${what}` };
  if (depth > MAX_DEPTH) return { path: [], detail: `lies deeper than ${MAX_DEPTH} levels` };
  return undefined;
}

function within(found: Found, key: PropertyKey): Found {
  found.path.push(key);
  return found;
}
