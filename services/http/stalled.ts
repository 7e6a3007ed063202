// SPDX-License-Identifier: Apache-2.0
import type { Server } from 'node:http';
import { Server as HttpsServer } from 'node:https';
import type { Socket } from 'node:net';
import { writeQueueOf } from './node-internals.ts';
import { passageOf } from './past-node.ts';

const CHECK_MS = 1000;

interface Reader {
  /** Changes whenever the client's kernel takes something. */
  taken: number;
  /** Since when it has not, in milliseconds; undefined where nothing waits. */
  since: number | undefined;
}

/** Closes the connections of clients that ask and do not read: their answers take memory. */
export class StalledReaders {
  readonly #readers = new Map<Socket, Reader>();
  readonly #idleMs: number;

  /** @param idleMs how long a client may take none of what waits for it */
  constructor(idleMs: number) {
    this.#idleMs = idleMs;
  }

  /** A client has connected. */
  add(socket: Socket): void {
    this.#readers.set(socket, { taken: 0, since: undefined });
    socket.once('close', () => this.#readers.delete(socket));
  }

  /** @param now milliseconds of a clock that does not step */
  check(now: number): void {
    for (const [socket, reader] of this.#readers) {
      const passage = passageOf(socket);
      if (socket.writableLength === 0 && !passage?.isRefused()) {
        reader.since = undefined;
        continue;
      }
      const taken = takenOf(socket) + (passage?.taken ?? 0);
      if (reader.since === undefined || taken !== reader.taken) {
        Object.assign(reader, { taken, since: now });
      } else if (now - reader.since >= this.#idleMs) {
        socket.destroy();
      }
    }
  }
}

/** Has a server close them. @param idleMs how long a client may take none of what waits for it */
export function closeStalled(server: Server, idleMs: number): void {
  const readers = new StalledReaders(idleMs);
  server.on(server instanceof HttpsServer ? 'secureConnection' : 'connection', (socket: Socket) =>
    readers.add(socket),
  );
  server.on('listening', () => {
    const timer = setInterval(() => readers.check(performance.now()), CHECK_MS).unref();
    server.once('close', () => clearInterval(timer));
  });
}

/** What was written whole, less what libuv still has of the write that is under way. */
function takenOf(socket: Socket): number {
  return socket.bytesWritten - socket.writableLength - writeQueueOf(socket);
}
