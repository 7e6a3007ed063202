// SPDX-License-Identifier: Apache-2.0
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { problemResponses } from '../../http/problems/schema.ts';
import { type EnginesParts, enginesDocument, enginesSchema } from './schema.ts';

export const engineRoutes: FastifyPluginAsyncZod<EnginesParts> = async (app, parts) => {
  app.get(
    '/engines',
    {
      config: { access: 'client' },
      schema: {
        operationId: 'listEngines',
        summary: 'Describe what can copy',
        tags: ['engines'],
        response: {
          200: enginesSchema.meta({ description: 'The engines.' }),
          ...problemResponses(),
        },
      },
    },
    async () => enginesDocument(parts),
  );
};
