// SPDX-License-Identifier: Apache-2.0
import type { ServerResponse } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { authorize } from '../../http/access/authorize.ts';
import { findRange, readRange } from '../../http/content-range.ts';
import { OCTETS } from '../../http/octets.ts';
import { CHUNK_SIZE, chunkBuffers } from '../../http/stream-slots.ts';
import type { Engine } from '../engines/engine.ts';
import { jobProblem } from '../engines/failure.ts';
import { MEMORY } from '../engines/records.ts';
import type { ContentStreams } from './content-streams.ts';
import { checkBadBlocks, checkOnline, type Device } from './device.ts';
import { type Pace, throttle } from './throttle.ts';

export interface DownloadOptions {
  pace: Pace;
  /** Ends throttling: the client went away. */
  left: AbortSignal;
  streams: ContentStreams;
  /** The value of Repr-Digest, if the client wants it; to be asked for once it may have the bytes. */
  reprDigest(): Promise<string | undefined>;
}

/**
 * Answers with a device's bytes, or the range of them that was asked for, through two buffers.
 *
 * @throws Problem as long as nothing was sent; later errors break the connection off, so that a
 *   client does not take a part for the whole
 */
export async function download(
  engine: Engine,
  device: Device,
  request: FastifyRequest,
  reply: FastifyReply,
  { pace, left, streams, reprDigest }: DownloadOptions,
): Promise<void> {
  const isHead = request.method === 'HEAD';
  // There are no validators, so no If-Range can hold (RFC 9110, 13.1.5).
  const header = request.headers['if-range'] === undefined ? request.headers.range : undefined;
  // Range is for GET (14.2); HEAD with one needs access to those bytes, and tells of the whole.
  const range = isHead ? undefined : readRange(header, device.size);
  const whole = { offset: 0, size: device.size };
  const { offset, size } = range ?? whole;
  const named = isHead ? findRange(header, device.size) : range;
  const needed = named === undefined || named === 'outside' ? whole : named;
  authorize(request, [{ device: device.name, ...needed, write: false }]);
  checkBadBlocks({ device, offset, size, offsetPointer: '', sizePointer: '' });
  checkOnline(device);

  const digest = await reprDigest();
  const buffers = chunkBuffers();
  const end = offset + size;
  // Before the header, so that a device that cannot be read is a problem and not a broken body.
  let chunk = isHead ? undefined : await read(engine, device, buffers[0], offset, end);
  const { raw } = reply.hijack();
  raw.writeHead(range === undefined ? 200 : 206, {
    ...(reply.getHeaders() as Record<string, string>),
    'content-type': OCTETS,
    'content-length': size,
    'accept-ranges': 'bytes',
    ...(digest !== undefined && { 'repr-digest': digest }),
    ...(range && { 'content-range': `bytes ${offset}-${end - 1}/${device.size}` }),
  });
  const stream = streams.open({
    ...{ direction: 'download', device: device.name, offset, size },
    ...{ client: request.client.name, requestId: request.id },
  });
  stream.start();
  try {
    for (let at = offset, turn = 1; chunk !== undefined; turn ^= 1) {
      at += chunk.length;
      const throttled = throttle(pace, chunk.length, left);
      const next = at < end ? read(engine, device, buffers[turn] as Buffer, at, end) : undefined;
      // Both are waited for whatever becomes of one: the engine may still write to the buffer.
      const [written, following] = await Promise.allSettled([writeChunk(raw, chunk), next]);
      if (written.status === 'rejected') throw written.reason;
      stream.moved(chunk.length);
      if (following.status === 'rejected') throw following.reason;
      await throttled;
      chunk = following.value;
    }
    raw.end();
    stream.end('complete');
  } catch (error) {
    stream.end(left.aborted ? 'client_closed' : 'failed');
    request.log.warn({ err: error, device: device.name }, 'download broken off');
    // Of an error of the daemon's, so that it is not taken for the client's.
    raw.destroy(left.aborted ? undefined : (error as Error));
  }
}

async function read(
  engine: Engine,
  device: Device,
  buffer: Buffer,
  offset: number,
  end: number,
): Promise<Buffer> {
  const size = Math.min(CHUNK_SIZE, end - offset);
  const memory = buffer.subarray(0, size);
  const completion = await engine.run({
    source: device.handle,
    destination: MEMORY,
    engine: 'cpu',
    priority: 'normal',
    segments: [{ src_offset: offset, dst_offset: 0, size }],
    memory,
  });
  if (completion.status !== 0) throw jobProblem(completion, device.name);
  return memory;
}

/** Resolves once the kernel has the bytes, so that the buffer can be used again. */
export function writeChunk(raw: ServerResponse, chunk: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    // The callback alone is not enough: it never comes if an answer waits behind another one
    // on a connection that closes.
    const onClose = () => reject(new Error('the client went away, or read nothing for too long'));
    raw.once('close', onClose);
    raw.write(chunk, (error) => {
      raw.removeListener('close', onClose);
      if (error) reject(error);
      else resolve();
    });
  });
}
