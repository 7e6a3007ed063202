// SPDX-License-Identifier: Apache-2.0
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { isClosed } from './client-gone.ts';
import { retryLater } from './problems/problem.ts';

export const EVENT_STREAM = 'text/event-stream';
/** What routes of event streams read of a request's header. */
export const lastEventIdSchema = z.object({
  'last-event-id': z.string().optional().meta({
    description: 'The id of the last event that was received, as an EventSource sends it.',
  }),
});

/** Proxies and clients give up on a silent connection; a comment now and then keeps it. */
const HEARTBEAT_MS = 15_000;
/** How soon an EventSource that lost its connection shall come back. */
const RETRY_MS = 3000;
/** What a client that does not read may have waiting, in bytes, before it is cut off. */
const MAX_BACKLOG = 2 ** 20;
/** With so much waiting, what can wait does, in bytes. */
const FULL_BACKLOG = 2 ** 18;
const MAX_STREAMS = 2048;

/** Server-sent events to one client, which ends with the client, the caller or the daemon. */
export class EventStream {
  /** Whose it is, by name. */
  readonly client: string;
  readonly #reply: FastifyReply;
  readonly #heartbeat: NodeJS.Timeout;

  /** @param onClose is called once, however it ends */
  constructor(request: FastifyRequest, reply: FastifyReply, onClose: () => void) {
    const streams = request.server.eventStreams;
    const { name } = request.client;
    // One that watches nothing yet may, though others watch a lot.
    if (streams.size >= MAX_STREAMS && [...streams].some(({ client }) => client === name)) {
      throw retryLater('queue_full', `${MAX_STREAMS} streams are open already: retry later.`);
    }
    this.client = name;
    this.#reply = reply.hijack();
    reply.raw.writeHead(200, {
      ...(reply.getHeaders() as Record<string, string>),
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      // nginx would keep events back until it has 4 KiB of them.
      'x-accel-buffering': 'no',
      // A stream's connection is not used again, so that it does not hold up a shutdown.
      connection: 'close',
    });
    this.#heartbeat = setInterval(() => this.#write(': still here\n\n'), HEARTBEAT_MS);
    streams.add(this);
    reply.raw.once('close', () => {
      clearInterval(this.#heartbeat);
      streams.delete(this);
      onClose();
    });
    if (request.method === 'HEAD') this.end();
    // Some proxies send no header on before the first bytes of the body.
    else this.#write(`: events follow\nretry: ${RETRY_MS}\n\n`);
  }

  /** Whether nothing can be sent any more. */
  get ended(): boolean {
    return this.#reply.raw.writableEnded || isClosed(this.#reply.raw);
  }

  /** Sends an event that the client must not miss. */
  send(text: string | Buffer): void {
    if (this.#backlog > MAX_BACKLOG) this.#reply.raw.destroy();
    else this.#write(text);
  }

  /** Whether the client has taken all that was sent. */
  get idle(): boolean {
    return this.#backlog === 0;
  }

  /** Whether so much is waiting that the client should first take some of it: see {@link drained}. */
  get full(): boolean {
    return this.#backlog > FULL_BACKLOG;
  }

  /** Sends an event that a later one makes up for: left out while the client is slow to read. */
  sendIfIdle(text: () => string): void {
    if (this.idle) this.#write(text());
  }

  /** @returns once the client has taken what was sent, or nothing can be sent any more */
  async drained(): Promise<void> {
    const { raw } = this.#reply;
    if (this.ended || !raw.writableNeedDrain) return;
    await new Promise<void>((resolve) => {
      const settle = () => {
        raw.off('drain', settle);
        raw.off('close', settle);
        resolve();
      };
      raw.on('drain', settle);
      raw.on('close', settle);
    });
  }

  end(): void {
    this.#reply.raw.end();
  }

  get #backlog(): number {
    return this.#reply.raw.writableLength;
  }

  #write(text: string | Buffer): void {
    if (!this.#reply.raw.writableEnded) this.#reply.raw.write(text);
  }
}

declare module 'fastify' {
  interface FastifyInstance {
    /** Those that are open, to be ended at shutdown. */
    eventStreams: Set<EventStream>;
  }
}
