// SPDX-License-Identifier: Apache-2.0
import { expect, test } from '@jest/globals';
import { z } from 'zod';
import '../../../services/base/wording.ts';

test.each([
  [z.enum(['auto', 'cpu']), 'gpu', 'must be one of auto, cpu'],
  [z.literal('cpu'), 'gpu', 'must be cpu'],
  [z.string(), undefined, 'is required'],
  [z.string(), 1, 'must be a string'],
  [z.int(), 1.5, 'must be a whole number'],
  [z.int().min(1), 0, 'must be at least 1'],
  [z.int().max(9), 10, 'must be at most 9'],
  [z.string().min(2), '', 'must have at least 2 characters'],
  [z.array(z.int()).min(1), [], 'must have at least 1 entry'],
  [z.array(z.int()).max(2), [1, 2, 3], 'must have at most 2 entries'],
  [z.record(z.string(), z.string()), [], 'must be an object'],
  [z.string('is what the schema says'), 1, 'is what the schema says'],
  [z.string().regex(/a/), 'b', 'Invalid string: must match pattern /a/'],
])('%#: a value that does not fit', (schema: z.ZodType, value, message) => {
  expect(schema.safeParse(value).error?.issues[0]?.message).toBe(message);
});
