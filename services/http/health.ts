// SPDX-License-Identifier: Apache-2.0
import type { FastifyPluginAsync } from 'fastify';
import { z } from 'zod';
import { problemResponses } from './problems/schema.ts';

/** What every service's version says of its interface. */
export const apiVersionSchema = z.object({ major: z.int(), minor: z.int() }).meta({
  description: 'Of this interface: within a major version there are only additions.',
});

const liveSchema = z.object({ status: z.literal('ok') });

/** An answer, and what the OpenAPI document says of it. */
export interface DescribedAnswer<Schema extends z.ZodType> {
  summary: string;
  schema: Schema;
  read(): z.output<Schema>;
}

export interface HealthOptions {
  live: { summary: string; description: string };
  ready: DescribedAnswer<z.ZodType<{ ready: boolean }>> & {
    /** What it means to be ready, and not to be, as sentences. */
    yes: string;
    no: string;
  };
  version: DescribedAnswer<z.ZodType>;
}

/** What probes ask of any service, and its versions. Whoever can connect may ask. */
export const healthRoutes: FastifyPluginAsync<HealthOptions> = async (
  app,
  { live, ready, version },
) => {
  const tags = ['health'];
  const common = problemResponses();

  app.get(
    '/livez',
    {
      config: { access: 'public', quiet: true },
      schema: {
        ...{ operationId: 'isLive', tags, ...live },
        response: { 200: liveSchema.meta({ description: 'It is alive.' }), ...common },
      },
    },
    async () => ({ status: 'ok' as const }),
  );

  app.get(
    '/readyz',
    {
      config: { access: 'public', quiet: true },
      schema: {
        ...{ operationId: 'isReady', summary: ready.summary, tags },
        response: {
          200: ready.schema.meta({ description: ready.yes }),
          503: ready.schema.meta({ description: ready.no }),
          ...common,
        },
      },
    },
    async (_request, reply) => {
      const answer = ready.read();
      return reply.code(answer.ready ? 200 : 503).send(answer);
    },
  );

  app.get(
    '/version',
    {
      config: { access: 'public' },
      schema: {
        ...{ operationId: 'getVersion', summary: version.summary, tags },
        response: { 200: version.schema.meta({ description: 'The versions.' }), ...common },
      },
    },
    async () => version.read(),
  );
};
