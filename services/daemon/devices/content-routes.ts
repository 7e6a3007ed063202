// SPDX-License-Identifier: Apache-2.0
import type { FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { crc32cText } from '../../base/crc32c.ts';
import { authorize } from '../../http/access/authorize.ts';
import { clientGone } from '../../http/client-gone.ts';
import type { DigestAlgorithm } from '../../http/content-digest.ts';
import { OCTETS, octetsAnswer, rangeHeader } from '../../http/octets.ts';
import { Problem } from '../../http/problems/problem.ts';
import { problemResponses } from '../../http/problems/schema.ts';
import { StreamSlots } from '../../http/stream-slots.ts';
import { digestField, wantedReprDigest, wantReprDigestHeader } from '../../http/want-digest.ts';
import type { Engine } from '../engines/engine.ts';
import type { WorkQueue } from '../order/work-queue.ts';
import { checksum } from './checksum.ts';
import type { ContentStreams } from './content-streams.ts';
import { checkBadBlocks, checkBounds, type Device, type Inventory } from './device.ts';
import { download } from './download.ts';
import { checksumQuerySchema, checksumSchema, deviceParams, READ_PROBLEMS } from './schema.ts';
import type { Pace } from './throttle.ts';

export interface ContentRoutesOptions {
  engine: Engine;
  inventory: Inventory;
  queue: WorkQueue;
  streams: ContentStreams;
  /** From which size on the shim sends a body itself, past Node. */
  pastNodeFrom: number;
  /** The digest of all of a device's bytes. */
  digestOf(
    device: Device,
    algorithm: DigestAlgorithm,
    options: { pace: Pace; signal: AbortSignal },
  ): Promise<Uint8Array>;
}

export const contentRoutes: FastifyPluginAsyncZod<ContentRoutesOptions> = async (
  app,
  { engine, inventory, queue, streams, pastNodeFrom, digestOf },
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
          range: rangeHeader,
          'want-repr-digest': wantReprDigestHeader,
        }),
        response: {
          200: { description: 'All bytes.', ...octetsAnswer },
          206: { description: 'The bytes of the range.', ...octetsAnswer },
          ...problemResponses(...READ_PROBLEMS, 'range_not_satisfiable'),
        },
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      authorize(request, [{ device: name, offset: 0, size: 0, write: false }]);
      const device = inventory.get(name);
      const client = request.client.name;
      const gone = clientGone(reply);
      const pace = (bytes: number) => queue.pace(client, bytes);
      return downloads.use(client, () =>
        download(engine, device, request, reply, {
          ...{ pace, gone, streams, pastNodeFrom },
          reprDigest: () => reprDigest(request, device, { pace, signal: gone }),
        }),
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
          ...problemResponses('out_of_range', ...READ_PROBLEMS),
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
        const crc = await checksum(engine, device, range, pace, clientGone(reply));
        return { crc32c: crc32cText(crc) };
      });
    },
  );

  /** @returns undefined if it is not wanted, not the client's to know, or cannot be computed */
  async function reprDigest(
    { headers, client, log }: FastifyRequest,
    device: Device,
    options: { pace: Pace; signal: AbortSignal },
  ): Promise<string | undefined> {
    const algorithm = wantedReprDigest(headers);
    const whole = { offset: 0, size: device.size };
    const known = device.badBlocks.length === 0;
    if (
      algorithm === undefined ||
      !known ||
      client.grants?.allow(device.name, whole, false) === false
    ) {
      return undefined;
    }
    try {
      return digestField(algorithm, await digestOf(device, algorithm, options));
    } catch (error) {
      if (options.signal.aborted || !(error instanceof Problem)) throw error;
      log.warn({ err: error, device: device.name }, 'no Repr-Digest');
      return undefined;
    }
  }
};
