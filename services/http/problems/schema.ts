// SPDX-License-Identifier: Apache-2.0
import { z } from 'zod';
import { DMA_ERRORS } from '../../base/vocabulary.ts';
import { PROBLEMS, type ProblemCode } from './problem.ts';

const PROBLEM_CODES = Object.keys(PROBLEMS) as [ProblemCode, ...ProblemCode[]];

export const problemCodeSchema = z.enum(PROBLEM_CODES);

export const problemSchema = z
  .object({
    type: z.string().meta({ description: 'Stable for this kind of error; explains it.' }),
    title: z.string(),
    status: z.int().min(400).max(599),
    detail: z.string().meta({ description: 'What is wrong, and what to do about it.' }),
    instance: z.string().meta({ description: 'The request, as in its x-request-id.' }),
    code: problemCodeSchema.meta({ description: 'Stable, for programs.' }),
    errors: z
      .array(
        z.object({
          pointer: z.string().meta({ description: 'JSON pointer to the field (RFC 6901).' }),
          detail: z.string(),
        }),
      )
      .optional(),
    dma: z
      .object({
        error: z.enum(DMA_ERRORS).meta({
          description:
            'read, write: a channel could not read the source, or write the destination; lost: it ' +
            'was reset or told no end; map: the memory could not be mapped for it; aborted: thrown ' +
            "out with other copies' faults each time it was tried; timeout: it hung; device_gone, " +
            'channel_gone: removed or set aside.',
        }),
        channel: z.string().nullable().meta({ description: 'The one that failed.' }),
        retries: z.int().min(0),
      })
      .optional()
      .meta({ description: 'Where the DMA engine failed: what became of the copy.' }),
  })
  .meta({ id: 'Problem', description: 'Problem details (RFC 9457).' });

/** What any route can answer. */
const COMMON = [
  'invalid_request',
  'not_acceptable',
  'misdirected_request',
  'expectation_failed',
  'headers_too_large',
  'internal_error',
  'unsupported_transfer_coding',
] as const;

/**
 * The error answers of a route, for its `response` schema: one entry for each status, saying which
 * codes it carries. Those that any route can give come by themselves.
 */
export function problemResponses(...codes: ProblemCode[]) {
  return problemResponsesWith(problemSchema, ...COMMON, ...codes);
}

/** The same where the problem has further members. */
export function problemResponsesWith<Schema extends z.ZodType>(
  schema: Schema,
  ...codes: ProblemCode[]
) {
  const responses: Record<
    number,
    { description: string; content: Record<'application/problem+json', { schema: Schema }> }
  > = {};
  for (const status of new Set(codes.map((code) => PROBLEMS[code].status))) {
    const described = codes
      .filter((code) => PROBLEMS[code].status === status)
      .map((code) => `\`${code}\`: ${PROBLEMS[code].title}.`);
    responses[status] = {
      description: described.join(' '),
      content: { 'application/problem+json': { schema } },
    };
  }
  return responses;
}
