// SPDX-License-Identifier: Apache-2.0

import type { FastifyPluginAsync } from 'fastify';
import { z } from 'zod';
import { API_VERSION, DAEMON_VERSION } from '../../base/version.ts';
import { PERSISTENCE } from '../../base/vocabulary.ts';
import { apiVersionSchema, healthRoutes as commonHealthRoutes } from '../../http/health.ts';
import type { DmaEngine } from '../engines/dma.ts';
import type { Engine, Storage } from '../engines/engine.ts';
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
    api: apiVersionSchema,
    shim: z.string(),
    module: z.string().nullable(),
    abi: z.int().nullable().meta({ description: "The kernel module's, if it is loaded." }),
    node: z.string(),
    journal: journalSchema,
  })
  .meta({ id: 'Version' });

export interface HealthRoutesOptions {
  engine: Engine;
  dma: DmaEngine;
  readiness: Readiness;
  /** Of the journal. */
  storage: Storage;
}

export const healthRoutes: FastifyPluginAsync<HealthRoutesOptions> = async (
  app,
  { engine, dma, readiness, storage: { persistence } },
) => {
  await app.register(commonHealthRoutes, {
    live: { summary: 'Whether the daemon is alive', description: 'Touches no device.' },
    ready: {
      summary: 'Whether the daemon takes transfers',
      schema: readySchema,
      yes: 'It takes transfers.',
      no: 'It takes none until what `waiting_for` names is there.',
      read: (): z.output<typeof readySchema> => {
        const waiting_for = readiness.waitingFor();
        const degraded = readiness.degraded();
        return {
          ready: waiting_for.length === 0,
          waiting_for,
          ...(persistence !== 'backing_store' && { journal: { persistence } }),
          ...(degraded.length > 0 && { degraded }),
        };
      },
    },
    version: {
      summary: 'Versions of the daemon and its parts',
      schema: versionSchema,
      read: (): z.output<typeof versionSchema> => ({
        daemon: DAEMON_VERSION,
        api: API_VERSION,
        shim: engine.shimVersion,
        module: dma.module?.version ?? null,
        abi: dma.module?.abi ?? null,
        node: process.versions.node,
        journal: { persistence },
      }),
    },
  });
};
