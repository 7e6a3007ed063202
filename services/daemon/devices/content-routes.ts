// SPDX-License-Identifier: Apache-2.0
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { authorize } from '../access/authorize.ts';
import { crc32cText } from '../base/crc32c.ts';
import type { Engine } from '../engines/engine.ts';
import { clientLeft } from '../http/client-left.ts';
import type { WorkQueue } from '../order/work-queue.ts';
import { problemResponses } from '../problems/schema.ts';
import { checksum } from './checksum.ts';
import type { ContentObserver } from './content-observer.ts';
import { checkBadBlocks, checkBounds, type Inventory } from './device.ts';
import { download } from './download.ts';
import { checksumQuerySchema, checksumSchema, deviceParams, OCTETS } from './schema.ts';
import { StreamSlots } from './stream-slots.ts';

export interface ContentRoutesOptions {
  engine: Engine;
  inventory: Inventory;
  queue: WorkQueue;
  observer: ContentObserver;
}

export const contentRoutes: FastifyPluginAsyncZod<ContentRoutesOptions> = async (
  app,
  { engine, inventory, queue, observer },
) => {
  // Apart, so that neither those who read bytes nor those who want checksums shut the others out.
  const downloads = new StreamSlots('downloads');
  const checksums = new StreamSlots('checksums');

  app.get(
    '/devices/:name/content',
    {
      config: { access: 'content:read', kind: 'content', produces: [OCTETS] },
      schema: {
        operationId: 'readContent',
        summary: "Read a device's bytes",
        description: 'Reads at once, in no order with transfers that are under way.',
        tags: ['devices'],
        params: deviceParams,
        headers: z.object({
          range: z.string().optional().meta({
            description: 'One range, such as `bytes=0-4095`; others are ignored.',
          }),
        }),
        response: {
          200: {
            description: 'All bytes.',
            content: { [OCTETS]: { schema: z.string().meta({ format: 'binary' }) } },
          },
          206: {
            description: 'The bytes of the range.',
            content: { [OCTETS]: { schema: z.string().meta({ format: 'binary' }) } },
          },
          ...problemResponses(
            'not_found',
            'range_not_satisfiable',
            'bad_block',
            'queue_full',
            'media_error',
            'device_gone',
          ),
        },
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      authorize(request, [{ device: name, offset: 0, size: 0, write: false }]);
      const device = inventory.get(name);
      const client = request.client.name;
      const left = clientLeft(reply);
      const pace = (bytes: number) => queue.pace(client, bytes);
      return downloads.use(client, () =>
        download(engine, device, request, reply, { pace, left, observer }),
      );
    },
  );

  app.get(
    '/devices/:name/checksum',
    {
      config: { access: 'content:read', kind: 'content' },
      schema: {
        operationId: 'checksumContent',
        summary: "Compute the CRC-32C of a device's bytes",
        description: 'Reads at once, in no order with transfers that are under way.',
        tags: ['devices'],
        params: deviceParams,
        querystring: checksumQuerySchema,
        response: {
          200: checksumSchema.meta({ description: 'The checksum, as 8 hex digits.' }),
          ...problemResponses(
            'not_found',
            'out_of_range',
            'bad_block',
            'queue_full',
            'media_error',
            'device_gone',
          ),
        },
      },
    },
    (request, reply) => {
      const { name } = request.params;
      authorize(request, [{ device: name, offset: 0, size: 0, write: false }]);
      const device = inventory.get(name);
      const { offset, size = Math.max(device.size - offset, 1) } = request.query;
      authorize(request, [{ device: name, offset, size, write: false }], () => '/offset');
      const client = request.client.name;
      return checksums.use(client, async () => {
        const range = { device, offset, size, offsetPointer: '/offset', sizePointer: '/size' };
        checkBounds(range);
        checkBadBlocks(range);
        const pace = (bytes: number) => queue.pace(client, bytes);
        const crc = await checksum(engine, device, range, pace, clientLeft(reply));
        return { crc32c: crc32cText(crc) };
      });
    },
  );
};
