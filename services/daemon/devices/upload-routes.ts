// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { crc32cText } from '../../base/crc32c.ts';
import { authorize } from '../../http/access/authorize.ts';
import { clientGone } from '../../http/client-gone.ts';
import {
  type ContentDigests,
  type DigestAlgorithm,
  readContentDigest,
} from '../../http/content-digest.ts';
import { bodyLength, OCTETS, octetsBody, takeOctets } from '../../http/octets.ts';
import { BodyPastNode } from '../../http/past-node.ts';
import { Problem, withMembers } from '../../http/problems/problem.ts';
import { problemResponses, problemResponsesWith } from '../../http/problems/schema.ts';
import { awaitsContinue, checkConditions } from '../../http/semantics.ts';
import type { Engine } from '../engines/engine.ts';
import type { WorkQueue } from '../order/work-queue.ts';
import { BodyHashes } from './body-hashes.ts';
import type { ContentStreams } from './content-streams.ts';
import { flushedByCpu, type Inventory } from './device.ts';
import { durabilityOf } from './durability.ts';
import {
  deviceParams,
  uploadProblemSchema,
  uploadQuerySchema,
  uploadResultSchema,
  WRITE_PROBLEMS,
} from './schema.ts';
import type { UnflushedDevices } from './unflushed.ts';
import { checkUpload, Upload, type UploadTarget } from './upload.ts';
import type { Written } from './written.ts';

export interface UploadRoutesOptions {
  engine: Engine;
  inventory: Inventory;
  queue: WorkQueue;
  streams: ContentStreams;
  unflushed: UnflushedDevices;
  /** An upload has written all of its body; called before anybody else may write there. */
  written(written: Written): void;
  /** How long an upload may send nothing, in milliseconds. */
  idleMs: number;
  /** From which size on the shim receives a body itself, past Node. */
  pastNodeFrom: number;
  /** Breaks off the uploads that wait or are under way, for its reason. */
  signal: AbortSignal;
}

