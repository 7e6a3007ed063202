// SPDX-License-Identifier: Apache-2.0
import { Agent, type Dispatcher, request, fetch as undiciFetch } from 'undici';
import type { Answer } from './answer.ts';
import { textOf } from './body-text.ts';
import { DmadClient } from './client.ts';
import { type ReadInto, readInto } from './read-into.ts';
import type { Ask, Fetch, TransportOptions } from './transport.ts';

export * from './index.ts';

export interface ConnectOptions extends Omit<TransportOptions, 'fetch' | 'ask' | 'shownAs'> {
  /** `http://…`, `https://…`, or a Unix socket: `unix:/run/dmad/dmad.sock`. */
  url: string;
  tls?: {
    /** PEM: who may have signed the daemon's certificate; the system's if absent. */
    ca?: string | undefined;
    /** PEM: the client's own certificate, and its key. */
    cert?: string | undefined;
    key?: string | undefined;
  };
}

/** A client that keeps connections of its own open. */
export interface ConnectedClient extends DmadClient {
  /** Reads a range of a device straight into memory; see {@link readInto}. */
  readInto: ReadInto;
  /** Closes them, once what is under way has ended. */
  close(): Promise<void>;
  /** Closes them at once, whatever is under way. */
  destroy(): Promise<void>;
}

const SOCKET_SCHEME = 'unix:';

/** A client for Node: over TCP, TLS or a Unix socket. Nothing is sent before the first call. */
export function connect({ url, tls, ...options }: ConnectOptions): ConnectedClient {
  const socketPath = url.startsWith(SOCKET_SCHEME) ? url.slice(SOCKET_SCHEME.length) : undefined;
  const agent = new Agent({
    connect: { ...tls, ...(socketPath !== undefined && { socketPath }) },
    // A checksum, or an upload that waits for its turn, is answered when it is done: deadlines
    // are the calls' own.
    headersTimeout: 0,
  });
  // undici's own fetch, for Node's takes no agent of another version of undici.
  const fetch = ((input: string, init: RequestInit) =>
    undiciFetch(input, { ...(init as object), dispatcher: agent })) as unknown as Fetch;
  // Takes a third of the processor's time that fetch does.
  const ask: Ask = async (input, { method, headers, body, signal }) => {
    const asked = await request(input, {
      ...{ method: method as Dispatcher.HttpMethod, headers: headers as Record<string, string> },
      ...{ body: (body as string | undefined) ?? null, signal: signal as AbortSignal },
      dispatcher: agent,
    });
    return answerOf(asked);
  };
  const transport = {
    ...options,
    ...(socketPath === undefined ? { url } : { url: 'http://localhost', shownAs: url }),
  };
  return Object.assign(new DmadClient({ ...transport, fetch, ask }), {
    readInto: readInto(agent, transport),
    close: () => agent.close(),
    destroy: () => agent.destroy(),
  });
}

function answerOf({ statusCode: status, headers, body }: Dispatcher.ResponseData): Answer {
  // Destroying the body makes it emit an error, and an error without a listener ends the process. If the
  // body is read, its reader gets the error, too.
  body.on('error', () => {});
  return {
    status,
    headers: {
      get: (name) => {
        const value = headers[name.toLowerCase()];
        return value === undefined ? null : [value].flat().join(', ');
      },
    },
    json: () => body.json(),
    chunks: () => body as AsyncIterable<Uint8Array>,
    text: (limit) => textOf(body, limit),
    discard: () => void body.destroy(),
  };
}
