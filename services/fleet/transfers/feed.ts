// SPDX-License-Identifier: Apache-2.0
import type { FleetStatus, FleetTransfer } from './schema.ts';

/** A change of a transfer. */
export interface FleetEvent {
  number: number;
  kind: 'progress' | 'status';
  /** Whose it is. */
  owner: string;
  document: FleetTransfer;
  subject: { id: string; finished: boolean };
}

/** Tells of changes of transfers, as this gateway hears of them. */
export class Feed {
  readonly #watchers = new Set<(event: FleetEvent) => void>();
  /** What was reported last of those that have not ended. */
  readonly #statuses = new Map<string, FleetStatus>();
  #latest = 0;

  get latest(): number {
    return this.#latest;
  }

  get watchers(): number {
    return this.#watchers.size;
  }

  /** @param finished whether nothing more will come */
  changed(owner: string, document: FleetTransfer, finished: boolean): void {
    const { id, status } = document;
    const kind = this.#statuses.get(id) === status ? 'progress' : 'status';
    if (finished) this.#statuses.delete(id);
    else this.#statuses.set(id, status);
    const event = this.eventOf(kind, owner, document, ++this.#latest);
    for (const tell of this.#watchers) tell(event);
  }

  /** How a transfer stands, as an event. */
  eventOf(
    kind: FleetEvent['kind'],
    owner: string,
    document: FleetTransfer,
    number = this.#latest,
  ): FleetEvent {
    const { id, finished_at } = document;
    return { number, kind, owner, document, subject: { id, finished: finished_at !== null } };
  }

  /** Nothing more will come of it. */
  forget(id: string): void {
    this.#statuses.delete(id);
  }

  /** @returns ends it */
  watch(tell: (event: FleetEvent) => void): () => void {
    this.#watchers.add(tell);
    return () => this.#watchers.delete(tell);
  }
}
