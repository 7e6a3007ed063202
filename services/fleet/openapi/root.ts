// SPDX-License-Identifier: Apache-2.0
import accepts from 'accepts';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { DAEMON_VERSION } from '../../base/version.ts';
import { problemResponses } from '../../http/problems/schema.ts';

const JSON_TYPE = 'application/json';
const HTML_TYPE = 'text/html';

const rootSchema = z
  .object({
    name: z.literal('dmad fleet'),
    version: z.string(),
    docs: z.string(),
    openapi: z.string(),
  })
  .meta({ id: 'FleetRoot' });

/** What there is at the address alone: a browser is sent on, a program told where to look. */
export const rootRoute: FastifyPluginAsyncZod = async (app) => {
  app.get(
    '/',
    {
      config: { access: 'public', produces: [JSON_TYPE, HTML_TYPE] },
      schema: {
        operationId: 'getRoot',
        summary: 'What this is',
        description: 'A browser (`Accept: text/html`) is sent to the documentation.',
        tags: ['health'],
        response: {
          200: rootSchema.meta({ description: 'The name, and where to look further.' }),
          302: {
            description: 'For a browser: to the documentation.',
            content: { 'text/plain': { schema: z.string() } },
          },
          ...problemResponses(),
        },
      },
    },
    async (request, reply) => {
      reply.header('vary', 'Accept');
      if (accepts(request.raw).type([JSON_TYPE, HTML_TYPE]) === HTML_TYPE) {
        // Relative: a proxy may have put a prefix before it.
        return reply.code(302).header('location', 'docs').type('text/plain').send('See docs\n');
      }
      return {
        ...{ name: 'dmad fleet' as const, version: DAEMON_VERSION },
        ...{ docs: '/docs', openapi: '/openapi.json' },
      };
    },
  );
};