export const uploadRoutes: FastifyPluginAsyncZod<UploadRoutesOptions> = async (app, options) => {
  const { engine, inventory, queue, unflushed, streams, idleMs, pastNodeFrom, signal } = options;
  const hashes = new BodyHashes();
  takeOctets(app, idleMs);

  app.put(
    '/devices/:name/content',
    {
      config: { access: 'content:write', kind: 'content', streamsBody: true },
      schema: {
        operationId: 'writeContent',
        summary: "Write a device's bytes",
        description:
          'Streams the body into the device, in order with transfers. What arrived of a body ' +
          'that was cut short, or does not match its `Content-Digest`, stays written: ' +
          '`bytes_written` in the problem says how much.',
        tags: ['devices'],
        consumes: [OCTETS],
        params: deviceParams,
        querystring: uploadQuerySchema,
        headers: z.object({
          'content-digest': z.string().optional().meta({
            description:
              'RFC 9530, with `sha-256` or `crc32c`: the body is compared with it as it arrives.',
          }),
        }),
        body: octetsBody,
        response: {
          200: uploadResultSchema.meta({ description: 'All of it is written.' }),
          ...problemResponses('not_found', 'unsupported_media_type'),
          ...problemResponsesWith(uploadProblemSchema, ...WRITE_PROBLEMS),
        },
      },
    },
    (request, reply) => {
      const { name } = request.params;
      authorize(request, [{ device: name, offset: 0, size: 0, write: true }]);
      const device = inventory.get(name);
      // By default a file's pages are left to the kernel, which outlives the daemon.
      const { offset, durability = flushedByCpu(device) ? 'flush' : 'none' } = request.query;
      const length = bodyLength(request);
      // A body of unknown length may go on to the device's end.
      const size = length ?? Math.max(device.size - offset, 0);
      authorize(request, [{ device: name, offset, size, write: true }], () => '/offset');
      return receive(request, reply, { device, offset, length, flush: durability === 'flush' });
    },
  );
  app.addHook('onClose', () => hashes.close());

  /** Writes the upload; what goes wrong says how much was written. */
  async function receive(request: FastifyRequest, reply: FastifyReply, target: UploadTarget) {
    const progress = { written: 0 };
    try {
      const digests = readContentDigest(request.headers);
      const room = checkUpload(target);
      checkConditions(request);
      if (target.length === 0) {
        checkDigests(digests, { crc: 0, sha256: createHash('sha256').digest() });
        return resultOf(target, { bytesWritten: 0, crc: 0 });
      }
      queue.admit(request.client.name);
      if (awaitsContinue(request.raw)) reply.raw.writeContinue();
      return await writeInTurn(request, reply, { ...target, room, digests, progress });
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      throw withMembers(error, { bytes_written: progress.written });
    }
  }

  /** Waits for the upload's turn, writes it, and lets those behind it go on, however it ends. */
  async function writeInTurn(
    request: FastifyRequest,
    reply: FastifyReply,
    { room, digests, progress, ...target }: AcceptedUpload,
  ) {
    const { device, offset } = target;
    const client = request.client.name;
    if (!target.flush) unflushed.add(device);
    const range = { device: device.handle, offset, size: target.length ?? room };
    const gone = clientGone(reply, signal);
    // Before the stream is listed: it throws if there is no thread to be had.
    const hash = digests['sha-256'] === undefined ? undefined : hashes.begin();
    const stream = streams.open({
      ...{ direction: 'upload', device: device.name, offset, size: range.size },
      ...{ client, requestId: request.id },
    });
    const moved = (bytes: number) => stream.moved(bytes);
    try {
      const work = { kind: 'upload', client } as const;
      const result = await queue.inTurn(work, range, gone, async ({ begin, tearAfter }) => {
        stream.start();
        // Made now, for it holds buffers, and those that wait are many.
        const upload = new Upload(engine, target, begin);
        try {
          const pace = (bytes: number) => queue.pace(client, bytes);
          // What is hashed has to come by.
          const past =
            hash === undefined
              ? BodyPastNode.of(request.raw, target.length, pastNodeFrom)
              : undefined;
          await upload.receive(request.raw, { idleMs, signal, gone, pace, moved, hash, past });
        } catch (error) {
          if (upload.leftUnflushed) unflushed.add(device);
          if (upload.begun) tearAfter(upload.bytesWritten);
          throw error;
        } finally {
          progress.written = upload.bytesWritten;
        }
        const sha256 = await hash?.hash(Buffer.alloc(0), true);
        checkDigests(digests, { crc: upload.crc, sha256: sha256 && Buffer.from(sha256) });
        const ranges = [{ offset, size: upload.bytesWritten }];
        options.written({ device, ranges, flush: target.flush });
        return resultOf(target, upload);
      });
      // Also of one whose client left while it waited: its bytes were there already, and hid that.
      request.log.info({ device: device.name, offset, ...result }, 'upload written');
      stream.end('complete');
      return result;
    } catch (error) {
      hash?.discard();
      request.log.warn(
        { err: error, device: device.name, bytes_written: progress.written },
        'upload cut short',
      );
      const cutShort = request.raw.errored === error;
      // A body that ends early is an error of the parser's if the connection is only half closed.
      const unreadable = error instanceof Problem && error.code === 'invalid_request';
      const clientClosed = cutShort || unreadable || (gone.aborted && !signal.aborted);
      stream.end(clientClosed ? 'client_closed' : 'failed');
      if (!cutShort) throw error;
      throw new Problem('invalid_request', 'The body was cut short.');
    }
  }
};

/** An upload that may be written. */
interface AcceptedUpload extends UploadTarget {
  /** How many bytes may be written. */
  room: number;
  digests: ContentDigests;
  progress: { written: number };
}

function resultOf(
  { device, flush }: UploadTarget,
  { bytesWritten, crc }: Pick<Upload, 'bytesWritten' | 'crc'>,
) {
  return {
    bytes_written: bytesWritten,
    crc32c: crc32cText(crc),
    durability: durabilityOf(device, flush, true),
  };
}

/** @throws Problem digest_mismatch */
function checkDigests(
  expected: ContentDigests,
  { crc, sha256 }: { crc: number; sha256: Buffer | undefined },
): void {
  const crc32c = Buffer.alloc(4);
  crc32c.writeUInt32BE(crc);
  const actual = { 'sha-256': sha256, crc32c };
  for (const [algorithm, digest] of Object.entries(expected)) {
    const found = actual[algorithm as DigestAlgorithm];
    if (found?.equals(digest)) continue;
    const detail =
      `The body that arrived has the ${algorithm} :${found?.toString('base64')}:, not the one in ` +
      'Content-Digest. It is written: send it again.';
    throw new Problem('digest_mismatch', detail);
  }
}
