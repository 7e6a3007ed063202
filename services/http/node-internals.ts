// SPDX-License-Identifier: Apache-2.0
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import type { Server as HttpServer } from 'node:http';
import { connect, createServer, type Socket } from 'node:net';
import { StartError } from '../base/start-error.ts';

/** What Node has no public name for. Under TLS only the connection below knows. */
interface Handle {
  fd: number;
  writeQueueSize: number;
  /** Kept by http's server for a connection that its parser reads, and by net for all others. */
  reading?: boolean;
  readStop?(): number;
  _parent?: Handle;
}

/** Of a connection to an HTTP server. Callbacks have the numbers that its constructor names. */
interface Parser {
  constructor: { kOnBody?: number };
  execute(bytes: Buffer): number | Error;
  [callback: number]: unknown;
}

/** What the parser is given in place of a body: it looks at none of it. */
const NOTHING = Buffer.alloc(2 ** 20);

/**
 * Has a server answer requests whose client has closed its side of the connection since; a Node without this
 * closes the other side at once.
 */
export function allowHalfOpen(server: HttpServer): void {
  Object.assign(server, { httpAllowHalfOpen: true });
}

/** The descriptor of a connection that is open; -1 once it is not. */
export function descriptorOf(socket: Socket): number {
  return handleOf(socket)?.fd ?? -1;
}

/** How many bytes of the write that is under way the kernel has not taken. */
export function writeQueueOf(socket: Socket): number {
  const handle = handleOf(socket);
  return (handle?._parent ?? handle)?.writeQueueSize ?? 0;
}

/** Whether Node reads a connection to an HTTP server now; undefined if that cannot be known. */
export function isReading(socket: Socket): boolean | undefined {
  return handleOf(socket)?.reading;
}

/** Whether {@link skipBody} can do what it promises. */
export function canSkipBody(socket: Socket): boolean {
  const parser = parserOf(socket);
  const callback = parser?.constructor.kOnBody;
  return typeof parser?.execute === 'function' && typeof callback === 'number';
}

/**
 * Has the parser of a connection count bytes of a body that somebody else has read, so that it is in
 * step with what comes behind them. Nothing if the connection is closed.
 *
 * @param bytes at most what is left of the body
 * @throws Error if they are not a part of a body
 */
export function skipBody(socket: Socket, bytes: number): void {
  skip(socket, bytes, (parser, nothing) => {
    const taken = parser.execute(nothing);
    if (taken instanceof Error) throw taken;
  });
}

/**
 * The same for the answer to a request of this process. http's client does more with what it reads than its
 * parser: it sees to the end of an answer, and destroys a connection that sends no HTTP.
 */
export function skipAnswer(socket: Socket, bytes: number): void {
  skip(socket, bytes, (_parser, nothing) => void socket.emit('data', nothing));
}

function skip(socket: Socket, bytes: number, feed: (parser: Parser, nothing: Buffer) => void) {
  const parser = parserOf(socket);
  const callback = parser?.constructor.kOnBody;
  if (parser === undefined || callback === undefined) return;
  // Without it, none of the bytes is copied, or handed on.
  const onBody = parser[callback];
  parser[callback] = null;
  try {
    for (let left = bytes; left > 0; left -= NOTHING.length) {
      feed(parser, left < NOTHING.length ? NOTHING.subarray(0, left) : NOTHING);
    }
  } finally {
    parser[callback] = onBody;
  }
}

/**
 * Has Node stop reading a connection of http's client at once, until {@link startReading}.
 *
 * @returns whether it has stopped
 */
export function stopReading(socket: Socket): boolean {
  const handle = handleOf(socket);
  if (typeof handle?.readStop !== 'function') return false;
  // Else it goes on as soon as what it has read is dealt with.
  socket._read = () => {};
  handle.reading = false;
  return handle.readStop() === 0;
}

export function startReading(socket: Socket): void {
  Reflect.deleteProperty(socket, '_read');
  if (!socket.destroyed) socket._read(0);
}

/**
 * Sees that this Node has what the two above read: without it, stalled clients would go unnoticed.
 *
 * @throws StartError configuration
 */
export async function checkNodeInternals(): Promise<void> {
  const server = createServer();
  // In the kernel's abstract namespace: no file, no port.
  const path = `\0dmad-${randomUUID()}`;
  server.listen(path);
  await once(server, 'listening');
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const client = connect(path);
  const [socket] = await accepted;
  const missing = missingIn(handleOf(socket));
  client.destroy();
  socket.destroy();
  server.close();
  if (missing === undefined) return;
  const detail = `this Node.js (${process.version}) lacks ${missing} of a socket's handle: use 20, 22 or 24`;
  throw new StartError('configuration', detail);
}

/** The first thing that is not there. */
export function missingIn(handle: Partial<Handle> | undefined): string | undefined {
  return (['fd', 'writeQueueSize'] as const).find((name) => typeof handle?.[name] !== 'number');
}

function parserOf(socket: Socket): Parser | undefined {
  return (socket as unknown as { parser?: Parser | null }).parser ?? undefined;
}

function handleOf(socket: Socket): Handle | undefined {
  return (socket as unknown as { _handle?: Handle | null })._handle ?? undefined;
}
