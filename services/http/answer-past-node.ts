// SPDX-License-Identifier: Apache-2.0
import type { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import {
  canSkipBody,
  descriptorOf,
  skipAnswer,
  startReading,
  stopReading,
} from './node-internals.ts';

/**
 * The body of an answer to a request of this process, of which somebody else reads what Node has not read
 * yet: the counterpart of BodyPastNode. Node reads nothing more until {@link release}.
 */
export class AnswerPastNode {
  /** Whether this Node has failed to do its part once: it may never do it, so it reads all answers. */
  static #failed = false;
  readonly #answer: IncomingMessage;
  readonly #socket: Socket;
  readonly #bytesRead: number;

  private constructor(answer: IncomingMessage) {
    this.#answer = answer;
    this.#socket = answer.socket;
    this.#bytesRead = answer.socket.bytesRead;
  }

  /** Whether it is worth a try. */
  static get usable(): boolean {
    return !AnswerPastNode.#failed;
  }

  /**
   * Call it while the request emits `response`: later Node may have read more.
   *
   * @returns undefined if Node has to read the answer
   */
  static of(answer: IncomingMessage): AnswerPastNode | undefined {
    const { socket } = answer;
    if (!(socket instanceof Socket) || socket instanceof TLSSocket) return undefined;
    if (AnswerPastNode.usable && canSkipBody(socket) && stopReading(socket)) {
      return new AnswerPastNode(answer);
    }
    AnswerPastNode.#failed = true;
    startReading(socket);
    return undefined;
  }

  /** Where the bytes are to be read; -1 once the connection is closed. */
  descriptor(): number {
    return descriptorOf(this.#socket);
  }

  /** What Node has read of the body already, which is to be taken first; undefined for no more. */
  read(): Buffer | undefined {
    return this.#answer.read() ?? undefined;
  }

  /**
   * Tells Node of bytes that were read meanwhile.
   *
   * @throws Error if Node has read some itself: what was received is not what was sent
   */
  skip(bytes: number): void {
    if (this.#socket.destroyed || bytes === 0) return;
    if (this.#socket.bytesRead === this.#bytesRead) {
      skipAnswer(this.#socket, bytes);
      return;
    }
    AnswerPastNode.#failed = true;
    const error = new Error('Node.js read from a connection that it had been told to leave alone');
    this.#socket.destroy(error);
    throw error;
  }

  /** Node reads on: the rest of the answer, or that of the next request. */
  release(): void {
    startReading(this.#socket);
  }
}
