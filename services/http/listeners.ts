// SPDX-License-Identifier: Apache-2.0
import { existsSync, lstatSync, unlinkSync } from 'node:fs';
import type { Server } from 'node:http';
import { Server as HttpsServer } from 'node:https';
import { createServer, connect as netConnect, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { StartError } from '../base/start-error.ts';

/** Leaves the socket mode 0660 from its first moment on. */
const SOCKET_UMASK = 0o117;
const unixSockets = new WeakSet<Socket>();

/** Whether a request's connection came in on the Unix socket, and not over TCP. */
export function cameInOnUnixSocket(socket: Socket): boolean {
  return unixSockets.has(socket);
}

/**
 * Listens for TCP connections.
 *
 * @param variable that names the port
 * @returns the port, which the kernel chose where 0 was asked for
 * @throws StartError address_in_use
 */
export async function listenTcp(
  server: Server,
  host: string,
  port: number,
  variable = 'DMAD_PORT',
): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(listenError(error, `${host}:${port}`, `choose another ${variable}`)),
    );
    server.listen({ host, port }, resolve);
  });
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : port;
}

/**
 * Listens on a Unix socket too, handing its connections to the same HTTP server. A socket file
 * that nobody listens on is replaced.
 *
 * @returns a function that stops listening and removes the file; it resolves once the connections
 *   that came in there are closed
 * @throws StartError address_in_use; configuration where something else has that name
 */
export async function listenUnix(server: Server, path: string): Promise<() => Promise<void>> {
  // Node calls that EACCES.
  if (!existsSync(dirname(path))) {
    throw new StartError('configuration', `DMAD_SOCKET: there is no directory ${dirname(path)}`);
  }
  await removeStaleSocket(path);
  // As http's own server does: it answers a client that sends nothing more, too.
  const listener = createServer({ allowHalfOpen: true }, (socket) => {
    unixSockets.add(socket);
    // Behind the TLS of a server that has it: there is nobody between the ends of a Unix socket.
    server.emit(server instanceof HttpsServer ? 'secureConnection' : 'connection', socket);
  });
  listener.maxConnections = server.maxConnections;
  await new Promise<void>((resolve, reject) => {
    listener.once('error', (error: NodeJS.ErrnoException) =>
      reject(listenError(error, path, 'choose another DMAD_SOCKET')),
    );
    const umask = process.umask(SOCKET_UMASK);
    listener.listen(path, resolve);
    process.umask(umask);
  });
  return () => new Promise((resolve) => listener.close(() => resolve()));
}

async function removeStaleSocket(path: string): Promise<void> {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return;
  if (!stats.isSocket()) {
    throw new StartError('configuration', `DMAD_SOCKET: ${path} exists and is no socket`);
  }
  const stale = await new Promise<boolean>((resolve) => {
    const probe = netConnect(path, () => {
      probe.destroy();
      resolve(false);
    });
    // Any other error may come from a daemon that is busy or another user's.
    probe.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code === 'ECONNREFUSED'));
  });
  if (!stale) throw new StartError('address_in_use', `${path} is in use by another process`);
  unlinkSync(path);
}

function listenError(error: NodeJS.ErrnoException, address: string, remedy: string): StartError {
  if (error.code === 'EADDRINUSE') {
    return new StartError('address_in_use', `${address} is in use: ${remedy}`);
  }
  return new StartError('configuration', `cannot listen on ${address}: ${error.message}`);
}
