// SPDX-License-Identifier: Apache-2.0
import { type Answer, FetchedAnswer } from './answer.ts';
import { DmadError, MAX_PROBLEM_SIZE, problemIn, unreachable } from './error.ts';
import { Abort, abortable, sleep } from './time.ts';

export type Fetch = typeof globalThis.fetch;

/** Sends a request, as fetch does. */
export type Ask = (url: string, init: RequestInit) => Promise<Answer>;

/** What every call takes. */
export interface CallOptions {
  /** Ends the call, which then rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
  /**
   * By when the call must have been answered, in milliseconds from now: else it rejects with
   * `deadline_exceeded`. A minute and what it asks the daemon to wait, for what moves no bytes; none
   * for what does.
   */
  deadlineMs?: number | undefined;
  /** For how long after a first failure it is tried again, in milliseconds; 0: never. */
  retryForMs?: number | undefined;
}

/** What fetch takes as a body. */
export type RequestBody = NonNullable<RequestInit['body']>;

export type Query = Record<string, string | number | readonly string[] | undefined>;

/** `after_loss`: also if the connection was lost, for a repetition changes nothing. */
export type RetryPolicy = 'after_loss' | 'if_refused' | 'never';

export interface HttpRequest {
  method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Below the base URL, such as `/transfers`; its parts are escaped already. */
  path: string;
  query?: Query | undefined;
  headers?: Record<string, string>;
  /** Makes the body, for each attempt anew. */
  body?: () => RequestBody;
  /** Statuses other than 200 that are no problem. */
  expected?: readonly number[];
  retry: RetryPolicy;
}

export interface TransportOptions {
  /** Such as `http://127.0.0.1:8080`; a path in it is a prefix. */
  url: string;
  /** What messages call the daemon's address; `url` if absent. */
  shownAs?: string | undefined;
  /** Bearer token, or what gives it for each request. */
  token?: string | (() => string | undefined) | undefined;
  fetch?: Fetch | undefined;
  /** For all but content, if there is something that takes less time than fetch. */
  ask?: Ask | undefined;
  /** Go with each request, such as a `traceparent`. */
  headers?: Readonly<Record<string, string>> | undefined;
  /** Default of each call's; a minute if absent. */
  retryForMs?: number | undefined;
  /** Sees each answer first. @throws DmadError if it must not be used */
  onAnswer?: ((headers: Pick<Headers, 'get'>) => void) | undefined;
}

const MINUTE_MS = 60_000;
const FIRST_BACKOFF_MS = 50;
const MAX_BACKOFF_MS = 2000;

/** Requests over the injected fetch, repeated where that is safe. */
export class Transport {
  readonly #base: string;
  readonly #shownAs: string;
  readonly #token: TransportOptions['token'];
  readonly #fetch: (url: string, init: RequestInit) => Promise<FetchedAnswer>;
  readonly #ask: Ask;
  readonly #headers: TransportOptions['headers'];
  readonly #onAnswer: TransportOptions['onAnswer'];
  /** What applies to calls that do not say. */
  readonly retryForMs: number;

  constructor(options: TransportOptions) {
    const { url, shownAs, token, fetch, ask, headers, retryForMs, onAnswer } = options;
    this.#base = url.replace(/\/+$/, '');
    this.#shownAs = shownAs ?? this.#base;
    this.#token = token;
    this.#headers = headers;
    this.#onAnswer = onAnswer;
    // Called as a method of the global object, as browsers want it.
    const send = fetch ?? ((input, init) => globalThis.fetch(input, init));
    this.#fetch = async (input, init) => new FetchedAnswer(await send(input, init));
    this.#ask = ask ?? this.#fetch;
    this.retryForMs = retryForMs ?? MINUTE_MS;
  }

