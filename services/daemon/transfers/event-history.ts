// SPDX-License-Identifier: Apache-2.0
import type { Viewer } from '../../http/access/visibility.ts';
import { Fifo } from '../order/fifo.ts';
import type { FeedEvent } from './feed-event.ts';

/** What is kept for one audience. */
const MAX_EVENTS = 1000;

/**
 * The latest changes of status that an audience has received, for those of it that lost their
 * connection. Progress is not kept: what comes later makes up for it.
 */
export class EventHistory {
  readonly #events = new Fifo<FeedEvent>();
  readonly #viewer: Viewer;
  readonly #maxCharacters: () => number;
  #characters = 0;
  /** The number up to which events may be missing. */
  #missingUpTo: number;

  /**
   * @param viewer one of the audience, who all see the same
   * @param missingUpTo the number of the last event that was published before
   * @param maxCharacters how much may be kept, now
   */
  constructor(viewer: Viewer, missingUpTo: number, maxCharacters: () => number) {
    this.#viewer = viewer;
    this.#missingUpTo = missingUpTo;
    this.#maxCharacters = maxCharacters;
  }

  add(event: FeedEvent): void {
    this.#events.add(event);
    event.keepFor(this.#viewer);
    this.#characters += event.size;
    while (this.#events.size > MAX_EVENTS || this.#characters > this.#maxCharacters()) {
      this.#forgetFirst();
    }
  }

  /** @returns what came behind the event with that number; undefined if some of it is missing */
  after(number: number): FeedEvent[] | undefined {
    if (number < this.#missingUpTo) return undefined;
    return [...this.#events].filter((event) => event.number > number);
  }

  #forgetFirst(): void {
    const first = this.#events.first as FeedEvent;
    this.#events.delete(first);
    this.#characters -= first.size;
    this.#missingUpTo = first.number;
  }
}
