// SPDX-License-Identifier: Apache-2.0
import { z } from 'zod';

const TYPES: Record<string, string> = {
  array: 'a list',
  boolean: 'true or false',
  int: 'a whole number',
  number: 'a number',
  object: 'an object',
  record: 'an object',
  string: 'a string',
};

/** How zod's findings read if a schema has no message for them: after the field's name. */
z.config({ customError: wordingOf });

/** @returns undefined if zod's own words will do */
export function wordingOf(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_value':
      return `must be ${issue.values.length > 1 ? 'one of ' : ''}${issue.values.join(', ')}`;
    case 'invalid_type':
      return issue.input === undefined
        ? 'is required'
        : `must be ${TYPES[issue.expected] ?? issue.expected}`;
    case 'too_small':
      return `must ${bound(issue.origin, 'at least', issue.minimum)}`;
    case 'too_big':
      return `must ${bound(issue.origin, 'at most', issue.maximum)}`;
    default:
      return undefined;
  }
}

function bound(origin: string, most: string, limit: number | bigint): string {
  if (origin === 'string') return `have ${most} ${limit} characters`;
  if (origin === 'array') return `have ${most} ${limit} ${limit === 1 ? 'entry' : 'entries'}`;
  return `be ${most} ${limit}`;
}
