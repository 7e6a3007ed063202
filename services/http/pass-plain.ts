// SPDX-License-Identifier: Apache-2.0
import type { z } from 'zod';

/**
 * Has a schema take at once what it would give back as it is. For what comes by the thousand: zod
 * makes some twenty objects for each of them. Its checks, such as `max`, still apply; and what is
 * not plain it parses as ever, so that it alone says what is wrong.
 *
 * @param isPlain true only of values that the schema accepts, its checks apart, and does not change
 */
export function passPlain<Schema extends z.ZodType>(
  schema: Schema,
  isPlain: (value: unknown) => boolean,
): Schema {
  const { parse } = schema._zod;
  // A part of zod that is not public, though documented for who builds on it.
  if (typeof parse !== 'function') throw new Error('this version of zod has no _zod.parse');
  schema._zod.parse = (payload, context) =>
    isPlain(payload.value) ? payload : parse(payload, context);
  return schema;
}
