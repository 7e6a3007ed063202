// SPDX-License-Identifier: Apache-2.0
import fp from 'fastify-plugin';
import { z } from 'zod';
import { type FieldError, Problem } from './problems/problem.ts';
import '../base/wording.ts';
import { jsonPointer } from './json-pointer.ts';

/** Enough to mend a request by; a request can be wrong in thousands of places. */
const MAX_ERRORS = 32;

const PARTS: Record<string, string> = {
  body: 'body',
  querystring: 'query',
  params: 'path',
  headers: 'header',
};

/** Of a route that says nothing of a query: it takes none. */
const NO_QUERY = z.strictObject({});

/** Validates requests with the routes' zod schemas, and answers what they find as a problem. */
export default fp(
  async (app) => {
    app.setValidatorCompiler<z.ZodType>(({ schema, httpPart = 'body' }) => (data) => {
      if (schema === NO_QUERY && isEmpty(data)) return {};
      // A POST without a body reaches its validator as null.
      const result = schema.safeParse(httpPart === 'body' ? (data ?? undefined) : data);
      if (result.success) {
        // Fastify puts together headers that a schema has changed each time that they are asked for.
        const isSame = httpPart === 'headers' && hasAll(data, result.data);
        return isSame ? {} : { value: result.data };
      }
      return { error: validationProblem(result.error, PARTS[httpPart] ?? httpPart) };
    });
    app.addHook('onRoute', (route) => {
      if (route.schema && !route.schema.hide) route.schema.querystring ??= NO_QUERY;
    });
    // Answers are typed against the schemas where they are made, and held to them by the tests;
    // checking each one again at run time would cost more than making it.
    app.setSerializerCompiler(() => (data) => JSON.stringify(data));
  },
  { name: 'validation' },
);

function isEmpty(object: unknown): boolean {
  for (const _ in object as object) return false;
  return true;
}

/** Whether all members of one object are those of another. */
function hasAll(object: unknown, members: unknown): boolean {
  const [all, some] = [object, members] as Record<string, unknown>[];
  return Object.keys(some ?? {}).every((name) => all?.[name] === some?.[name]);
}

function validationProblem(error: z.ZodError, part: string): Problem {
  const found = new Map<string, FieldError>();
  for (const issue of error.issues) {
    for (const field of fieldErrors(issue)) {
      // The first thing found at a place is the most basic one.
      if (!found.has(field.pointer)) found.set(field.pointer, field);
    }
  }
  const errors = [...found.values()];
  const first = errors[0] as FieldError;
  const more = errors.length > 1 ? `; and ${errors.length - 1} more, see errors` : '';
  return new Problem(
    'invalid_request',
    `The ${part} is not valid: ${first.pointer === '' ? 'it' : first.pointer} ${first.detail}${more}.`,
    { errors: errors.slice(0, MAX_ERRORS) },
  );
}

function fieldErrors(issue: z.core.$ZodIssue): FieldError[] {
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => ({
        pointer: jsonPointer([...issue.path, key]),
        detail: 'is not known here: remove it, or correct its name',
      }));
    case 'invalid_key':
      return [
        { pointer: jsonPointer(issue.path), detail: issue.issues[0]?.message ?? issue.message },
      ];
    default:
      return [{ pointer: jsonPointer(issue.path), detail: issue.message }];
  }
}
