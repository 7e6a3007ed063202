// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises';
import type { ByteRange } from '../../base/byte-range.ts';
import { type ConnectedClient, connect, DmadError } from '../../client/node.ts';
import { Problem } from '../../http/problems/problem.ts';
import type { Loan } from './fetch-buffers.ts';
import type { Peer } from './peers-file.ts';

const DIGEST_SIZE = 32;
const FIRST_BACKOFF_MS = 250;
const MAX_BACKOFF_MS = 8000;
/** A peer cannot have itself left alone for longer than this, in milliseconds. */
const MAX_RETRY_AFTER_MS = 60_000;

/** How slow a peer may be before its connection counts as lost. */
export interface Patience {
  /** Without a byte, in milliseconds: the digest of 1 GiB may take some seconds on a busy host. */
  silenceMs: number;
  /** In so many milliseconds at least so many bytes must come, or the end. */
  windowMs: number;
  windowBytes: number;
}

/** What a replication keeps of a peer's words, in characters. */
const MAX_WHY = 500;

const PATIENCE: Patience = { silenceMs: 30_000, windowMs: 60_000, windowBytes: 65_536 };

export interface PeerLinkOptions {
  name: string;
  /** The peer as it is configured now. */
  find(): Peer | undefined;
  /** Go with each request. */
  headers?: Readonly<Record<string, string>> | undefined;
  /** Ends all that waits. */
  signal: AbortSignal;
  /** Hears of bytes of answers. */
  received(bytes: number): void;
  /** The peer stopped answering, or answers again. */
  changed(): void;
  patience?: Patience;
}

/** Since when the peer does not answer, and why. */
export interface Away {
  sinceMs: number;
  why: string;
}

/**
 * What a replication asks of its peer. What fails because the peer is away is asked again, for as
 * long as the signal lets it; what the peer refuses is a problem.
 */
export class PeerLink {
  readonly #options: PeerLinkOptions;
  readonly #patience: Patience;
  #peer: Peer | undefined;
  #client: ConnectedClient | undefined;
  #away: Away | undefined;
  /** Whether the peer, as it is configured now, has ever answered. */
  #answered = false;

  constructor(options: PeerLinkOptions) {
    this.#options = options;
    this.#patience = options.patience ?? PATIENCE;
  }

  /** Undefined while it answers. */
  get away(): Away | undefined {
    return this.#away;
  }

