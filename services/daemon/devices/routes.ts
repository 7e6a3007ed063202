// SPDX-License-Identifier: Apache-2.0

import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { authorize, maySee } from '../../http/access/authorize.ts';
import type { Client } from '../../http/access/client.ts';
import { problemResponses } from '../../http/problems/schema.ts';
import type { Device, Inventory } from './device.ts';
import { deviceDocument } from './document.ts';
import { deviceListSchema, deviceParams, deviceSchema, type InconsistentRanges } from './schema.ts';

export interface DeviceRoutesOptions {
  inventory: Inventory;
  /** Ranges of a device that replications have not made consistent yet, as a client sees them. */
  inconsistentRanges(device: Device, client: Client): InconsistentRanges;
}

export const deviceRoutes: FastifyPluginAsyncZod<DeviceRoutesOptions> = async (
  app,
  { inventory, inconsistentRanges },
) => {
  const documentOf = (device: Device, client: Client) =>
    deviceDocument(device, inconsistentRanges(device, client));

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
        .map((device) => documentOf(device, client)),
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
      return documentOf(inventory.get(name), request.client);
    },
  );
};
