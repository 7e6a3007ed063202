// SPDX-License-Identifier: Apache-2.0
import type { z } from 'zod';

/**
 * Makes a schema accept plain values without parsing them, for values that come by the thousand: zod
 * makes some twenty objects to parse one. The schema's checks, such as `max`, still apply. All other
 * values are parsed, so that only the schema says what is wrong.
 *
 * @param isPlain must be true only of values that the schema, apart from its checks, would accept
 *   and return unchanged
 */
export function withFastPath<Schema extends z.ZodType>(
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
