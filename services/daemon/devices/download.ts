// SPDX-License-Identifier: Apache-2.0
import type { FastifyReply, FastifyRequest } from 'fastify';
import { authorize } from '../../http/access/authorize.ts';
import { findRange, rangeAsked, readRange } from '../../http/content-range.ts';
import { OCTETS } from '../../http/octets.ts';
import { connectionPastNode } from '../../http/past-node.ts';
import type { Engine } from '../engines/engine.ts';
import type { ContentStreams } from './content-streams.ts';
import { checkBadBlocks, checkOnline, type Device } from './device.ts';
import { ClientGone, DownloadBody } from './download-body.ts';
import type { Pace } from './throttle.ts';

export interface DownloadOptions {
  pace: Pace;
  /** Ends throttling: the client went away. */
  gone: AbortSignal;
  streams: ContentStreams;
  /** The value of Repr-Digest, if the client wants it; to be asked for once it may have the bytes. */
  reprDigest(): Promise<string | undefined>;
  /** From which size on a body is sent past Node. */
  pastNodeFrom: number;
}

/**
 * Answers with a device's bytes, or the range of them that was asked for.
 *
 * @throws Problem as long as nothing was sent; later errors break the connection off, so that a
 *   client does not take a part for the whole
 */
export async function download(
  engine: Engine,
  device: Device,
  request: FastifyRequest,
  reply: FastifyReply,
  { pace, gone, streams, reprDigest, pastNodeFrom }: DownloadOptions,
): Promise<void> {
  const isHead = request.method === 'HEAD';
  const header = rangeAsked(request.headers);
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
  const end = offset + size;
  const socket = connectionPastNode(request.raw, size, pastNodeFrom);
  const body = new DownloadBody(offset, { engine, device, end, pace, gone, socket });
  // Before the header, so that a device that cannot be read is a problem and not a broken body.
  const first = isHead ? undefined : await body.first();
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
    if (first !== undefined) await body.send(raw, first, (bytes) => stream.moved(bytes));
    raw.end();
    stream.end('complete');
  } catch (error) {
    const clientGone = gone.aborted || error instanceof ClientGone;
    stream.end(clientGone ? 'client_closed' : 'failed');
    request.log.warn({ err: error, device: device.name }, 'download broken off');
    // Of an error of the daemon's, so that it is not taken for the client's.
    raw.destroy(clientGone ? undefined : (error as Error));
  }
}
