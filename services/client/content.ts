// SPDX-License-Identifier: Apache-2.0
import { chunksOf } from './answer.ts';
import { devicePath } from './device-name.ts';
import { DmadError, unreachable } from './error.ts';
import { Abort, sleep } from './time.ts';
import {
  type CallOptions,
  deadlineExceeded,
  type HttpRequest,
  type RequestBody,
  Retries,
  type Transport,
} from './transport.ts';
import type { Range, UploadResult } from './types.ts';

/** Hears how far an upload or a download has come. */
export type OnProgress = (bytes: number) => void;

/**
 * What an upload sends. Bytes, a Blob and a function can be sent again after a lost connection; an
 * iterable is gone once it was read, so a failure is final.
 */
export type UploadBody =
  | Uint8Array<ArrayBuffer>
  | Blob
  | AsyncIterable<Uint8Array>
  | (() => AsyncIterable<Uint8Array>);

export interface UploadOptions extends CallOptions {
  /** Where in the device the body goes. */
  offset?: number;
  /** How many bytes an iterable has, if that is known: without it nobody else may write behind it. */
  size?: number | undefined;
  /** Whether it must be as persistent as the device can be before it is answered. */
  durability?: 'flush' | 'none' | undefined;
  /** Compared by the daemon with what arrived. */
  digest?: { 'sha-256'?: Uint8Array; crc32c?: Uint8Array };
  onProgress?: OnProgress | undefined;
}

export interface DownloadOptions extends CallOptions, Partial<Range> {
  onProgress?: OnProgress | undefined;
}

export interface Download {
  /** How many bytes it has. */
  size: number;
  /** The bytes. A lost connection is resumed where it was lost. */
  stream: ReadableStream<Uint8Array>;
}

const OCTETS = 'application/octet-stream';
const DIGEST_SIZE = 32;

export function upload(
  transport: Transport,
  device: string,
  body: UploadBody,
  { offset = 0, size, durability, digest, onProgress, ...options }: UploadOptions,
): Promise<UploadResult> {
  const length = body instanceof Uint8Array ? body.length : body instanceof Blob ? body.size : size;
  const headers: Record<string, string> = { 'content-type': OCTETS };
  if (length !== undefined) headers['content-length'] = String(length);
  if (digest !== undefined) headers['content-digest'] = contentDigest(digest);
  const request: HttpRequest = {
    method: 'PUT',
    path: `${devicePath(device)}/content`,
    query: { offset, durability },
    headers,
    body: () => requestBody(body, onProgress),
    retry: isRepeatable(body) ? 'after_loss' : 'never',
  };
  return transport.call(request, options, async (response) => {
    return (await response.json()) as UploadResult;
  });
}

function isRepeatable(body: UploadBody): boolean {
  return typeof body === 'function' || body instanceof Uint8Array || body instanceof Blob;
}

function requestBody(body: UploadBody, onProgress: OnProgress | undefined): RequestBody {
  if (body instanceof Uint8Array || (body instanceof Blob && onProgress === undefined)) {
    return body;
  }
  if (body instanceof Blob) return counted(body.stream(), onProgress);
  return counted(typeof body === 'function' ? body() : body, onProgress);
}

function counted(
  source: AsyncIterable<Uint8Array>,
  onProgress: OnProgress = () => {},
): ReadableStream<Uint8Array> {
  let bytes = 0;
  return streamOf(
    (async function* () {
      for await (const chunk of source) {
        yield chunk;
        // Once the next one is asked for, it has gone out.
        bytes += chunk.length;
        onProgress(bytes);
      }
    })(),
  );
}

function contentDigest(digest: NonNullable<UploadOptions['digest']>): string {
  return Object.entries(digest)
    .map(([name, value]) => `${name}=:${btoa(String.fromCharCode(...value))}:`)
    .join(', ');
}

/** Begins a download. @returns once the daemon has begun to answer */
export async function download(
  transport: Transport,
  device: string,
  options: DownloadOptions,
): Promise<Download> {
  const path = `${devicePath(device)}/content`;
  const { offset = 0, size, onProgress = () => {} } = options;
  const chunks = resumedBytes(transport, options, (done) => {
    const first = offset + done;
    const last = size === undefined ? '' : offset + size - 1;
    const check = (response: Response) => checkRange(response, first);
    const range = `bytes=${first}-${last}`;
    return { path, headers: { range }, expected: [206], retry: 'never', check };
  });
  // The first chunk tells the size, or the problem.
  const first = await chunks.next();
  const total = first.done ? 0 : first.value.total;
  if (size !== undefined && total < size) {
    await chunks.return(undefined);
    const message = `${device} has ${total} bytes from offset ${offset} on, not ${size}`;
    throw new DmadError({ code: 'out_of_range', status: 422, message });
  }
  if (size !== undefined && total > size) {
    await chunks.return(undefined);
    const message = `${device}: the answer has ${total} bytes, where ${size} were asked for`;
    throw new DmadError({ code: 'unexpected_answer', message });
  }
  return { size: total, stream: streamOf(reported(first, chunks, onProgress), chunks) };
}

