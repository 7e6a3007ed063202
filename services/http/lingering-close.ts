// SPDX-License-Identifier: Apache-2.0
import { type IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex, Readable } from 'node:stream';

/**
 * How long, and how much, a client may go on sending after its answer. Most clients read the answer
 * only once they have sent everything; a client that never stops is cut off.
 */
const MAX_MS = 30_000;
const MAX_IDLE_MS = 2000;
const MAX_BYTES = 2 ** 28;
const CHECK_MS = 100;
/** The rest of a refused request's body is read up to this size, so that its connection can stay open. */
const MAX_KEPT_BYTES = 2 ** 20;

/**
 * Waits until a stream that is being discarded has ended, its connection is closed, or a limit is
 * reached.
 *
 * @param done is called once
 */
export function lingerUntil(stream: Readable, connection: Duplex, done: () => void): void {
  const socket = connection as Socket;
  const since = performance.now();
  const before = socket.bytesRead;
  let read = before;
  let readAt = since;
  const finish = () => {
    clearInterval(timer);
    stream.off('end', finish).off('close', finish);
    socket.off('close', finish);
    done();
  };
  const timer = setInterval(() => {
    const now = performance.now();
    if (socket.bytesRead !== read) readAt = now;
    read = socket.bytesRead;
    const exceeded = read - before > MAX_BYTES;
    if (exceeded || now - readAt > MAX_IDLE_MS || now - since > MAX_MS) finish();
  }, CHECK_MS);
  stream.on('end', finish).on('close', finish);
  socket.on('close', finish);
}

/** Event of a {@link LingeringResponse}: the answer is sent, while its request is still being read. */
export const ANSWERED = 'answered';

/** An answer that may be sent before all of its request was read. */
export class LingeringResponse<
  Request extends IncomingMessage = IncomingMessage,
> extends ServerResponse<Request> {
  /**
   * Sends the answer at once, and then reads what is left of the request before it ends: Node would
   * close the connection with bytes unread, which resets it and takes the answer along, or read for
   * as long as the client likes.
   */
  // biome-ignore lint/suspicious/noExplicitAny: Node has three signatures of it
  override end(...args: any[]): this {
    const [body, encoding, callback] = args;
    const isSent =
      this.req.method !== 'HEAD' && (typeof body === 'string' || Buffer.isBuffer(body));
    if (!isSent || body.length === 0 || isRead(this.req) || this.socket === null) {
      return super.end(body, encoding, callback);
    }
    const { req, socket } = this;
    this.write(body, encoding ?? 'utf8', (error) => {
      if (!error) this.emit(ANSWERED);
    });
    req.resume();
    lingerUntil(req, socket, () => {
      super.end(callback);
      if (!req.complete) socket.destroySoon();
    });
    return this;
  }
}

/** Whether the connection can carry another request: this one was read to its end, or soon will be. */
export function staysReadable(request: IncomingMessage): boolean {
  return isRead(request) || Number(request.headers['content-length']) <= MAX_KEPT_BYTES;
}

/** Whether the request was read to its end. */
function isRead({ complete, headers }: IncomingMessage): boolean {
  if (complete) return true;
  return headers['transfer-encoding'] === undefined && !Number(headers['content-length']);
}
