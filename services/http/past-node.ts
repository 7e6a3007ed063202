// SPDX-License-Identifier: Apache-2.0
import type { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { descriptorOf, writeQueueOf } from './node-internals.ts';

/** From this size on a body is moved past Node: below, handing the connection over costs more. */
export const PAST_NODE_FROM = 2 ** 20;

/** Bytes that go out past Node. */
export interface Passage {
  /** How many the kernel has taken. */
  taken: number;
  /** Whether more are waiting for it to take them. */
  waiting: boolean;
}

const passages = new WeakMap<Socket, Passage>();

/**
 * The connection of a request if the bytes of a body may pass Node by, between the kernel and the
 * shim; undefined if Node has to move them: under TLS it encrypts them, and a small body is sooner
 * moved than its connection handed over.
 *
 * @param size of the body; undefined if it is not known
 */
export function connectionPastNode(
  request: IncomingMessage,
  size: number | undefined,
  from: number,
): Socket | undefined {
  const { socket } = request;
  if (size === undefined || size < from) return undefined;
  const isPlain = socket instanceof Socket && !(socket instanceof TLSSocket);
  return isPlain && descriptorOf(socket) >= 0 ? socket : undefined;
}

/** Whether the kernel has all that Node was to write to a connection, so that others may write. */
export function isDrained(socket: Socket): boolean {
  return !socket.destroyed && socket.writableLength === 0 && writeQueueOf(socket) === 0;
}

/** Bytes begin to go out past Node, until {@link endPassage}. */
export function beginPassage(socket: Socket): Passage {
  const passage = { taken: 0, waiting: false };
  passages.set(socket, passage);
  return passage;
}

export function endPassage(socket: Socket): void {
  passages.delete(socket);
}

/** What goes out past Node now; undefined if nothing does. */
export function passageOf(socket: Socket): Passage | undefined {
  return passages.get(socket);
}
