// SPDX-License-Identifier: Apache-2.0
import type { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { TLSSocket } from 'node:tls';
import { canSkipBody, descriptorOf, isReading, skipBody, writeQueueOf } from './node-internals.ts';

/** From this size on a body is moved past Node: below, handing the connection over costs more. */
export const PAST_NODE_FROM = 2 ** 20;

/** Bytes that go out past Node. */
export interface Passage {
  /** How many the kernel has taken. */
  taken: number;
  /** Whether more are there, and it takes none of them now. */
  isRefused(): boolean;
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
export function beginPassage(socket: Socket, isRefused: Passage['isRefused']): Passage {
  const passage = { taken: 0, isRefused };
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

/**
 * A request's body of which somebody else reads what Node has not read yet. Node's parser is told of
 * those bytes, so that it goes on behind them, wherever they end.
 */
export class BodyPastNode {
  /** Whether this Node has failed to do its part once: it may never do it, so it reads all bodies. */
  static #failed = false;
  readonly #request: IncomingMessage;
  readonly #socket: Socket;
  #bytesRead = 0;

  private constructor(request: IncomingMessage, socket: Socket) {
    this.#request = request;
    this.#socket = socket;
  }

  /** @returns undefined if Node has to read it: see {@link connectionPastNode} */
  static of(
    request: IncomingMessage,
    size: number | undefined,
    from: number,
  ): BodyPastNode | undefined {
    const socket = connectionPastNode(request, size, from);
    if (BodyPastNode.#failed || socket === undefined || !canSkipBody(socket)) return undefined;
    return new BodyPastNode(request, socket);
  }

  /** Where the bytes are to be read; -1 once the connection is closed. */
  descriptor(): number {
    return descriptorOf(this.#socket);
  }

  /**
   * Has Node stop reading the connection, until {@link release}. What it has read already is in the
   * request, and is to be read there first.
   *
   * @returns whether it has stopped, and there is something to read
   */
  async stop(): Promise<boolean> {
    if (this.#request.complete) return false;
    // Else it goes on as soon as the request is read.
    this.#request._read = () => {};
    // By then it has gone on where it was about to.
    await turn();
    this.#socket.pause();
    this.#bytesRead = this.#socket.bytesRead;
    if (this.#socket.destroyed || this.#request.complete) return false;
    return isReading(this.#socket) === false;
  }

  /**
   * Tells Node of bytes that were read meanwhile.
   *
   * @throws Error if Node has read some itself: what is written is not what was sent
   */
  skip(bytes: number): void {
    if (this.#socket.destroyed) return;
    if (this.#socket.bytesRead !== this.#bytesRead) {
      const error = new Error(
        'Node.js read from a connection that it had been told to leave alone',
      );
      throw this.#fail(error);
    }
    try {
      skipBody(this.#socket, bytes);
    } catch (error) {
      throw this.#fail(error as Error);
    }
  }

  /** What comes next on the connection would be read from the wrong place. */
  #fail(error: Error): Error {
    BodyPastNode.#failed = true;
    this.#socket.destroy(error);
    return error;
  }

  /** Node reads on. */
  release(): void {
    Reflect.deleteProperty(this.#request, '_read');
    // Also if the body is complete: what comes next is another request.
    this.#socket.resume();
  }
}
