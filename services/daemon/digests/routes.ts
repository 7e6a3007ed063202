// SPDX-License-Identifier: Apache-2.0

import type { ServerResponse } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { DIGEST_SIZE } from '../../base/digest.ts';
import { preferredType } from '../../http/accept.ts';
import { authorize } from '../../http/access/authorize.ts';
import { clientGone } from '../../http/client-gone.ts';
import { OCTETS, octetsAnswer } from '../../http/octets.ts';
import { problemResponses } from '../../http/problems/schema.ts';
import { StreamSlots } from '../../http/stream-slots.ts';
import { checkBadBlocks, checkBounds, checkOnline, type Inventory } from '../devices/device.ts';
import { writeChunk } from '../devices/download-body.ts';
import { deviceParams, READ_PROBLEMS } from '../devices/schema.ts';
import type { Engine } from '../engines/engine.ts';
import type { WorkQueue } from '../order/work-queue.ts';
import { digests } from './digests.ts';
import type { Hashers } from './hashers.ts';
import { blockCount, pageOf } from './pages.ts';
import { digestPageSchema, digestsQuerySchema } from './schema.ts';

const JSON_TYPE = 'application/json';

export interface DigestRoutesOptions {
  engine: Engine;
  inventory: Inventory;
  queue: WorkQueue;
  hashers: Hashers;
}

export const digestRoutes: FastifyPluginAsyncZod<DigestRoutesOptions> = async (
  app,
  { engine, inventory, queue, hashers },
) => {
  const slots = new StreamSlots('requests for digests');

  app.get(
    '/devices/:name/digests',
    {
      config: { access: 'content:read', kind: 'content', produces: [JSON_TYPE, OCTETS] },
      schema: {
        operationId: 'digestContent',
        summary: "Compute the SHA-256 of each block of a device's bytes",
        description:
          'For copying only what differs. Reads at once, in no order with transfers that are under ' +
          'way. `Accept: application/octet-stream` gives the digests themselves, 32 bytes each, one ' +
          'behind the other, however many; JSON comes by pages of up to 65,536.',
        tags: ['devices'],
        params: deviceParams,
        querystring: digestsQuerySchema,
        response: {
          200: {
            description: 'The digests.',
            content: {
              [JSON_TYPE]: { schema: digestPageSchema },
              ...octetsAnswer.content,
            },
          },
          ...problemResponses('out_of_range', ...READ_PROBLEMS),
        },
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      authorize(request, [{ device: name, offset: 0, size: 0, write: false }]);
      const device = inventory.get(name);
      const { offset, size = Math.max(device.size - offset, 1), block_size } = request.query;
      authorize(request, [{ device: name, offset, size, write: false }], () => '/offset');
      const blocks = { offset, size, blockSize: block_size };
      const raw = preferredType(request.raw, [JSON_TYPE, OCTETS]) === OCTETS;
      const page = raw ? undefined : pageOf(blocks, request.query.page_token);
      const range = { device, offset, size, offsetPointer: '/offset', sizePointer: '/size' };
      checkBounds(range);
      checkBadBlocks(range);
      checkOnline(device);

      if (request.method === 'HEAD') {
        sendHead(reply, raw ? blockCount(blocks) * DIGEST_SIZE : undefined).end();
        return;
      }
      const client = request.client.name;
      const pace = (bytes: number) => queue.pace(client, bytes);
      const options = { engine, hashers, pace, signal: clientGone(reply) };
      if (page !== undefined) {
        return slots.use(client, async () => {
          const hex: string[] = [];
          for await (const some of digests(device, page, block_size, options)) {
            hex.push(...hexDigests(some));
          }
          return {
            ...{ algorithm: 'sha256' as const, block_size, offset, size, digests: hex },
            next_page_token: page.nextPageToken,
          };
        });
      }
      const length = blockCount(blocks) * DIGEST_SIZE;
      return slots.use(client, () =>
        sendBytes(request, reply, length, digests(device, range, block_size, options)),
      );
    },
  );
};

/** @param length of the digests as bytes; undefined for JSON */
function sendHead(reply: FastifyReply, length: number | undefined): ServerResponse {
  return reply.hijack().raw.writeHead(200, {
    ...(reply.getHeaders() as Record<string, string>),
    'content-type': length === undefined ? `${JSON_TYPE}; charset=utf-8` : OCTETS,
    ...(length !== undefined && { 'content-length': length }),
  });
}

/** @throws Problem if nothing was sent yet; later errors break the connection off */
async function sendBytes(
  request: FastifyRequest,
  reply: FastifyReply,
  length: number,
  chunks: AsyncIterator<Uint8Array>,
): Promise<void> {
  let chunk = await chunks.next();
  const raw = sendHead(reply, length);
  try {
    for (; !chunk.done; chunk = await chunks.next()) {
      await writeChunk(raw, chunk.value);
    }
    raw.end();
  } catch (error) {
    request.log.warn({ err: error }, 'digests broken off');
    raw.destroy();
  }
}

function hexDigests(bytes: Uint8Array): string[] {
  const hex = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
  return hex.match(/.{64}/g) ?? [];
}