  /**
   * The SHA-256 of each block of a range, one behind the other.
   *
   * @throws Problem peer_refused, peer_unreachable; or the signal's reason
   */
  async digests(device: string, range: ByteRange, blockSize: number): Promise<Uint8Array> {
    const size = DIGEST_SIZE * Math.ceil(range.size / blockSize);
    const digests = new Uint8Array(size);
    let at = 0;
    return this.#persist(async (client, guard) => {
      // What a lost connection brought stays: a slow peer may not get through it in one.
      const done = (at / DIGEST_SIZE) * blockSize;
      const rest = { offset: range.offset + done, size: range.size - done };
      if (rest.size <= 0) return digests;
      const options = { ...rest, blockSize, signal: guard.signal };
      for await (const digest of client.blockDigests(device, options)) {
        if (at === size) throw lie(`it sends more digests of ${device} than there are blocks`);
        digests.set(digest, at);
        at += digest.length;
        guard.received(digest.length, blockSize);
      }
      if (at < size) throw lie(`it sends fewer digests of ${device} than there are blocks`);
      return digests;
    });
  }

  /**
   * Fetches a device's bytes. What a lost connection brought stays, for the caller proves all of it;
   * but while the peer answers nothing, no memory is held for it.
   *
   * @param borrow lends memory for them
   * @returns that memory, which the caller gives back
   * @throws as {@link digests}
   */
  async content(
    device: string,
    { offset, size }: ByteRange,
    borrow: () => Promise<Loan>,
  ): Promise<Loan> {
    const fetched: { loan?: Loan | undefined; bytes: number } = { bytes: 0 };
    const giveBack = () => {
      fetched.loan?.end();
      fetched.loan = undefined;
      fetched.bytes = 0;
    };
    const prepare = async () => {
      fetched.loan ??= await borrow();
    };
    const attempt = async (client: ConnectedClient, guard: Guard) => {
      const loan = fetched.loan as Loan;
      if (fetched.bytes === size) return loan;
      const range = { offset: offset + fetched.bytes, size: size - fetched.bytes };
      const { stream } = await client.readContent(device, { ...range, signal: guard.signal });
      for await (const chunk of stream) {
        if (chunk.length > size - fetched.bytes) {
          throw lie(`it sends more of ${device} than asked`);
        }
        loan.memory.set(chunk, fetched.bytes);
        fetched.bytes += chunk.length;
        guard.received(chunk.length);
      }
      if (fetched.bytes < size) throw new PeerAway('the answer was cut short');
      return loan;
    };
    try {
      return await this.#persist(attempt, prepare, giveBack);
    } catch (error) {
      giveBack();
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.#client?.destroy();
  }

  /**
   * @param prepare is waited for before each attempt
   * @param idle is called after each attempt that brought nothing
   */
  async #persist<Result>(
    attempt: (client: ConnectedClient, guard: Guard) => Promise<Result>,
    prepare: () => Promise<void> = async () => {},
    idle: () => void = () => {},
  ): Promise<Result> {
    const { signal, received } = this.#options;
    for (let failures = 0; ; failures++) {
      signal.throwIfAborted();
      await prepare();
      let fetched = 0;
      const guard = new Guard(this.#patience, signal, (bytes, told) => {
        received(bytes);
        fetched += told;
        // A few bytes are no sign that it is back.
        if (fetched < this.#patience.windowBytes) return;
        failures = 0;
        this.#answers();
      });
      try {
        const client = this.#connect();
        const result = await attempt(client, guard);
        this.#answers();
        return result;
      } catch (error) {
        signal.throwIfAborted();
        const { name } = this.#options;
        const fault = guard.signal.aborted
          ? away(guard.signal.reason)
          : faultOf(error, this.#answered);
        if (fault.is === 'refused') {
          throw new Problem('peer_refused', `The peer ${name} refused: ${fault.why}`);
        }
        if (fault.is === 'untrusted') throw untrusted(name, fault.why);
        this.#noteAway(fault.why);
        if (fetched === 0) idle();
        const backoff = Math.min(FIRST_BACKOFF_MS * 2 ** failures, MAX_BACKOFF_MS);
        const ms = backoff * (0.5 + Math.random() / 2) + fault.retryAfterMs;
        await sleep(ms, undefined, { signal }).catch(() => {});
      } finally {
        guard.close();
      }
    }
  }

  /** A client of the peer as it is configured now. @throws PeerAway if it is not any more */
  #connect(): ConnectedClient {
    const peer = this.#options.find();
    if (peer !== this.#peer) {
      void this.#client?.destroy();
      this.#client = undefined;
      this.#answered = false;
    }
    this.#peer = peer;
    if (peer === undefined) throw new PeerAway('it is not in DMAD_PEERS_FILE any more');
    const { url, token, tls } = peer;
    // This asks again by itself, and tells of it.
    this.#client ??= connect({ url, token, tls, headers: this.#options.headers, retryForMs: 0 });
    return this.#client;
  }

  #answers(): void {
    this.#answered = true;
    if (this.#away === undefined) return;
    this.#away = undefined;
    this.#options.changed();
  }

  #noteAway(why: string): void {
    const before = this.#away;
    this.#away = { sinceMs: before?.sinceMs ?? Date.now(), why };
    if (before?.why !== why) this.#options.changed();
  }
}

/** It may answer later. */
class PeerAway extends Error {
  override readonly name = 'PeerAway';
}

/** Ends a request whose answer comes too slowly. */
class Guard {
  readonly #patience: Patience;
  readonly #received: (bytes: number, told: number) => void;
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal;
  readonly #follow = () => this.#controller.abort(this.#outer.reason);
  #silence: NodeJS.Timeout;
  readonly #window: NodeJS.Timeout;
  #bytes = 0;

