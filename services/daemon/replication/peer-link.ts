// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises';
import type { ByteRange } from '../../base/byte-range.ts';
import { INSTANCE_HEADER } from '../../base/instance.ts';
import type { ConnectedClient } from '../../client/node.ts';
import { Problem } from '../../http/problems/problem.ts';
import type { Loan } from './fetch-buffers.ts';
import { Guard, PATIENCE, type Patience } from './guard.ts';
import { away, faultOf, itself, lie, PeerAway, untrusted } from './peer-fault.ts';
import type { Peer } from './peers-file.ts';

const DIGEST_SIZE = 32;
const FIRST_BACKOFF_MS = 250;
const MAX_BACKOFF_MS = 8000;

export interface PeerLinkOptions {
  name: string;
  /** What this daemon calls itself: a peer of that name is refused. */
  instance: string;
  /** The peer as it is configured now. */
  find(): Peer | undefined;
  /** Sent with each request. */
  headers?: Readonly<Record<string, string>> | undefined;
  /** Ends all requests and waits. */
  signal: AbortSignal;
  /** Called with the size of each piece of an answer's body. */
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
 * A replication's requests to its peer. One that fails because the peer is away is repeated until the signal
 * aborts; one that the peer refuses is a problem.
 */
export class PeerLink {
  readonly #options: PeerLinkOptions;
  readonly #patience: Patience;
  #peer: Peer | undefined;
  #client: ConnectedClient | undefined;
  #away: Away | undefined;
  /** Whether it has turned out to be this daemon itself. */
  #isSelf = false;
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
   * The SHA-256 of each block of a range, concatenated.
   *
   * @throws Problem peer_refused, peer_unreachable; or the signal's reason
   */
  async digests(device: string, range: ByteRange, blockSize: number): Promise<Uint8Array> {
    const size = DIGEST_SIZE * Math.ceil(range.size / blockSize);
    const digests = new Uint8Array(size);
    let at = 0;
    return this.#persist(async (client, guard) => {
      // Digests from before a lost connection are kept: a slow peer may never send all in one connection.
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
   * Fetches a device's bytes. Bytes from before a lost connection are kept, because the caller proves all of
   * them; but no memory is held while the peer answers nothing.
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
      const { bytes } = fetched;
      await client.readInto(device, {
        ...{ offset: offset + bytes, size: size - bytes },
        memory: loan.memory.subarray(bytes, size),
        signal: guard.signal,
        onBytes: (count) => {
          fetched.bytes += count;
          guard.received(count);
        },
      });
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
   * @param idle is called after each attempt that received nothing
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
      const guard = new Guard(this.#patience, signal, (bytes, covered) => {
        received(bytes);
        fetched += covered;
        // A few bytes do not show that it is back.
        if (fetched < this.#patience.windowBytes) return;
        failures = 0;
        this.#answers();
      });
      try {
        const client = await this.#connect();
        const result = await attempt(client, guard);
        this.#answers();
        return result;
      } catch (error) {
        signal.throwIfAborted();
        const { name } = this.#options;
        if (this.#isSelf) throw itself(name);
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

  /** A client of the peer as it is configured now. @throws PeerAway if it no longer is */
  async #connect(): Promise<ConnectedClient> {
    // See Peers.loadClient().
    const { connect } = await import('../../client/node.ts');
    const peer = this.#options.find();
    if (peer !== this.#peer) {
      void this.#client?.destroy();
      this.#client = undefined;
      this.#answered = false;
    }
    this.#peer = peer;
    if (peer === undefined) throw new PeerAway('it is not in DMAD_PEERS_FILE any more');
    const { url, token, tls } = peer;
    // Retries are made here, where they are reported.
    this.#client ??= connect({
      ...{ url, token, tls, retryForMs: 0 },
      headers: { ...this.#options.headers, [INSTANCE_HEADER]: this.#options.instance },
      onAnswer: (headers) => this.#refuseSelf(headers),
    });
    return this.#client;
  }

  /** As its own peer, the daemon would read with its own token what the client may not read. */
  #refuseSelf(headers: Pick<Headers, 'get'>): void {
    this.#isSelf = headers.get(INSTANCE_HEADER) === this.#options.instance;
    if (this.#isSelf) throw lie('it is this daemon itself');
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
