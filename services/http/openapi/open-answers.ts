// SPDX-License-Identifier: Apache-2.0
import type { OpenAPIV3_1 } from 'openapi-types';

type Schema = Record<string, unknown>;

const REFERENCE = /^#\/components\/schemas\/(\w+)$/;
/** Keywords whose value is a schema, a list of them, or schemas by name. */
const ONE = ['items', 'additionalProperties'];
const SEVERAL = ['anyOf', 'oneOf', 'allOf'];

/**
 * Leaves room in what is said of answers: later versions may add members, and values to what are
 * lists of words today (`x-extensible-enum`). What goes in stays as strict as it is.
 */
export function openAnswers(document: OpenAPIV3_1.Document): void {
  const components = (document.components?.schemas ?? {}) as Record<string, Schema>;
  const opened = new Set<string>();

  function open(value: unknown): void {
    if (typeof value !== 'object' || value === null) return;
    const schema = value as Schema;
    const [, name] = REFERENCE.exec(String(schema.$ref)) ?? [];
    if (name !== undefined && !opened.has(name)) {
      opened.add(name);
      open(components[name]);
    }
    if (schema.additionalProperties === false) delete schema.additionalProperties;
    const words = schema.enum ?? (typeof schema.const === 'string' ? [schema.const] : undefined);
    if (words !== undefined) {
      delete schema.enum;
      delete schema.const;
      schema['x-extensible-enum'] = words;
    }
    for (const keyword of ONE) open(schema[keyword]);
    for (const keyword of SEVERAL)
      for (const each of (schema[keyword] ?? []) as unknown[]) open(each);
    for (const each of Object.values((schema.properties ?? {}) as Schema)) open(each);
  }

  for (const path of Object.values(document.paths ?? {})) {
    for (const operation of Object.values(path ?? {})) {
      const { responses = {} } = operation as OpenAPIV3_1.OperationObject;
      for (const response of Object.values(responses) as OpenAPIV3_1.ResponseObject[]) {
        for (const { schema } of Object.values(response.content ?? {})) open(schema);
      }
    }
  }
}
