// SPDX-License-Identifier: Apache-2.0
import { Agent, type ClientRequest, type IncomingMessage, request } from 'node:http';
import { constants } from 'node:os';
import { finished } from 'node:stream/promises';
import { SegmentList } from '../../base/segments.ts';
import { textOf } from '../../client/body-text.ts';
import {
  type ContentRequest,
  checkRange,
  contentRequest,
  headersOf,
} from '../../client/content-request.ts';
import { MAX_PROBLEM_SIZE, problemIn, unreachable } from '../../client/error.ts';
import type { ReadIntoOptions } from '../../client/read-into.ts';
import type { TransportOptions } from '../../client/transport.ts';
import { AnswerPastNode } from '../../http/answer-past-node.ts';
import { wasRefused } from '../devices/slices.ts';
import type { Engine } from '../engines/engine.ts';
import { type Completion, MEMORY, SOCKET } from '../engines/records.ts';

const { ECANCELED, ECONNRESET, ENOTCONN } = constants.errno;

/** Receives a device's bytes from a peer by the shim, past Node, which takes a third of the processor's time. */
export class ContentReceiver {
  readonly #transport: TransportOptions;
  readonly #engine: Engine;
  readonly #from: number;
  readonly #agent = new Agent({ keepAlive: true });

  /**
   * @param transport with an `http:` URL: what TLS protects has to go through Node
   * @param from the size from which on it is worth it, in bytes
   */
  constructor(transport: TransportOptions, engine: Engine, from: number) {
    this.#transport = transport;
    this.#engine = engine;
    this.#from = from;
  }

  /** Whether a range of this size, in bytes, should be read by this and not by Node. */
  takes(size: number): boolean {
    return size >= this.#from && AnswerPastNode.usable;
  }

  /**
   * Reads a range of a device straight into memory, in one attempt; what came before an error stays. The memory
   * is not touched once this has settled.
   *
   * @returns once all has arrived, or has to be read by Node from where `onBytes` has counted to
   * @throws DmadError; the signal's reason
   */
  async read(device: string, options: ReadIntoOptions): Promise<void> {
    const { signal } = options;
    signal.throwIfAborted();
    const asked = contentRequest(this.#transport, device, options);
    const { path, headers } = asked;
    const sent = request(this.#transport.url, { path, headers, agent: this.#agent });
    const abort = () => void sent.destroy();
    signal.addEventListener('abort', abort);
    let whole = false;
    try {
      whole = await this.#receive(sent, asked, options);
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      signal.removeEventListener('abort', abort);
      // What may still come on this connection is for nobody.
      if (!whole) sent.destroy();
    }
  }

  /** Closes the connections. */
  close(): void {
    this.#agent.destroy();
  }

  /** @returns whether all has arrived */
  async #receive(
    sent: ClientRequest,
    { shown }: ContentRequest,
    options: ReadIntoOptions,
  ): Promise<boolean> {
    const { answer, body } = await answerTo(sent).catch((error) => {
      throw unreachable(shown, error);
    });
    const status = answer.statusCode as number;
    const headers = headersOf(answer.headers);
    this.#transport.onAnswer?.(headers);
    if (status !== 206 && status !== 200) {
      body?.release();
      const text = await textOf(answer, MAX_PROBLEM_SIZE).catch((error) => {
        throw unreachable(shown, error);
      });
      throw problemIn(shown, { status, headers }, text);
    }
    checkRange(shown, options, status, headers);
    if (body === undefined) return false;
    const { memory, size, onBytes } = options;
    let received = 0;
    for (let chunk = body.read(); chunk !== undefined; chunk = body.read()) {
      memory.set(chunk, received);
      received += chunk.length;
      onBytes(chunk.length);
    }
    if (received < size) {
      const rest = Buffer.from(memory.buffer, memory.byteOffset + received, size - received);
      const completion = await this.#receiveRest(body, rest, options);
      try {
        body.skip(completion.received);
      } catch (error) {
        throw unreachable(shown, error);
      }
      if (wasRefused(completion)) return false;
      if (completion.status !== 0) throw unreachable(shown, reasonOf(completion));
    }
    body.release();
    answer.resume();
    // Only then another request can use the connection, unless that is closed, be it since long.
    await finished(answer).catch(() => {});
    return true;
  }

  #receiveRest(
    body: AnswerPastNode,
    memory: Buffer,
    { signal, onBytes }: ReadIntoOptions,
  ): Promise<Completion> {
    const job = {
      source: SOCKET,
      destination: MEMORY,
      engine: 'cpu',
      priority: 'normal',
      segments: SegmentList.of({ src_offset: 0, dst_offset: 0, size: memory.length }),
      memory,
      descriptor: () => body.descriptor(),
    } as const;
    let done = 0;
    return this.#engine.runUntil(job, signal, (bytesDone) => {
      if (bytesDone > done) onBytes(bytesDone - done);
      done = bytesDone;
    });
  }
}

/** Sends a request. @returns its answer, of whose body Node has read a part */
function answerTo(
  sent: ClientRequest,
): Promise<{ answer: IncomingMessage; body: AnswerPastNode | undefined }> {
  return new Promise((resolve, reject) => {
    // An error may also come after the answer. What reads the answer then gets it; here it changes nothing.
    sent.on('error', reject);
    sent.once('close', () => reject(new Error('the connection was closed before an answer')));
    sent.once('response', (answer) => {
      answer.on('error', () => {});
      resolve({ answer, body: AnswerPastNode.of(answer) });
    });
    sent.end();
  });
}

function reasonOf({ status }: Completion): Error {
  if ([-ECONNRESET, -ENOTCONN, -ECANCELED].includes(status)) {
    return new Error('the answer was cut short');
  }
  return new Error(`the connection failed: errno ${-status}`);
}
