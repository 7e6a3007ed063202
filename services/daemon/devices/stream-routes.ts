// SPDX-License-Identifier: Apache-2.0
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { problemResponses } from '../../http/problems/schema.ts';
import type { ContentStreams } from './content-streams.ts';
import { streamListSchema } from './schema.ts';

export interface StreamRoutesOptions {
  streams: ContentStreams;
}

export const streamRoutes: FastifyPluginAsyncZod<StreamRoutesOptions> = async (
  app,
  { streams },
) => {
  app.get(
    '/streams',
    {
      config: { access: 'client' },
      schema: {
        operationId: 'listStreams',
        summary: 'List the uploads and downloads that are under way',
        description:
          "The client's own; everybody's with `transfers:all`. They have no events and no history: " +
          'ask again to see how far they are.',
        tags: ['devices'],
        response: {
          200: streamListSchema.meta({ description: 'Those that have not ended, oldest first.' }),
          ...problemResponses(),
        },
      },
    },
    async ({ client }) => streams.listFor(client),
  );
};
