// SPDX-License-Identifier: Apache-2.0
import type { Viewer } from '../../http/access/visibility.ts';
import type { WorkFilter } from './filter.ts';
import type { Status } from './schema.ts';

export type EventKind = 'progress' | 'status';

/**
 * How much of a transfer goes over the wire. `brief`: without the segments, which can be 4096 and
 * never change: for those that have had them. `basic`: without the timings too.
 */
export type EventForm = 'whole' | 'brief' | 'basic';

/** What events are about: a transfer or a replication. */
export interface Subject {
  readonly id: string;
  readonly origin: { readonly client: string };
  readonly status: Status;
  readonly finished: boolean;
  /** Numbers of events: that it was accepted, that it runs, its latest status; 0: none yet. */
  acceptedEvent: number;
  runningEvent: number;
  latestEvent: number;
}

/** A change of a subject, and the subject as it was then. */
export interface FeedEvent {
  /** Events are numbered in the order in which they come. */
  readonly number: number;
  readonly kind: EventKind;
  readonly subject: Subject;
  /** What it takes in memory, about, in characters. */
  readonly size: number;
  /**
   * Keeps how the subject stands now, for somebody who may ask for its data later. It costs a part of what
   * the data costs, which mostly nobody asks for.
   */
  keepFor(viewer: Viewer): void;
  /**
   * Its data, one line of JSON, made once for all who see the same of it. It shows the subject as it was
   * when it was kept, or when somebody first asked for it, in whatever form.
   */
  dataFor(viewer: Viewer, form: EventForm): string;
  /** As it goes over the wire in a stream of all subjects, but for its id. */
  textFor(viewer: Viewer, form: EventForm): string;
  matches(filter: WorkFilter): boolean;
  /** Whether the filter hides earlier events of its subject for another reason than their status. */
  hiddenBefore(filter: WorkFilter): boolean;
}

/** An event as it goes over the wire. @param data without line breaks */
export function eventText(name: string, data: string): string {
  return `event: ${name}\ndata: ${data}\n\n`;
}
