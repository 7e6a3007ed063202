// SPDX-License-Identifier: Apache-2.0
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { problemResponses } from '../problems/schema.ts';
import type { Metrics } from './metrics.ts';

export const metricsRoutes: FastifyPluginAsyncZod<{ metrics: Metrics }> = async (
  app,
  { metrics },
) => {
  const { registry } = metrics;
  app.get(
    '/metrics',
    {
      config: { access: 'metrics:read', quiet: true, produces: [registry.contentType] },
      schema: {
        operationId: 'getMetrics',
        summary: 'Metrics for Prometheus',
        tags: ['health'],
        response: {
          200: {
            description: 'The Prometheus text format.',
            content: { 'text/plain': { schema: z.string() } },
          },
          ...problemResponses(),
        },
      },
    },
    async (_request, reply) =>
      reply
        .type(registry.contentType)
        .serializer(String)
        .send(await registry.metrics()),
  );
};
