// SPDX-License-Identifier: Apache-2.0
import { Agent, fetch as undiciFetch } from 'undici';
import { DmadClient } from './client.ts';
import { type ReadInto, readInto } from './read-into.ts';
import type { Fetch, TransportOptions } from './transport.ts';

export * from './index.ts';

export interface ConnectOptions extends Omit<TransportOptions, 'fetch'> {
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
  const transport = { ...options, url: socketPath === undefined ? url : 'http://localhost' };
  return Object.assign(new DmadClient({ ...transport, fetch }), {
    readInto: readInto(agent, transport),
    close: () => agent.close(),
    destroy: () => agent.destroy(),
  });
}
