// SPDX-License-Identifier: Apache-2.0
import type { FastifyBaseLogger } from 'fastify';
import { isLoopback } from '../../base/host-address.ts';
import { StartError } from '../../base/start-error.ts';
import { type Peer, readPeersFile } from './peers-file.ts';

/** The daemons that this one may read from, by name. It connects to nothing else. */
export class Peers {
  readonly #file: string | undefined;
  readonly #log: FastifyBaseLogger;
  #peers = new Map<string, Peer>();

  /** @param file undefined if there are no peers @throws StartError configuration if it cannot be used */
  constructor(file: string | undefined, log: FastifyBaseLogger) {
    this.#file = file;
    this.#log = log;
    if (file === undefined) return;
    try {
      this.reload();
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      const why = code === 'ENOENT' ? 'there is no such file' : message;
      throw new StartError('configuration', `DMAD_PEERS_FILE ${file}: ${why}`);
    }
    log.info({ peers: [...this.#peers.keys()] }, 'peers are configured');
  }

  /** Whether there is a file to read again. */
  get configured(): boolean {
    return this.#file !== undefined;
  }

  /**
   * Loads the client if there may be peers, so that no replication waits for it. Loading takes a tenth of the
   * daemon's start, and most daemons have no peers.
   */
  async loadClient(): Promise<void> {
    if (this.configured) await import('../../client/node.ts');
  }

  find(name: string): Peer | undefined {
    return this.#peers.get(name);
  }

  /** Reads the file again. @throws Error if it cannot be used; then the peers stay as they were */
  reload(): void {
    if (this.#file === undefined) return;
    const peers = readPeersFile(this.#file);
    this.#peers = new Map(peers.map((peer) => [peer.name, peer]));
    for (const { name, url, token } of peers) {
      const { protocol, hostname } = new URL(url);
      if (protocol === 'https:' || isLoopback(hostname)) continue;
      const what = token === undefined ? 'bytes go' : 'its token and bytes go';
      this.#log.warn(`peer ${name}: ${what} over the network in clear: give it an https:// URL`);
    }
  }
}
