// SPDX-License-Identifier: Apache-2.0
import type { IncomingHttpHeaders } from 'node:http';
import type { Dispatcher } from 'undici';
import { checkRange, contentRequest, headersOf, unexpected } from './content-request.ts';
import { type DmadError, MAX_PROBLEM_SIZE, problemIn, unreachable } from './error.ts';
import type { TransportOptions } from './transport.ts';
import type { Range } from './types.ts';

export interface ReadIntoOptions extends Range {
  /** Receives the bytes, as they come, from its beginning. */
  memory: Uint8Array;
  signal: AbortSignal;
  /** Is called with the number of bytes each time some have arrived. */
  onBytes(count: number): void;
}

export type ReadInto = (device: string, options: ReadIntoOptions) => Promise<void>;

/**
 * Makes a method that reads a range of a device straight into memory. With the streams of fetch each
 * byte costs several times what the network takes for it; this is for those who read a lot. One attempt:
 * what came before an error stays.
 *
 * It rejects with a DmadError, or the signal's reason. The memory is not touched after that.
 */
export function readInto(dispatcher: Dispatcher, transport: TransportOptions): ReadInto {
  const { origin } = new URL(transport.url);
  return (device, options) => {
    const { path, shown, headers } = contentRequest(transport, device, options);
    return new Promise((resolve, reject) => {
      options.signal.throwIfAborted();
      const answer = new Answer(shown, options, transport.onAnswer, resolve, reject);
      dispatcher.dispatch({ origin, path, method: 'GET', headers }, answer);
    });
  };
}

type State =
  /** Nothing has come of it. */
  | { is: 'waiting' }
  | { is: 'content' }
  /** Something else than those bytes: what is said of it is kept. */
  | { is: 'problem'; status: number; headers: Headers; body: Buffer[]; size: number }
  | { is: 'over' };

/** One answer, as it comes. */
class Answer implements Dispatcher.DispatchHandler {
  readonly #url: string;
  readonly #options: ReadIntoOptions;
  readonly #onAnswer: TransportOptions['onAnswer'];
  readonly #resolve: () => void;
  readonly #reject: (error: unknown) => void;
  readonly #abort = () => this.#fail(this.#options.signal.reason);
  #controller: Dispatcher.DispatchController | undefined;
  #state: State = { is: 'waiting' };
  #received = 0;

  constructor(
    url: string,
    options: ReadIntoOptions,
    onAnswer: TransportOptions['onAnswer'],
    resolve: () => void,
    reject: (error: unknown) => void,
  ) {
    this.#url = url;
    this.#options = options;
    this.#onAnswer = onAnswer;
    this.#resolve = resolve;
    this.#reject = reject;
    options.signal.addEventListener('abort', this.#abort);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#state.is === 'over') controller.abort(new Error('nobody waits for it any more'));
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    raw: IncomingHttpHeaders,
  ): void {
    // A status of 1xx comes before the answer.
    if (this.#state.is === 'over' || status < 200) return;
    const headers = headersOf(raw);
    try {
      this.#onAnswer?.(headers);
      if (status !== 206 && status !== 200) {
        this.#state = { is: 'problem', status, headers, body: [], size: 0 };
        return;
      }
      checkRange(this.#url, this.#options, status, headers);
      this.#state = { is: 'content' };
    } catch (error) {
      this.#fail(error);
    }
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    const state = this.#state;
    if (state.is === 'content') {
      const { memory, size, onBytes } = this.#options;
      if (chunk.length > size - this.#received) {
        this.#fail(unexpected(this.#url, 'sends more bytes than were asked for'));
        return;
      }
      memory.set(chunk, this.#received);
      this.#received += chunk.length;
      onBytes(chunk.length);
    } else if (state.is === 'problem') {
      state.body.push(Buffer.from(chunk));
      state.size += chunk.length;
      if (state.size > MAX_PROBLEM_SIZE) this.#fail(this.#problem(state));
    }
  }

  onResponseEnd(): void {
    const state = this.#state;
    if (state.is === 'problem') this.#fail(this.#problem(state));
    if (state.is !== 'content') return;
    if (this.#received < this.#options.size) {
      this.#fail(unreachable(this.#url, 'the answer was cut short'));
      return;
    }
    this.#end();
    this.#resolve();
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#fail(unreachable(this.#url, error));
  }

  #problem({ status, headers, body }: State & { is: 'problem' }): DmadError {
    return problemIn(this.#url, { status, headers }, Buffer.concat(body).toString());
  }

  #fail(error: unknown): void {
    if (this.#state.is === 'over') return;
    this.#end();
    this.#controller?.abort(new Error('nobody waits for it any more'));
    this.#reject(error);
  }

  #end(): void {
    this.#state = { is: 'over' };
    this.#options.signal.removeEventListener('abort', this.#abort);
  }
}
