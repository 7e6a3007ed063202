// SPDX-License-Identifier: Apache-2.0

import type { EngineName } from '../../base/vocabulary.ts';
import { seesAllTransfers, type Viewer } from '../../http/access/visibility.ts';
import { basicDocumentFor, documentFor } from './document.ts';
import { type EventForm, type EventKind, eventText, type FeedEvent } from './feed-event.ts';
import type { WorkFilter } from './filter.ts';
import type { Status } from './schema.ts';
import { type Transfer, toldSegments } from './transfer.ts';

/** What a segment takes in memory, about, in characters of text. */
const SEGMENT_SIZE = 64;

/** A change of a transfer. */
export class TransferEvent implements FeedEvent {
  readonly number: number;
  readonly kind: EventKind;
  readonly subject: Transfer;
  readonly #status: Status;
  readonly #engine: EngineName;
  readonly #texts = new Map<string, string>();

  constructor(number: number, kind: EventKind, transfer: Transfer) {
    this.number = number;
    this.kind = kind;
    this.subject = transfer;
    this.#status = transfer.status;
    this.#engine = transfer.choice.engine;
  }

  /** An event keeps its transfer, with all its segments. */
  get extraSize(): number {
    return this.subject.plan.segments.length * SEGMENT_SIZE;
  }

  textFor(viewer: Viewer, form: EventForm): string {
    return eventText(this.kind, this.dataFor(viewer, form));
  }

  dataFor(viewer: Viewer, form: EventForm): string {
    const sight = seesAllTransfers(viewer) ? 'all' : 'own';
    const { plan } = this.subject;
    const brief = this.#made(`${sight} brief`, () => {
      const { subject } = this;
      const document = plan.segmented
        ? { ...basicDocumentFor(viewer, subject), timings: subject.timings }
        : documentFor(viewer, subject);
      // It escapes line breaks.
      return JSON.stringify(document);
    });
    if (form === 'basic') {
      return this.#made(`${sight} basic`, () => {
        const { segments, timings, ...basic } = JSON.parse(brief);
        return JSON.stringify(basic);
      });
    }
    if (form === 'brief' || !plan.segmented) return brief;
    // Not kept: it can be 200 KB, and histories keep their events.
    return JSON.stringify({ ...JSON.parse(brief), segments: toldSegments(plan) });
  }

  matches(filter: WorkFilter): boolean {
    return filter.hasTransfer(this.subject, { status: this.#status, engine: this.#engine });
  }

  /** Before it started, another engine was to copy it. */
  hiddenBefore({ engine }: WorkFilter): boolean {
    const { runningEvent, plan } = this.subject;
    return (
      engine !== undefined && this.number === runningEvent && this.#engine !== plan.choice.engine
    );
  }

  #made(name: string, make: () => string): string {
    const known = this.#texts.get(name);
    if (known !== undefined) return known;
    const text = make();
    this.#texts.set(name, text);
    return text;
  }
}
