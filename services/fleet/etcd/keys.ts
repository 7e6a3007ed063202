// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto';
import { prefixEnd, type Range } from './store.ts';

/**
 * Where what is in etcd. Keys of transfers sort newest first, since etcd reads a few of many keys
 * quickly only in ascending order.
 */
export class Keys {
  readonly #prefix: string;

  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  /** That somebody wants a transfer stopped. */
  cancel(id: string): string {
    return `${this.#prefix}cancels/${id}`;
  }
  /** What a client has changed of a transfer, and its host does not know yet. */
  change(id: string): string {
    return `${this.#prefix}changes/${id}`;
  }
  /** A transfer that has ended. */
  ended(id: string): string {
    return `${this.#prefix}ended/${reversed(id)}`;
  }
  /** A gateway that lives. */
  gateway(id: string): string {
    return `${this.#prefix}gateways/${id}`;
  }
  host(name: string): string {
    return `${this.#prefix}hosts/${name}`;
  }
  /** That a host is being removed: nothing is accepted for it. */
  leaving(host: string): string {
    return `${this.#prefix}leaving/${host}`;
  }
  /** The gateway that hands a host its transfers. */
  owner(host: string): string {
    return `${this.#prefix}owners/${host}`;
  }
  /** What a gateway saw of a host. */
  seen(host: string): string {
    return `${this.#prefix}seen/${host}`;
  }
  /** A transfer that has not ended. */
  transfer(id: string): string {
    return `${this.#prefix}transfers/${reversed(id)}`;
  }
  /** An Idempotency-Key, of one client. It sorts behind what is {@link watched}. */
  used(client: string, key: string): string {
    const digest = createHash('sha256').update(`${client}\0${key}`).digest('hex');
    return `${this.#prefix}used-keys/${digest}`;
  }

  /** All that every gateway keeps in memory, and the ends of transfers. */
  get watched(): Range {
    return { from: `${this.#prefix}cancels/`, to: `${this.#prefix}transfers0` };
  }

  /** All keys of one kind. */
  all(kind: Kind): Range {
    const from = `${this.#prefix}${kind}/`;
    return { from, to: prefixEnd(from) };
  }

  /** Transfers older than one, newest first. @param id undefined for all */
  olderThan(kind: 'ended' | 'transfers', id: string | undefined, limit: number): Range {
    const { from, to } = this.all(kind);
    return { from: id === undefined ? from : `${from}${reversed(id)}\0`, to, limit };
  }

  /** What a key is about; undefined if it is none of the gateways'. */
  parse(key: string): { kind: Kind; name: string } | undefined {
    const [kind = '', name] = key.slice(this.#prefix.length).split('/', 2);
    if (!key.startsWith(this.#prefix) || name === undefined || !isKind(kind)) return undefined;
    return { kind, name: REVERSED.includes(kind) ? reversed(name) : name };
  }
}

export const KINDS = [
  ...(['cancels', 'changes', 'ended', 'gateways', 'hosts', 'owners', 'seen'] as const),
  'transfers',
] as const;
export type Kind = (typeof KINDS)[number];
const REVERSED: readonly Kind[] = ['ended', 'transfers'];

function isKind(text: string): text is Kind {
  return (KINDS as readonly string[]).includes(text);
}

const DIGITS = [...'0123456789abcdef'];
const REVERSE: ReadonlyMap<string, string> = new Map(
  DIGITS.map((digit, index) => [digit, DIGITS[DIGITS.length - 1 - index] as string]),
);

/** The same id with each hex digit subtracted from 15; twice is the id again. */
function reversed(id: string): string {
  let text = '';
  // Each change in etcd has it done: by a regular expression it takes three times as long.
  for (const digit of id) text += REVERSE.get(digit) ?? digit;
  return text;
}
