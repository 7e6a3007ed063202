// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from 'node:crypto';

const ID = /^([0-9a-f]{12})-([0-9]{1,15})(-incomplete)?$/;

/**
 * What a client has received, by its Last-Event-ID. `everything`: all events up to that number;
 * `lost`: it cannot be told from here, because another daemon gave the id or because a snapshot was
 * cut short; `unreadable`: no daemon gives such an id; undefined: the client sent none.
 */
export type Received =
  | { is: 'everything'; upTo: number }
  | { is: 'lost' }
  | { is: 'unreadable' }
  | undefined;

/** Ids of events as clients send them back: a daemon knows its own from those of another one. */
export class EventIds {
  readonly #daemon = randomBytes(6).toString('hex');

  /** @param complete whether a stream with this event has brought all that came before it */
  format(number: number, complete = true): string {
    return `${this.#daemon}-${number}${complete ? '' : '-incomplete'}`;
  }

  /** @param header the value of Last-Event-ID; empty is none, as in an EventSource */
  parse(header: string | undefined): Received {
    if (header === undefined || header === '') return undefined;
    const [, daemon, number, incomplete] = ID.exec(header) ?? [];
    if (daemon === undefined) return { is: 'unreadable' };
    if (daemon !== this.#daemon || incomplete !== undefined) return { is: 'lost' };
    return { is: 'everything', upTo: Number(number) };
  }
}
