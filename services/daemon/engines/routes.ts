// SPDX-License-Identifier: Apache-2.0
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { problemResponses } from '../problems/schema.ts';
import type { DmaEngine } from './dma.ts';
import type { Engine } from './engine.ts';
import { CHANNEL_STATES, type Channel } from './records.ts';

const count = z.int().min(0);

const channelSchema = z
  .object({
    name: z.string(),
    driver: z.string(),
    numa_node: z.int().nullable(),
    state: z.enum(CHANNEL_STATES).meta({
      description:
        'recovering: an operation failed or hangs, and it takes nothing new until one of the ' +
        "module's own has gone through; set_aside: it did not recover, and is tried again from " +
        'time to time; gone: its device was removed or its driver unbound.',
    }),
    in_flight: count.meta({ description: 'Operations that the hardware has now.' }),
    operations: count,
    bytes: count,
    errors: count.meta({ description: 'The sum of errors_by_kind.' }),
    errors_by_kind: z.object({
      read: count.meta({ description: 'Operations whose source could not be read.' }),
      write: count.meta({ description: 'Operations whose destination could not be written.' }),
      aborted: count.meta({ description: "Operations thrown out with another's fault." }),
      lost: count.meta({ description: 'Operations whose end the driver never told.' }),
      timeout: count.meta({ description: 'Requests whose time was over at this channel.' }),
    }),
    recoveries: count.meta({ description: 'Times that it came back.' }),
  })
  .meta({ id: 'Channel', description: 'A DMA channel; counters since the module found it.' });

const enginesSchema = z
  .object({
    dma: z.object({
      available: z.boolean(),
      reason: z.string().meta({ description: 'Why it is available, or why not.' }),
      module_version: z.string().nullable(),
      channels: z.array(channelSchema),
    }),
    cpu: z.object({
      available: z.boolean(),
      threads: z.int().min(1),
      instruction_set: z.string().meta({ description: 'What large copies use.' }),
      stream_from_bytes: z.int().min(1).meta({
        description: 'The size from which a copy passes the caches by; measured at start.',
      }),
    }),
    auto: z.object({
      dma_from_bytes: z.int().nullable().meta({
        description: 'The size from which auto chooses DMA; null where there is none.',
      }),
    }),
  })
  .meta({ id: 'Engines' });

export const engineRoutes: FastifyPluginAsyncZod<{
  engine: Engine;
  dma: DmaEngine;
}> = async (app, { engine, dma }) => {
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
    async () => {
      const { unavailable } = dma;
      return {
        dma: {
          available: unavailable === undefined,
          reason: unavailable ?? 'a DMA channel is ready',
          module_version: dma.module?.version ?? null,
          channels: dma.channels().map(channelDocument),
        },
        cpu: {
          available: true,
          threads: engine.cpu.threads,
          instruction_set: engine.cpu.instructionSet,
          stream_from_bytes: engine.cpu.streamFrom,
        },
        auto: { dma_from_bytes: unavailable === undefined ? 1 : null },
      };
    },
  );
};

function channelDocument({ id, numaNode, inFlight, errors, ...channel }: Channel) {
  return {
    ...channel,
    numa_node: numaNode,
    in_flight: inFlight,
    errors: Object.values(errors).reduce((sum, kind) => sum + kind, 0),
    errors_by_kind: errors,
  };
}
