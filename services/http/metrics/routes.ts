// SPDX-License-Identifier: Apache-2.0
import type { IncomingMessage } from 'node:http';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { Registry } from 'prom-client';
import { z } from 'zod';
import { preferredType } from '../accept.ts';
import { Problem } from '../problems/problem.ts';
import { problemResponses } from '../problems/schema.ts';
import { OPENMETRICS_TYPE, toOpenMetrics } from './openmetrics.ts';

/** The metrics to scrape, and how to stop measuring. */
export interface ScrapedMetrics {
  readonly registry: Registry;
  close(): void;
}

export const metricsRoutes: FastifyPluginAsyncZod<{ metrics: ScrapedMetrics }> = async (
  app,
  { metrics },
) => {
  const { registry } = metrics;
  app.addHook('onClose', async () => metrics.close());

  app.get(
    '/metrics',
    {
      config: { access: 'metrics:read', quiet: true, produces: [] },
      schema: {
        operationId: 'getMetrics',
        summary: 'Metrics for Prometheus',
        tags: ['health'],
        response: {
          200: {
            description: 'The Prometheus text format, or OpenMetrics for those who prefer that.',
            content: {
              'text/plain': { schema: z.string() },
              'application/openmetrics-text': { schema: z.string() },
            },
          },
          ...problemResponses(),
        },
      },
    },
    async ({ raw }, reply) => {
      const text = await registry.metrics();
      reply.serializer(String).header('vary', 'accept');
      return prefersOpenMetrics(raw, registry.contentType)
        ? reply.type(OPENMETRICS_TYPE).send(toOpenMetrics(text))
        : reply.type(registry.contentType).send(text);
    },
  );
};

/**
 * If a client asks for another version of OpenMetrics, it gets this one, as the specification allows.
 *
 * @throws Problem not_acceptable
 */
function prefersOpenMetrics(request: IncomingMessage, textType: string): boolean {
  const preferred = preferredType(request, [textType, OPENMETRICS_TYPE]);
  if (preferred !== undefined) return preferred === OPENMETRICS_TYPE;
  if (/application\/openmetrics-text/i.test(request.headers.accept ?? '')) return true;
  const detail = `This route answers with ${textType} or ${OPENMETRICS_TYPE}: accept one of them.`;
  throw new Problem('not_acceptable', detail);
}