  /** A call that the daemon answers with JSON. */
  json<T>(request: HttpRequest, options: CallOptions = {}, waitMs = 0): Promise<T> {
    const deadlineMs = options.deadlineMs ?? MINUTE_MS + waitMs;
    return this.#call(request, { ...options, deadlineMs }, async (signal) => {
      return (await this.#attempt(request, signal, this.#ask, (answer) => answer.json())) as T;
    });
  }

  /**
   * Makes the request until it is answered, and reads the answer.
   *
   * @param read if it throws, the connection was lost
   * @throws DmadError, or the reason with which the signal aborts
   */
  call<T>(
    request: HttpRequest,
    options: CallOptions,
    read: (response: Response, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    return this.#call(request, options, (signal) => this.once(request, signal, read));
  }

  /** One attempt. @throws DmadError, or the reason with which the signal aborts */
  once<T>(
    request: HttpRequest,
    signal: AbortSignal,
    read: (response: Response, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    return this.#attempt(request, signal, this.#fetch, ({ response }) => read(response, signal));
  }

  /** One attempt whose answer is left to be read. @throws as {@link once} */
  open(request: HttpRequest, signal: AbortSignal): Promise<Answer> {
    return this.#attempt(request, signal, this.#ask, async (answer) => answer);
  }

  async #call<T>(
    request: HttpRequest,
    options: CallOptions,
    attempt: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const abort = new Abort(options.signal);
    const { deadlineMs = Number.POSITIVE_INFINITY } = options;
    const retries = new Retries(request.retry, options.retryForMs ?? this.retryForMs);
    abort.abortAfter(deadlineMs, () => deadlineExceeded(this.#shownAs, deadlineMs, retries.last));
    try {
      for (;;) {
        abort.signal.throwIfAborted();
        try {
          return await attempt(abort.signal);
        } catch (error) {
          if (abort.signal.aborted) throw abort.signal.reason;
          await sleep(retries.delayAfter(error), abort.signal);
        }
      }
    } finally {
      abort.done();
    }
  }

  async #attempt<Answered extends Answer, T>(
    request: HttpRequest,
    signal: AbortSignal,
    send: (url: string, init: RequestInit) => Promise<Answered>,
    read: (answer: Answered) => Promise<T>,
  ): Promise<T> {
    try {
      return await abortable(this.#exchange(request, signal, send, read), signal);
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      throw error instanceof DmadError ? error : unreachable(this.#shownAs, error);
    }
  }

  async #exchange<Answered extends Answer, T>(
    request: HttpRequest,
    signal: AbortSignal,
    send: (url: string, init: RequestInit) => Promise<Answered>,
    read: (answer: Answered) => Promise<T>,
  ): Promise<T> {
    const target = checkedPath(request.path) + queryString(request.query);
    const answer = await send(this.#base + target, this.#init(request, signal));
    const { status, headers } = answer;
    try {
      this.#onAnswer?.(headers);
    } catch (error) {
      answer.discard();
      throw error;
    }
    if (status !== 200 && !request.expected?.includes(status)) {
      throw problemIn(this.#shownAs + target, answer, await answer.text(MAX_PROBLEM_SIZE));
    }
    return read(answer);
  }

  #init({ method = 'GET', headers, body }: HttpRequest, signal: AbortSignal): RequestInit {
    const token = typeof this.#token === 'function' ? this.#token() : this.#token;
    const content = body?.();
    return {
      method,
      headers: {
        ...this.#headers,
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
        ...headers,
      },
      ...(content !== undefined && { body: content }),
      ...(content instanceof ReadableStream && { duplex: 'half' as const }),
      signal,
      // A redirect is no answer of dmad's: it is not followed, and is an error as any other.
      redirect: 'manual',
    };
  }
}

/** When the same request is made again. */
export class Retries {
  readonly #policy: RetryPolicy;
  readonly #forMs: number;
  #since: number | undefined;
  #failures = 0;
  last: unknown;

  constructor(policy: RetryPolicy, forMs: number) {
    this.#policy = policy;
    this.#forMs = forMs;
  }

  /** Begins anew: something got through. */
  reset(): void {
    this.#since = undefined;
    this.#failures = 0;
  }

  /** @returns in how many milliseconds to try again @throws the error if not */
  delayAfter(error: unknown): number {
    this.last = error;
    const now = performance.now();
    this.#since ??= now;
    const left = this.#since + this.#forMs - now;
    const wait = isRetryable(error, this.#policy) ? this.#backoff(error) : undefined;
    if (wait === undefined || wait > left) throw error;
    return wait;
  }

  /** Doubles, with half of it left to chance, so that clients do not come back all at once. */
  #backoff({ retryAfterMs = 0 }: DmadError): number {
    const backoff = Math.min(FIRST_BACKOFF_MS * 2 ** this.#failures++, MAX_BACKOFF_MS);
    return retryAfterMs + backoff * (0.5 + Math.random() / 2);
  }
}

function isRetryable(error: unknown, policy: RetryPolicy): error is DmadError {
  if (!(error instanceof DmadError) || policy === 'never') return false;
  const { code, status, transfer, replication, retryAfterMs } = error;
  // What has one is that one's end: the same key would bring the same again.
  if (transfer !== undefined || replication !== undefined) return false;
  if ((status === 429 || status === 503) && retryAfterMs !== undefined) return true;
  if (policy === 'if_refused') return false;
  // A proxy answers so if it has lost the daemon.
  const proxy = code === 'unexpected_answer' && [502, 503, 504].includes(status);
  return code === 'unreachable' || proxy;
}

export function deadlineExceeded(what: string, deadlineMs: number, cause: unknown): DmadError {
  const last = cause instanceof Error ? `; last: ${cause.message}` : '';
  const message = `${what} did not answer within ${deadlineMs} ms${last}`;
  return new DmadError({ code: 'deadline_exceeded', message, cause });
}

function queryString(query: Query | undefined): string {
  if (query === undefined) return '';
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const each of [value ?? []].flat()) parameters.append(name, String(each));
  }
  const text = parameters.toString();
  return text === '' ? '' : `?${text}`;
}

/**
 * A URL's path loses its parts `.` and `..`, escaped or not: an id or name of that kind would lead to
 * another resource.
 */
export function checkedPath(path: string): string {
  if (!/\/\.\.?(\/|$)/.test(path)) return path;
  const message = `${path}: "." and ".." are no names.`;
  throw new DmadError({ code: 'invalid_request', status: 400, message });
}
