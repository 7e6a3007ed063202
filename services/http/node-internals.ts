// SPDX-License-Identifier: Apache-2.0
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { StartError } from '../base/start-error.ts';

/** What Node has no public name for. Under TLS only the connection below knows. */
interface Handle {
  fd: number;
  writeQueueSize: number;
  _parent?: Handle;
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

function handleOf(socket: Socket): Handle | undefined {
  return (socket as unknown as { _handle?: Handle | null })._handle ?? undefined;
}
