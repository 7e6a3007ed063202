// SPDX-License-Identifier: Apache-2.0
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { authorize } from '../access/authorize.ts';
import type { Engine } from '../engines/engine.ts';
import { clientLeft } from '../http/client-left.ts';
import { crc32cText } from '../http/crc32c.ts';
import { awaitsContinue } from '../http/semantics.ts';
import type { WorkQueue } from '../order/work-queue.ts';
import { Problem } from '../problems/problem.ts';
import { problemResponses } from '../problems/schema.ts';
import type { ContentObserver } from './content-observer.ts';
import { flushedByCpu, type Inventory } from './device.ts';
import { deviceParams, OCTETS, uploadQuerySchema, uploadResultSchema } from './schema.ts';
import type { UnflushedDevices } from './unflushed.ts';
import { checkUpload, Upload, type UploadTarget } from './upload.ts';

export interface UploadRoutesOptions {
  engine: Engine;
  inventory: Inventory;
  queue: WorkQueue;
  observer: ContentObserver;
  unflushed: UnflushedDevices;
  /** How long an upload may send nothing, in milliseconds. */
  idleMs: number;
  /** Breaks off the uploads that wait or are under way, for its reason. */
  signal: AbortSignal;
}

export const uploadRoutes: FastifyPluginAsyncZod<UploadRoutesOptions> = async (app, options) => {
  const { engine, inventory, queue, unflushed, observer, idleMs, signal } = options;
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(OCTETS, (_request, payload, done) => done(null, payload));
  app.addHook('onRequest', async (request) => {
    // Fastify has no parser for a body of no type; this one is taken as what it must be.
    request.raw.headers['content-type'] ??= OCTETS;
  });

  app.put(
    '/devices/:name/content',
    {
      config: { access: 'content:write', kind: 'content', streamsBody: true },
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
            'overloaded',
            'shutting_down',
            'storage_full',
          ),
        },
      },
    },
    (request, reply) => {
      const { name } = request.params;
      authorize(request, [{ device: name, offset: 0, size: 0, write: true }]);
      const device = inventory.get(name);
      const { offset } = request.query;
      const length = bodyLength(request);
      // A body of unknown length may go on to the device's end.
      const size = length ?? Math.max(device.size - offset, 0);
      authorize(request, [{ device: name, offset, size, write: true }], () => '/offset');
      return receive(request, reply, { device, offset, length });
    },
  );

  /** Waits for the upload's turn, writes it, and lets those behind it go on, however it ends. */
  async function receive(request: FastifyRequest, reply: FastifyReply, target: UploadTarget) {
    const { device, offset } = target;
    const room = checkUpload(target);
    if (target.length === 0) return { bytes_written: 0, crc32c: crc32cText(0) };
    const client = request.client.name;
    queue.admit(client);
    if (awaitsContinue(request.raw)) reply.raw.writeContinue();

    // A file's pages are left to the kernel.
    if (!flushedByCpu(device)) unflushed.add(device);
    const range = { device: device.handle, offset, size: target.length ?? room };
    const left = clientLeft(reply, signal);
    const moved = (bytes: number) => observer.moved('upload', bytes);
    let written = 0;
    try {
      const result = await queue.inTurn(client, range, left, async (tearAfter) => {
        // Made now, for it holds buffers, and those that wait are many.
        const upload = new Upload(engine, target);
        try {
          const pace = (bytes: number) => queue.pace(client, bytes);
          await upload.receive(request.raw, { idleMs, signal, left, pace, moved });
        } catch (error) {
          if (upload.begun) tearAfter(upload.bytesWritten);
          throw error;
        } finally {
          written = upload.bytesWritten;
        }
        return { bytes_written: written, crc32c: crc32cText(upload.crc) };
      });
      // Also of one whose client left while it waited: its bytes were there already, and hid that.
      request.log.info({ device: device.name, offset, ...result }, 'upload written');
      observer.ended('upload', 'complete');
      return result;
    } catch (error) {
      request.log.warn(
        { err: error, device: device.name, bytes_written: written },
        'upload cut short',
      );
      const cutShort = request.raw.errored === error;
      const clientClosed = cutShort || (left.aborted && !signal.aborted);
      observer.ended('upload', clientClosed ? 'client_closed' : 'failed');
      if (!cutShort) throw error;
      throw new Problem('invalid_request', 'The body was cut short.');
    }
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
