// SPDX-License-Identifier: Apache-2.0
import { unreachable } from './error.ts';
import { Abort, sleep } from './time.ts';
import { type CallOptions, type Query, Retries, type Transport } from './transport.ts';

/** A server-sent event. */
export interface ServerEvent {
  event: string;
  data: string;
  id: string | undefined;
}

/** The daemon sends something every 15 s; a connection that is silent for longer is lost. */
const SILENCE_MS = 45_000;
const NO_CONTENT = 204;

/**
 * A stream of server-sent events that goes on after a lost connection, from the last event if the
 * daemon still has it; `lastEventId` is that of an earlier stream. It ends if the daemon says that there is no more (204).
 *
 * @throws DmadError once it could not be resumed for `retryForMs`
 */
export async function* resumedEvents(
  transport: Transport,
  path: string,
  query: Query | undefined,
  {
    signal,
    retryForMs = transport.retryForMs,
    lastEventId,
  }: CallOptions & { lastEventId?: string | undefined },
): AsyncGenerator<ServerEvent> {
  const retries = new Retries('after_loss', retryForMs);
  let lastId = lastEventId;
  for (;;) {
    try {
      const headers: Record<string, string> = { accept: 'text/event-stream' };
      if (lastId !== undefined) headers['last-event-id'] = lastId;
      for await (const event of connect(transport, path, query, headers, signal)) {
        retries.reset();
        lastId = event.id ?? lastId;
        yield event;
      }
      return;
    } catch (error) {
      signal?.throwIfAborted();
      await sleep(retries.delayAfter(error), signal);
    }
  }
}

/** One connection. It returns after a 204. @throws DmadError however else it ends */
async function* connect(
  transport: Transport,
  path: string,
  query: Query | undefined,
  headers: Record<string, string>,
  signal: AbortSignal | undefined,
): AsyncGenerator<ServerEvent> {
  const abort = new Abort(signal);
  const watchSilence = () => abort.abortAfter(SILENCE_MS, () => silent);
  const silent = unreachable(path, `no event and no heartbeat for ${SILENCE_MS / 1000} s`);
  try {
    watchSilence();
    const request = { path, query, headers, expected: [NO_CONTENT], retry: 'never' as const };
    const response = await transport.once(request, abort.signal, async (answer) => answer);
    if (response.status === NO_CONTENT) return;
    const parser = new EventParser();
    for await (const chunk of chunksOf(response, abort.signal)) {
      watchSilence();
      yield* parser.push(chunk);
    }
    throw unreachable(path, 'the stream of events ended');
  } finally {
    // Also if the caller has had enough: the connection is given up.
    abort.abort(new DOMException('The stream is no longer read', 'AbortError'));
    abort.done();
  }
}

/** A body, piece by piece. @throws DmadError `unreachable`, or the reason the signal aborts with */
export async function* chunksOf(
  response: Response,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader();
  try {
    for (;;) {
      const { done, value } = (await reader?.read()) ?? { done: true };
      if (done || value === undefined) return;
      yield value;
    }
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw unreachable(response.url, error);
  } finally {
    reader?.releaseLock();
  }
}

/** Reads the format of server-sent events (WHATWG HTML, 9.2.6). */
export class EventParser {
  readonly #decoder = new TextDecoder();
  #rest = '';
  #event = '';
  #data: string[] = [];
  #id: string | undefined;

  *push(chunk: Uint8Array): Generator<ServerEvent> {
    const lines = (this.#rest + this.#decoder.decode(chunk, { stream: true })).split(
      /\r\n|\n|\r(?!$)/,
    );
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line !== '') this.#field(line);
      else if (this.#data.length > 0) yield this.#take();
      else this.#event = '';
    }
  }

  #field(line: string): void {
    const colon = line.indexOf(':');
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (name === 'event') this.#event = value;
    else if (name === 'data') this.#data.push(value);
    else if (name === 'id' && !value.includes('\0')) this.#id = value;
  }

  #take(): ServerEvent {
    const event = { event: this.#event || 'message', data: this.#data.join('\n'), id: this.#id };
    this.#event = '';
    this.#data = [];
    return event;
  }
}
