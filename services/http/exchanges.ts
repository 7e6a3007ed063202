// SPDX-License-Identifier: Apache-2.0
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { Problem, retryLater } from './problems/problem.ts';
import { endGently, endWithProblem } from './raw-problem.ts';

/** Requests that may wait for their turn on a connection. Nearly no client pipelines at all. */
const MAX_WAITING = 64;
/**
 * How soon the answer to a client that sends nothing more must begin: whether it still reads shows only once
 * something is written, and nobody is to wait for one that has left.
 */
const HALF_CLOSED_MS = 1000;

/** What is answered next: a request, or a refusal behind which nothing is carried out. */
type Turn = RequestTurn | { kind: 'refusal'; problem: Problem };
interface RequestTurn {
  kind: 'request';
  request: IncomingMessage;
  response: ServerResponse;
  handle: RequestListener;
}

/**
 * The requests of one connection, carried out one after the other (RFC 9112, 9.3.2): so that
 * pipelined ones take effect in their order, and none is carried out behind an answer that closes
 * the connection.
 */
export class Exchanges {
  static readonly #of = new WeakMap<Duplex, Exchanges>();
  readonly #socket: Duplex;
  #current: Turn | undefined;
  #waiting: Turn[] = [];
  /** Nothing that comes is carried out any more. */
  #closed = false;

  static of(socket: Duplex): Exchanges {
    let exchanges = Exchanges.#of.get(socket);
    if (exchanges === undefined) {
      exchanges = new Exchanges(socket);
      Exchanges.#of.set(socket, exchanges);
    }
    return exchanges;
  }

  private constructor(socket: Duplex) {
    this.#socket = socket;
    socket.once('end', () => this.#halfClosed());
  }

  /** Carries a request out when its turn comes. */
  add(request: IncomingMessage, response: ServerResponse, handle: RequestListener): void {
    if (this.#closed) return;
    if (this.#waiting.length < MAX_WAITING) {
      this.#take({ kind: 'request', request, response, handle });
      return;
    }
    // What is read is parsed, and kept by Node until its turn.
    this.#socket.pause();
    const detail = `${MAX_WAITING} requests of this connection are waiting already.`;
    this.refuse(retryLater('queue_full', detail));
  }

  /** Answers with a problem, behind the answers to what came before, and closes the connection. */
  refuse(problem: Problem): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#take({ kind: 'refusal', problem });
  }

  /** The same for what Node's parser refused, which may be the body of the last request. */
  refuseUnreadable(problem: Problem): void {
    if (this.#closed) return;
    const last = this.#waiting.at(-1) ?? this.#current;
    if (last?.kind === 'request' && !last.request.complete) {
      if (last === this.#current) this.#breakOff(last, problem);
      else this.#waiting.pop();
    }
    this.refuse(problem);
  }

  /** Ends the request that is being carried out, whose body cannot be read any further. */
  #breakOff({ request, response }: RequestTurn, problem: Problem): void {
    this.#closed = true;
    if (response.headersSent) {
      endGently(this.#socket);
    } else if (request.listenerCount('error') > 0) {
      // Who reads the body answers, and knows what became of it so far.
      const { code, message, options } = problem;
      const headers = { ...options.headers, connection: 'close' };
      request.emit('error', new Problem(code, message, { ...options, headers }));
    } else {
      this.#start({ kind: 'refusal', problem });
    }
  }

  /** The client sends nothing more: it waits for its answers, as `nc -N` does, or has left. */
  #halfClosed(): void {
    if (this.#current?.kind !== 'request') return;
    const { response } = this.#current;
    // A stream of events has no end, and its client has most likely left.
    if (response.headersSent && response.chunkedEncoding) {
      this.#socket.end();
      return;
    }
    const timer = setTimeout(() => this.#endUnlessAnswering(), HALF_CLOSED_MS);
    this.#socket.once('close', () => clearTimeout(timer));
  }

  #endUnlessAnswering(): void {
    this.#closed = true;
    this.#waiting = [];
    if (this.#current?.kind !== 'request') return;
    const { response } = this.#current;
    const end = () => this.#socket.end();
    if (response.headersSent) response.once('close', end);
    else end();
  }

  #take(turn: Turn): void {
    if (this.#current === undefined) this.#start(turn);
    else this.#waiting.push(turn);
  }

  #start(turn: Turn): void {
    this.#current = turn;
    if (turn.kind === 'refusal') {
      this.#waiting = [];
      endWithProblem(this.#socket, turn.problem);
      return;
    }
    const { request, response, handle } = turn;
    response.once('close', () => this.#next());
    handle(request, response);
  }

  #next(): void {
    this.#current = undefined;
    // Also where Node ends it, for that was the last answer.
    if (!this.#socket.writable) {
      this.#closed = true;
      this.#waiting = [];
      return;
    }
    const turn = this.#waiting.shift();
    if (turn !== undefined) this.#start(turn);
  }
}
