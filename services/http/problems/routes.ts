// SPDX-License-Identifier: Apache-2.0
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { preferredType } from '../accept.ts';
import { EXPLANATIONS } from './explanations.ts';
import { PROBLEMS, Problem, type ProblemCode, problemType } from './problem.ts';
import { problemCodeSchema, problemResponses } from './schema.ts';

const JSON_TYPE = 'application/json';
const HTML_TYPE = 'text/html';

const RETRIES = { yes: 'yes', with_key: 'with the same Idempotency-Key', no: 'no' } as const;

export const explanationSchema = z
  .object({
    type: z.string(),
    code: problemCodeSchema,
    title: z.string(),
    status: z.int(),
    meaning: z.string(),
    remedy: z.string().meta({ description: 'What to do about it.' }),
    retry: z.enum(['yes', 'with_key', 'no']).meta({
      description:
        'Whether the same request may be sent again. with_key: something may have been done, so with ' +
        'the same Idempotency-Key; no: it would be answered the same.',
    }),
  })
  .meta({ id: 'ProblemExplanation' });

/** What each kind of problem means: where a problem's `type` leads. */
export const problemRoutes: FastifyPluginAsyncZod = async (app) => {
  app.get(
    '/problems/:code',
    {
      config: { access: 'public', produces: [JSON_TYPE, HTML_TYPE] },
      schema: {
        operationId: 'explainProblem',
        summary: 'What a kind of problem means, and what to do',
        description: 'The `type` of a problem leads here. With `Accept: text/html`, as a page.',
        tags: ['health'],
        params: z.object({ code: z.string().meta({ description: 'The code of a problem.' }) }),
        response: {
          200: {
            description: 'The explanation.',
            content: {
              [JSON_TYPE]: { schema: explanationSchema },
              [HTML_TYPE]: { schema: z.string() },
            },
          },
          ...problemResponses('not_found'),
        },
      },
    },
    async (request, reply) => {
      const { code } = request.params;
      if (!isCode(code)) {
        throw new Problem('not_found', 'There is no such kind of problem; GET /docs has all.');
      }
      const explained = {
        ...{ type: problemType(code), code },
        ...PROBLEMS[code],
        ...EXPLANATIONS[code],
      };
      if (preferredType(request.raw, [JSON_TYPE, HTML_TYPE]) !== HTML_TYPE) return explained;
      const { title, status, meaning, remedy, retry } = explained;
      return reply
        .type(`${HTML_TYPE}; charset=utf-8`)
        .send(
          [
            `<!doctype html><html lang="en"><meta charset="utf-8"><title>${code} – dmad</title>`,
            '<meta name="viewport" content="width=device-width">',
            `<h1>${title}</h1><p><code>${code}</code>, status ${status}</p>`,
            `<h2>What it means</h2><p>${marked(meaning)}</p>`,
            `<h2>What to do</h2><p>${marked(remedy)}</p>`,
            `<h2>Is a retry safe?</h2><p>${RETRIES[retry]}</p></html>\n`,
          ].join('\n'),
        );
    },
  );
};

function isCode(code: string): code is ProblemCode {
  return Object.hasOwn(PROBLEMS, code);
}

/** The texts are this program's own, and have `code` in them. */
function marked(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replace(/`([^`]+)`/g, '<code>$1</code>');
}
