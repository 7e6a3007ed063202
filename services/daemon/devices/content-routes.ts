// SPDX-License-Identifier: Apache-2.0
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { Engine } from '../engines/engine.ts';
import { jobProblem } from '../engines/failure.ts';
import { type Completion, NOWHERE } from '../engines/records.ts';
import { crc32cText } from '../http/crc32c.ts';
import { UPLOAD_LANE, type WorkQueue } from '../order/work-queue.ts';
import { Problem } from '../problems/problem.ts';
import { problemResponses } from '../problems/schema.ts';
import { checkBadBlocks, checkBounds, type Device, type Inventory } from './device.ts';
import { download } from './download.ts';
import {
  checksumQuerySchema,
  checksumSchema,
  deviceParams,
  uploadQuerySchema,
  uploadResultSchema,
} from './schema.ts';
import { StreamSlots } from './stream-slots.ts';
import { Upload, type UploadTarget } from './upload.ts';

const OCTETS = 'application/octet-stream';

export interface ContentRoutesOptions {
  engine: Engine;
  inventory: Inventory;
  queue: WorkQueue;
  /** How long an upload may send nothing, in milliseconds. */
  uploadIdleMs: number;
  /** Breaks off the uploads that are under way. */
  signal: AbortSignal;
}

export const contentRoutes: FastifyPluginAsyncZod<ContentRoutesOptions> = async (app, options) => {
  const { engine, inventory, queue } = options;
  const slots = new StreamSlots();

  app.get(
    '/devices/:name/content',
    {
      config: { produces: [OCTETS] },
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
    (request, reply) =>
      slots.use(() => download(engine, inventory.get(request.params.name), request, reply)),
  );

  app.get(
    '/devices/:name/checksum',
    {
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
    (request, reply) =>
      slots.use(async () => {
        const device = inventory.get(request.params.name);
        const { offset, size = Math.max(device.size - offset, 1) } = request.query;
        const range = { device, offset, size, offsetPointer: '/offset', sizePointer: '/size' };
        checkBounds(range);
        checkBadBlocks(range);
        const { sourceCrc } = await checksum(engine, device, offset, size, reply);
        return { crc32c: crc32cText(sourceCrc) };
      }),
  );

  await app.register(async (uploads) => {
    uploads.removeAllContentTypeParsers();
    uploads.addContentTypeParser(OCTETS, (_request, payload, done) => done(null, payload));
    uploads.addHook('onRequest', async (request) => {
      // Fastify has no parser for a body of no type; this one is taken as what it must be.
      request.raw.headers['content-type'] ??= OCTETS;
    });
    uploads.put<{ Params: z.output<typeof deviceParams>; Querystring: { offset: number } }>(
      '/devices/:name/content',
      {
        config: { streamsBody: true },
        schema: {
          operationId: 'writeContent',
          summary: "Write a device's bytes",
          description:
            'Streams the body into the device, in order with transfers. What arrived of a body ' +
            'that was cut short stays written.',
          tags: ['devices'],
          consumes: [OCTETS],
          params: deviceParams,
          querystring: uploadQuerySchema,
          body: z.unknown().meta({ type: 'string', format: 'binary' }),
          response: {
            200: uploadResultSchema.meta({ description: 'All of it is written.' }),
            ...problemResponses(
              'not_found',
              'request_timeout',
              'payload_too_large',
              'unsupported_media_type',
              'out_of_range',
              'bad_block',
              'queue_full',
              'media_error',
              'device_gone',
              'shutting_down',
              'storage_full',
            ),
          },
        },
      },
      (request, reply) => {
        const target = {
          device: inventory.get(request.params.name),
          offset: request.query.offset,
          length: bodyLength(request),
        };
        return slots.use(() => receiveUpload(request, reply, target));
      },
    );
  });

  /** Waits for the upload's turn, writes it, and lets those behind it go on, however it ends. */
  async function receiveUpload(request: FastifyRequest, reply: FastifyReply, target: UploadTarget) {
    const { device, offset } = target;
    const upload = new Upload(engine, target);
    if (target.length === 0) return { bytes_written: 0, crc32c: crc32cText(0) };
    queue.admit();
    if (request.headers.expect !== undefined) reply.raw.writeContinue();

    const size = target.length ?? device.size - offset;
    const accesses = size === 0 ? [] : [{ device: device.handle, offset, size, write: true }];
    let start = () => {};
    const turn = new Promise<void>((resolve) => {
      start = resolve;
    });
    const ticket = queue.add(start, accesses, UPLOAD_LANE);
    try {
      await turn;
      await upload.receive(request.raw, { idleMs: options.uploadIdleMs, signal: options.signal });
    } catch (error) {
      request.log.warn(
        { err: error, device: device.name, bytes_written: upload.bytesWritten },
        'upload cut short',
      );
      // The rest of the body is still coming; the connection is of no further use.
      reply.header('connection', 'close');
      throw request.raw.errored === error
        ? new Problem('invalid_request', 'The body was cut short.')
        : error;
    } finally {
      queue.release(ticket);
    }
    return { bytes_written: upload.bytesWritten, crc32c: crc32cText(upload.crc) };
  }
};

/** @returns undefined where it is not known beforehand */
function bodyLength({ headers }: FastifyRequest): number | undefined {
  if (headers['content-range'] !== undefined) {
    throw new Problem('invalid_request', 'Content-Range means nothing here: use ?offset=N.');
  }
  if (headers['transfer-encoding'] !== undefined) return undefined;
  return Number(headers['content-length'] ?? 0);
}

/** Stops when the client goes away: a large device takes long to read. */
function checksum(
  engine: Engine,
  device: Device,
  offset: number,
  size: number,
  reply: FastifyReply,
): Promise<Completion> {
  return new Promise((resolve, reject) => {
    const tag = engine.submit(
      {
        source: device.handle,
        destination: NOWHERE,
        engine: 'cpu',
        priority: 'normal',
        segments: [{ src_offset: offset, dst_offset: 0, size }],
        checksum: true,
      },
      {
        done: (completion) => {
          reply.raw.removeListener('close', stop);
          if (completion.status === 0) resolve(completion);
          else reject(jobProblem(completion, device.name));
        },
      },
    );
    const stop = () => engine.cancel(tag);
    reply.raw.once('close', stop);
  });
}
