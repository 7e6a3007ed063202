// SPDX-License-Identifier: Apache-2.0
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { API_VERSION, DAEMON_VERSION } from '../../base/version.ts';
import { problemResponses } from '../../http/problems/schema.ts';
import type { DmaEngine } from '../engines/dma.ts';
import type { Engine, Storage } from '../engines/engine.ts';
import { PERSISTENCE } from '../engines/records.ts';
import type { Readiness } from './readiness.ts';

const journalSchema = z
  .object({
    persistence: z.enum(PERSISTENCE).meta({
      description:
        'backing_store: what is synced survives a loss of power, as its file system keeps it. ' +
        'volatile: it is in memory. unknown: its file system is not known to keep it.',
    }),
  })
  .meta({ description: 'Where accepted transfers are kept.' });

export const readySchema = z
  .object({
    ready: z.boolean(),
    waiting_for: z.array(z.string()),
    journal: journalSchema.optional(),
    degraded: z
      .array(z.string())
      .optional()
      .meta({
        description:
          'What is missing, though transfers go on without it: one of several devices, a DMA ' +
          'channel, lines of the log.',
      }),
  })
  .meta({ id: 'Readiness' });

export const versionSchema = z
  .object({
    daemon: z.string(),
    api: z.object({ major: z.int(), minor: z.int() }).meta({
      description: 'Of this interface: within a major version there are only additions.',
    }),
    shim: z.string(),
    module: z.string().nullable(),
    abi: z.int().nullable().meta({ description: "The kernel module's, if it is loaded." }),
    node: z.string(),
    journal: journalSchema,
  })
  .meta({ id: 'Version' });

const common = problemResponses();

export interface HealthRoutesOptions {
  engine: Engine;
  dma: DmaEngine;
  readiness: Readiness;
  /** Of the journal. */
  storage: Storage;
}

export const healthRoutes: FastifyPluginAsyncZod<HealthRoutesOptions> = async (
  app,
  { engine, dma, readiness, storage },
) => {
  app.get(
    '/livez',
    {
      config: { access: 'public', quiet: true },
      schema: {
        operationId: 'isLive',
        summary: 'Whether the daemon is alive',
        description: 'Touches no device.',
        tags: ['health'],
        response: {
          200: z.object({ status: z.literal('ok') }).meta({ description: 'It is alive.' }),
          ...common,
        },
      },
    },
    async () => ({ status: 'ok' as const }),
  );

  app.get(
    '/readyz',
    {
      config: { access: 'public', quiet: true },
      schema: {
        operationId: 'isReady',
        summary: 'Whether the daemon takes transfers',
        tags: ['health'],
        response: {
          200: readySchema.meta({ description: 'It takes transfers.' }),
          503: readySchema.meta({
            description: 'It takes none until what `waiting_for` names is there.',
          }),
          ...common,
        },
      },
    },
    async (_request, reply) => {
      const waiting_for = readiness.waitingFor();
      const degraded = readiness.degraded();
      const ready = waiting_for.length === 0;
      return reply.code(ready ? 200 : 503).send({
        ready,
        waiting_for,
        ...(storage.persistence !== 'backing_store' && {
          journal: { persistence: storage.persistence },
        }),
        ...(degraded.length > 0 && { degraded }),
      });
    },
  );

  app.get(
    '/version',
    {
      config: { access: 'public' },
      schema: {
        operationId: 'getVersion',
        summary: 'Versions of the daemon and its parts',
        tags: ['health'],
        response: { 200: versionSchema.meta({ description: 'The versions.' }), ...common },
      },
    },
    async () => ({
      daemon: DAEMON_VERSION,
      api: API_VERSION,
      shim: engine.shimVersion,
      module: dma.module?.version ?? null,
      abi: dma.module?.abi ?? null,
      node: process.versions.node,
      journal: { persistence: storage.persistence },
    }),
  );
};
