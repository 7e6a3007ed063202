// SPDX-License-Identifier: Apache-2.0

import { createHash, timingSafeEqual } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { Slots } from '../../base/slots.ts';
import type { Client, ClientLimits } from './client.ts';
import { type FindDevice, Grants } from './grants.ts';
import { readTokensFile, type Token, type TokenSchema } from './tokens-file.ts';

interface Entry {
  readonly token: Token;
  readonly digest: Buffer;
  readonly client: Client;
}

/** The tokens that are in force, and whom each of them stands for. */
export class Keyring {
  readonly #path: string;
  readonly #findDevice: FindDevice;
  readonly #schema: TokenSchema | undefined;
  #entries: readonly Entry[] = [];
  /** Of every token that there has been: what was accepted of one that is gone still goes on. */
  readonly #limits = new Map<string, ClientLimits>();

  /**
   * @param schema of the file's tokens; a daemon's if absent
   * @throws Error if the tokens file cannot be used
   */
  constructor(path: string, findDevice: FindDevice, schema?: TokenSchema) {
    this.#path = path;
    this.#findDevice = findDevice;
    this.#schema = schema;
    this.reload();
  }

  get size(): number {
    return this.#entries.length;
  }

  /** Whose secret that is, if it is one. How long that takes does not tell how much of it fits. */
  find(secret: string): Client | undefined {
    const digest = createHash('sha256').update(secret).digest();
    let found: Client | undefined;
    for (const entry of this.#entries) {
      if (timingSafeEqual(entry.digest, digest)) found = entry.client;
    }
    return found;
  }

  /** What a client may take, or might last; nothing is said of those who never had a token. */
  limitsOf(name: string): ClientLimits {
    return this.#limits.get(name) ?? {};
  }

  /**
   * Reads the file again. Answers under way to tokens that are gone, or may do something else now,
   * are broken off; limits change without that.
   *
   * @throws Error if the file cannot be used; then all stays as it was
   */
  reload(): void {
    const before = new Map(this.#entries.map((entry) => [entry.token.name, entry]));
    this.#entries = readTokensFile(this.#path, this.#schema).map((token) => {
      const known = before.get(token.name);
      if (known === undefined || !maySame(known.token, token)) {
        return entryOf(token, this.#findDevice);
      }
      before.delete(token.name);
      return { ...known, token };
    });
    for (const { token } of this.#entries) this.#limits.set(token.name, limitsOf(token));
    for (const { client } of before.values()) {
      for (const answer of client.answers) answer.destroy();
    }
  }
}

/** Whether two tokens may do the same, whatever their limits. */
function maySame(a: Token, b: Token): boolean {
  return isDeepStrictEqual({ ...a, limits: undefined }, { ...b, limits: undefined });
}

function limitsOf({ limits }: Token): ClientLimits {
  const { transfers_in_flight, bytes_per_second } = limits;
  return { transfersInFlight: transfers_in_flight, bytesPerSecond: bytes_per_second };
}

function entryOf(token: Token, findDevice: FindDevice): Entry {
  const client: Client = {
    name: token.name,
    scopes: new Set(token.scopes),
    grants: token.devices && new Grants(token.devices, findDevice),
    peers: token.peers && new Set(token.peers),
    hosts: token.hosts && new Set(token.hosts),
    answers: new Slots(),
  };
  return { token, digest: Buffer.from(token.sha256, 'hex'), client };
}