/** @throws DmadError if an answer is not of the bytes from `first` on */
function checkRange({ url, status, headers }: Response, first: number): void {
  const range = headers.get('content-range');
  const from = /^bytes (\d+)-/.exec(range ?? '')?.[1] ?? (status === 200 ? '0' : undefined);
  if (from === String(first)) return;
  const message = `${url} answered with other bytes than from ${first} on: ${status} ${range}`;
  throw new DmadError({ code: 'unexpected_answer', status, message });
}

async function* reported(
  first: IteratorResult<Chunk>,
  chunks: AsyncGenerator<Chunk>,
  onProgress: OnProgress,
): AsyncGenerator<Uint8Array> {
  let received = 0;
  try {
    for (let next = first; !next.done; next = await chunks.next()) {
      received += next.value.bytes.length;
      onProgress(received);
      yield next.value.bytes;
    }
  } finally {
    await chunks.return(undefined);
  }
}

export interface DigestOptions extends CallOptions, Partial<Range> {
  /** A power of two, 4 KiB to 1 GiB; 1 MiB if absent. */
  blockSize?: number;
}

/** The SHA-256 of each block, one after the other, from where a lost connection was lost too. */
export async function* blockDigests(
  transport: Transport,
  device: string,
  { offset = 0, size, blockSize = 2 ** 20, ...options }: DigestOptions,
): AsyncGenerator<Uint8Array> {
  const path = `${devicePath(device)}/digests`;
  let rest = new Uint8Array();
  const chunks = resumedBytes(transport, options, (done) => {
    const skipped = Math.floor(done / DIGEST_SIZE);
    rest = new Uint8Array();
    const from = offset + skipped * blockSize;
    const query = {
      ...{ offset: from, block_size: blockSize },
      size: size === undefined ? undefined : offset + size - from,
    };
    const check = (response: Response) => {
      const expected = DIGEST_SIZE * Math.ceil(Number(query.size) / blockSize);
      if (query.size === undefined || lengthOf(response) === expected) return;
      const message = `${path}: the answer has ${lengthOf(response)} bytes of digests, not ${expected}`;
      throw new DmadError({ code: 'unexpected_answer', status: response.status, message });
    };
    return { path, query, headers: { accept: OCTETS }, retry: 'never', unit: DIGEST_SIZE, check };
  });
  for await (const { bytes } of chunks) {
    const joined = new Uint8Array(rest.length + bytes.length);
    joined.set(rest);
    joined.set(bytes, rest.length);
    const whole = joined.length - (joined.length % DIGEST_SIZE);
    for (let at = 0; at < whole; at += DIGEST_SIZE) yield joined.slice(at, at + DIGEST_SIZE);
    rest = joined.slice(whole);
  }
}

interface ResumableRequest extends HttpRequest {
  unit?: number;
  check?: (response: Response) => void;
}

interface Chunk {
  bytes: Uint8Array;
  /** Of the whole answer. */
  total: number;
}

/**
 * The bytes of an answer whose connection may be lost in the middle.
 *
 * @param requestFrom makes the request for all but the first so many bytes; `unit`: how many of
 *   them come together, so that what has come of an incomplete one comes again; `check` throws if an
 *   answer is another one than was asked for
 */
async function* resumedBytes(
  transport: Transport,
  { signal, retryForMs = transport.retryForMs, deadlineMs = Number.POSITIVE_INFINITY }: CallOptions,
  requestFrom: (done: number) => ResumableRequest,
): AsyncGenerator<Chunk> {
  const abort = new Abort(signal);
  abort.abortAfter(deadlineMs, () => deadlineExceeded('the download', deadlineMs, retries.last));
  const retries = new Retries('after_loss', retryForMs);
  let done = 0;
  let total: number | undefined;
  try {
    while (total === undefined || done < total) {
      const { unit = 1, check, ...request } = requestFrom(done);
      done -= done % unit;
      try {
        const answer = await transport.once(request, abort.signal, async (response) => response);
        check?.(answer);
        total ??= lengthOf(answer);
        for await (const bytes of received(answer)) {
          retries.reset();
          done += bytes.length;
          yield { bytes, total };
        }
        if (done < total) throw unreachable(request.path, 'the answer was cut short');
        if (total === 0) return;
      } catch (error) {
        if (abort.signal.aborted) throw abort.signal.reason;
        await sleep(retries.delayAfter(error), abort.signal);
      }
    }
  } finally {
    abort.abort(new DOMException('The download is no longer read', 'AbortError'));
    abort.done();
  }
}

/** A body, piece by piece. @throws DmadError unreachable */
async function* received(answer: Response): AsyncGenerator<Uint8Array> {
  try {
    yield* chunksOf(answer);
  } catch (error) {
    throw unreachable(answer.url, error);
  }
}

function lengthOf({ url, status, headers }: Response): number {
  const length = headers.get('content-length');
  if (length !== null) return Number(length);
  // Were it cut short, that could not be told.
  const message = `${url} answered without a Content-Length`;
  throw new DmadError({ code: 'unexpected_answer', status, message });
}

/**
 * ReadableStream.from(), which not every browser has.
 *
 * @param source what the chunks come from, if it has begun: a generator that has not does not end it
 */
function streamOf(
  chunks: AsyncGenerator<Uint8Array>,
  source?: AsyncGenerator<unknown>,
): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await chunks.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      async cancel() {
        await chunks.return(undefined);
        await source?.return(undefined);
      },
    },
    // Nothing is read before somebody asks for it.
    { highWaterMark: 0 },
  );
}
