// SPDX-License-Identifier: Apache-2.0
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { DAEMON_VERSION } from '../../base/version.ts';
import { preferredType } from '../accept.ts';
import { problemResponses } from '../problems/schema.ts';
import type { Page } from './page.ts';

const JSON_TYPE = 'application/json';
const HTML_TYPE = 'text/html';

export const rootSchema = z
  .object({
    name: z.enum(['dmad', 'dmad fleet']),
    version: z.string(),
    docs: z.string(),
    openapi: z.string(),
  })
  .meta({ id: 'Root' });

export interface RootOptions {
  name: z.output<typeof rootSchema>['name'];
  /** What a browser shows. */
  page: Page;
}

/** What there is at the address alone: the dashboard for a browser, where to look for a program. */
export const rootRoute: FastifyPluginAsyncZod<RootOptions> = async (app, { name, page }) => {
  app.get(
    '/',
    {
      config: { access: 'public', produces: [JSON_TYPE, HTML_TYPE] },
      schema: {
        operationId: 'getRoot',
        summary: 'What this is; in a browser, the dashboard',
        description: 'With `Accept: text/html` it is the dashboard.',
        tags: ['health'],
        response: {
          200: {
            description: 'The name, and where to look further; or the dashboard.',
            content: {
              [JSON_TYPE]: { schema: rootSchema },
              [HTML_TYPE]: { schema: z.string() },
            },
          },
          ...problemResponses(),
        },
      },
    },
    async (request, reply) => {
      reply.headers(page.headers);
      if (preferredType(request.raw, [JSON_TYPE, HTML_TYPE]) === HTML_TYPE) {
        return reply.type(`${HTML_TYPE}; charset=utf-8`).send(page.html);
      }
      return {
        ...{ name, version: DAEMON_VERSION },
        ...{ docs: '/docs', openapi: '/openapi.json' },
      };
    },
  );
};
