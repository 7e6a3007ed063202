// SPDX-License-Identifier: Apache-2.0
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { problemResponses } from '../problems/schema.ts';
import type { Inventory } from './device.ts';
import { deviceDocument, deviceListSchema, deviceParams, deviceSchema } from './schema.ts';

export const deviceRoutes: FastifyPluginAsyncZod<{ inventory: Inventory }> = async (
  app,
  { inventory },
) => {
  app.get(
    '/devices',
    {
      schema: {
        operationId: 'listDevices',
        summary: 'List the devices',
        tags: ['devices'],
        response: {
          200: deviceListSchema.meta({ description: 'All that are managed.' }),
          ...problemResponses(),
        },
      },
    },
    async () => ({ devices: inventory.list().map(deviceDocument) }),
  );

  app.get(
    '/devices/:name',
    {
      schema: {
        operationId: 'getDevice',
        summary: 'Describe a device',
        tags: ['devices'],
        params: deviceParams,
        response: {
          200: deviceSchema.meta({ description: 'The device.' }),
          ...problemResponses('not_found'),
        },
      },
    },
    async (request) => deviceDocument(inventory.get(request.params.name)),
  );
};
