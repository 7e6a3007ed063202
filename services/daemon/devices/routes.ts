// SPDX-License-Identifier: Apache-2.0
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { authorize, maySee } from '../access/authorize.ts';
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
      config: { access: 'client' },
      schema: {
        operationId: 'listDevices',
        summary: 'List the devices',
        tags: ['devices'],
        response: {
          200: deviceListSchema.meta({
            description: 'Those of which the client may read or write some bytes.',
          }),
          ...problemResponses(),
        },
      },
    },
    async ({ client }) => ({
      devices: inventory
        .list()
        .filter(({ name }) => maySee(client, name))
        .map(deviceDocument),
    }),
  );

  app.get(
    '/devices/:name',
    {
      config: { access: 'client' },
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
    async (request) => {
      const { name } = request.params;
      authorize(request, [{ device: name, offset: 0, size: 0, write: false }]);
      return deviceDocument(inventory.get(name));
    },
  );
};
