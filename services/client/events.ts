// SPDX-License-Identifier: Apache-2.0
import { DmadError, unreachable } from './error.ts';
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
 * Server-sent events, those that come together at a time. The stream goes on after a lost connection, from the last event if the
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
): AsyncGenerator<ServerEvent[]> {
  const retries = new Retries('after_loss', retryForMs);
  let lastId = lastEventId;
  for (;;) {
    try {
      const headers: Record<string, string> = { accept: 'text/event-stream' };
      if (lastId !== undefined) headers['last-event-id'] = lastId;
      for await (const events of connect(transport, path, query, headers, signal)) {
        retries.reset();
        lastId = events.at(-1)?.id ?? lastId;
        yield events;
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
): AsyncGenerator<ServerEvent[]> {
  const abort = new Abort(signal);
  const watchSilence = () => abort.abortAfter(SILENCE_MS, () => silent);
  const silent = unreachable(path, `no event and no heartbeat for ${SILENCE_MS / 1000} s`);
  try {
    watchSilence();
    const request = { path, query, headers, expected: [NO_CONTENT], retry: 'never' as const };
    const answer = await transport.open(request, abort.signal);
    if (answer.status === NO_CONTENT) return;
    const parser = new EventParser();
    for await (const chunk of answer.chunks()) {
      watchSilence();
      const events = parser.push(chunk);
      if (events.length > 0) yield events;
    }
    throw unreachable(path, 'the stream of events ended');
  } catch (error) {
    if (abort.signal.aborted) throw abort.signal.reason;
    throw error instanceof DmadError ? error : unreachable(path, error);
  } finally {
    // Also if the caller has had enough: the connection is given up.
    abort.abort(new DOMException('The stream is no longer read', 'AbortError'));
    abort.done();
  }
}

/** Reads the format of server-sent events (WHATWG HTML, 9.2.6). */
export class EventParser {
  readonly #decoder = new TextDecoder();
  #rest = '';
  #event = '';
  #data: string[] = [];
  #id: string | undefined;

  /** @returns the events that end within a piece of the stream */
  push(chunk: Uint8Array): ServerEvent[] {
    const text = this.#rest + this.#decoder.decode(chunk, { stream: true });
    // A regular expression takes several times as long, and dmad sends no carriage returns.
    const lines = text.split(text.includes('\r') ? /\r\n|\n|\r(?!$)/ : '\n');
    this.#rest = lines.pop() ?? '';
    const events: ServerEvent[] = [];
    for (const line of lines) {
      if (line !== '') this.#field(line);
      else if (this.#data.length > 0) events.push(this.#take());
      else this.#event = '';
    }
    return events;
  }

  #field(line: string): void {
    const colon = line.indexOf(':');
    const name = colon < 0 ? line : line.slice(0, colon);
    const from = line[colon + 1] === ' ' ? colon + 2 : colon + 1;
    const value = colon < 0 ? '' : line.slice(from);
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
