// SPDX-License-Identifier: Apache-2.0
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { problemResponses } from '../problems/schema.ts';
import type { EngineChooser } from './choice.ts';
import type { Engine } from './engine.ts';

const channelSchema = z.object({
  name: z.string(),
  driver: z.string(),
  numa_node: z.int().nullable(),
  in_flight: z.int().min(0),
  bytes: z.int().min(0),
  errors: z.int().min(0),
  state: z.string(),
});

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
  chooser: EngineChooser;
}> = async (app, { engine, chooser }) => {
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
    async () => ({
      dma: {
        available: false,
        reason: chooser.dmaUnavailable,
        module_version: null,
        channels: [],
      },
      cpu: {
        available: true,
        threads: engine.cpu.threads,
        instruction_set: engine.cpu.instructionSet,
      },
      auto: { dma_from_bytes: null },
    }),
  );
};