  constructor(
    patience: Patience,
    outer: AbortSignal,
    received: (bytes: number, told: number) => void,
  ) {
    this.#patience = patience;
    this.#received = received;
    this.#outer = outer;
    outer.addEventListener('abort', this.#follow);
    this.#silence = this.#watchSilence();
    const { windowMs, windowBytes } = patience;
    this.#window = setInterval(() => {
      if (this.#bytes < windowBytes) this.#giveUp(`it sent ${this.#bytes} bytes in ${windowMs} ms`);
      this.#bytes = 0;
    }, windowMs);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** @param told of how many of the device's bytes these tell: of those must come enough */
  received(bytes: number, told = bytes): void {
    this.#bytes += told;
    this.#silence.refresh();
    this.#received(bytes, told);
  }

  close(): void {
    clearTimeout(this.#silence);
    clearInterval(this.#window);
    this.#outer.removeEventListener('abort', this.#follow);
    this.#controller.abort();
  }

  #watchSilence(): NodeJS.Timeout {
    const { silenceMs } = this.#patience;
    return setTimeout(() => this.#giveUp(`it sent nothing for ${silenceMs} ms`), silenceMs);
  }

  #giveUp(why: string): void {
    this.#controller.abort(new Error(why));
  }
}

type Fault =
  | { is: 'away'; why: string; retryAfterMs: number }
  /** It answered, and another attempt would be answered the same. */
  | { is: 'refused'; why: string }
  /** It is not who it should be, or does not take this daemon for who it is. */
  | { is: 'untrusted'; why: string };

/** Statuses of a peer, or of a proxy before it, that may be over soon. */
const PASSING = [408, 429, 500, 502, 503, 504];
/** Codes of OpenSSL's and Node's that are about certificates. */
const UNTRUSTED = /CERT|UNABLE_TO_|SELF_SIGNED/;
/** About TLS as such: settings that do not fit, or a connection that was cut in its handshake. */
const TLS = /^ERR_TLS_|^ERR_SSL_|^EPROTO$/;

function away(error: Error, retryAfterMs = 0): Fault {
  return { is: 'away', why: error.message.slice(0, MAX_WHY), retryAfterMs };
}

/** @param known whether the peer has answered this daemon before, so that their settings fit */
function faultOf(error: unknown, known: boolean): Fault {
  if (error instanceof PeerAway) return away(error);
  // A fault of this daemon's own: to try again would hide it.
  if (!(error instanceof DmadError)) throw error;
  const { code, status, message, retryAfterMs = 0 } = error;
  if (code === 'unreachable' || code === 'deadline_exceeded') {
    const codes = codesOf(error);
    const tls = codes.find((each) => UNTRUSTED.test(each) || (!known && TLS.test(each)));
    return tls === undefined
      ? away(error)
      : { is: 'untrusted', why: `${message.slice(0, MAX_WHY)} (${tls})` };
  }
  // Bad memory stays bad, whatever the status says.
  if (PASSING.includes(status) && code !== 'media_error') {
    return away(error, Math.min(retryAfterMs, MAX_RETRY_AFTER_MS));
  }
  const answered = status === 0 ? '' : `${status} `;
  return { is: 'refused', why: `${answered}${code}: ${message}`.slice(0, MAX_WHY) };
}

function codesOf(error: Error): string[] {
  const codes: string[] = [];
  for (let one: unknown = error; typeof one === 'object' && one !== null; ) {
    const { code, cause } = one as NodeJS.ErrnoException;
    if (typeof code === 'string') codes.push(code);
    one = cause;
  }
  return codes;
}

function lie(message: string): DmadError {
  return new DmadError({ code: 'unexpected_answer', message });
}

function untrusted(name: string, why: string): Problem {
  const detail = `No trusted connection to the peer ${name}: ${why}. Check ca, cert and key in DMAD_PEERS_FILE.`;
  return new Problem('peer_unreachable', detail);
}
