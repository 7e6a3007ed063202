// SPDX-License-Identifier: Apache-2.0
import { seesAllTransfers, type Viewer } from '../../http/access/visibility.ts';
import {
  type EventForm,
  type EventKind,
  eventText,
  type FeedEvent,
} from '../transfers/feed-event.ts';
import type { WorkFilter } from '../transfers/filter.ts';
import type { Status } from '../transfers/schema.ts';
import type { Replication } from './replication.ts';

/** The approximate size of its document in memory, in characters. */
const DOCUMENT_SIZE = 1024;

/** A change of a replication. */
export class ReplicationEvent implements FeedEvent {
  readonly number: number;
  readonly kind: EventKind;
  readonly subject: Replication;
  readonly size = DOCUMENT_SIZE;
  readonly #status: Status;
  readonly #texts = new Map<boolean, string>();

  constructor(number: number, kind: EventKind, replication: Replication) {
    this.number = number;
    this.kind = kind;
    this.subject = replication;
    this.#status = replication.status;
  }

  /** Such events are rare, so that making their data in advance costs little. */
  keepFor(viewer: Viewer): void {
    this.dataFor(viewer, 'brief');
  }

  /** Clients that know only transfers ignore events of these names. */
  textFor(viewer: Viewer, form: EventForm): string {
    return eventText(`replication_${this.kind}`, this.dataFor(viewer, form));
  }

  /** All forms are the same. */
  dataFor(viewer: Viewer, _form: EventForm): string {
    const sight = seesAllTransfers(viewer);
    const text = this.#texts.get(sight) ?? JSON.stringify(this.subject.documentFor(viewer));
    this.#texts.set(sight, text);
    return text;
  }

  matches(filter: WorkFilter): boolean {
    const { accepted, settings, deviceNames } = this.subject;
    return filter.hasOther({
      status: this.#status,
      accepted,
      labels: settings.labels,
      deviceNames,
    });
  }

  hiddenBefore(): boolean {
    return false;
  }
}
