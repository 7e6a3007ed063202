// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises';
import type { ByteRange } from '../../base/byte-range.ts';
import { DIGEST_SIZE } from '../../base/digest.ts';
import { INSTANCE_HEADER } from '../../base/instance.ts';
import type { ConnectedClient } from '../../client/node.ts';
import type { TransportOptions } from '../../client/transport.ts';
import { Problem } from '../../http/problems/problem.ts';
import type { Engine } from '../engines/engine.ts';
import { ContentReceiver } from './content-receiver.ts';
import type { Loan } from './fetch-buffers.ts';
import { Guard, PATIENCE, type Patience } from './guard.ts';
import { away, faultOf, itself, lie, PeerAway, untrusted } from './peer-fault.ts';
import type { Peer } from './peers-file.ts';

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
  engine: Engine;
  /** Content of at least this size is received past Node, in bytes. */
  pastNodeFrom: number;
}

/** The connections to a peer, as it is configured now. */
interface Connection {
  client: ConnectedClient;
  /** Undefined over TLS. */
  receiver: ContentReceiver | undefined;
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
  #connection: Connection | undefined;
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
    return this.#persist(async ({ client }, guard) => {
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
    const attempt = async ({ client, receiver }: Connection, guard: Guard) => {
      const loan = fetched.loan as Loan;
      const rest = () => ({
        ...{ offset: offset + fetched.bytes, size: size - fetched.bytes },
        memory: loan.memory.subarray(fetched.bytes, size),
        signal: guard.signal,
        onBytes: (count: number) => {
          fetched.bytes += count;
          guard.received(count);
        },
      });
      if (receiver?.takes(size - fetched.bytes)) await receiver.read(device, rest());
      if (fetched.bytes < size) await client.readInto(device, rest());
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
    this.#connection?.receiver?.close();
    await this.#connection?.client.destroy();
  }

  /**
   * @param prepare is waited for before each attempt
   * @param idle is called after each attempt that received nothing
   */
  async #persist<Result>(
    attempt: (connection: Connection, guard: Guard) => Promise<Result>,
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
        const connection = await this.#connect();
        const result = await attempt(connection, guard);
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

  /** @throws PeerAway if the peer is no longer configured */
  async #connect(): Promise<Connection> {
    // See Peers.loadClient().
    const { connect } = await import('../../client/node.ts');
    const { headers, instance, find, engine, pastNodeFrom } = this.#options;
    const peer = find();
    if (peer !== this.#peer) {
      void this.close();
      this.#connection = undefined;
      this.#answered = false;
    }
    this.#peer = peer;
    if (peer === undefined) throw new PeerAway('it is not in DMAD_PEERS_FILE any more');
    if (this.#connection !== undefined) return this.#connection;
    const { url, token, tls } = peer;
    const transport: TransportOptions = {
      ...{ url, token },
      headers: { ...headers, [INSTANCE_HEADER]: instance },
      onAnswer: (answered) => this.#refuseSelf(answered),
    };
    const isPlain = url.startsWith('http:');
    this.#connection = {
      // Retries are made here, where they are reported.
      client: connect({ ...transport, tls, retryForMs: 0 }),
      receiver: isPlain ? new ContentReceiver(transport, engine, pastNodeFrom) : undefined,
    };
    return this.#connection;
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
