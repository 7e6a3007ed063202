// SPDX-License-Identifier: Apache-2.0

import type { EngineName } from '../../base/vocabulary.ts';
import { seesAllTransfers, type Viewer } from '../../http/access/visibility.ts';
import { basicDocumentFor, documentFor, shownSegments } from './document.ts';
import { type EventForm, type EventKind, eventText, type FeedEvent } from './feed-event.ts';
import type { WorkFilter } from './filter.ts';
import type { Status } from './schema.ts';
import type { Transfer } from './transfer.ts';

/** What a document takes in memory, about, in characters, without labels; and a segment, a label, an id. */
const DOCUMENT_SIZE = 960;
const SEGMENT_SIZE = 64;
const LABEL_SIZE = 384;
const ID_SIZE = 96;

/** A change of a transfer. */
export class TransferEvent implements FeedEvent {
  readonly number: number;
  readonly kind: EventKind;
  readonly subject: Transfer;
  readonly #status: Status;
  readonly #engine: EngineName;
  readonly size: number;
  readonly #texts = new Map<string, string>();
  /** What was kept, until its text is made. */
  readonly #documents = new Map<Sight, object>();

  constructor(number: number, kind: EventKind, transfer: Transfer) {
    this.number = number;
    this.kind = kind;
    this.subject = transfer;
    this.#status = transfer.status;
    this.#engine = transfer.choice.engine;
    // An event keeps its transfer, with all its segments.
    const { plan, settings, error } = transfer;
    const labels = Object.keys(settings.labels).length * LABEL_SIZE;
    const ids = plan.dependsOn.length * ID_SIZE;
    const segments = plan.segments.length * SEGMENT_SIZE;
    this.size = DOCUMENT_SIZE + segments + labels + ids + (error?.message.length ?? 0);
  }

  keepFor(viewer: Viewer): void {
    const sight = sightOf(viewer);
    // What has finished changes no more.
    if (this.subject.finished || this.#texts.has(`${sight} brief`)) return;
    this.#documents.set(sight, this.#documentFor(viewer));
  }

  textFor(viewer: Viewer, form: EventForm): string {
    return eventText(this.kind, this.dataFor(viewer, form));
  }

  dataFor(viewer: Viewer, form: EventForm): string {
    const sight = sightOf(viewer);
    const { plan } = this.subject;
    const brief = this.#made(`${sight} brief`, () => {
      const document = this.#documents.get(sight) ?? this.#documentFor(viewer);
      this.#documents.delete(sight);
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
    return JSON.stringify({ ...JSON.parse(brief), segments: shownSegments(plan) });
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

  /** Without segments, if there are some. */
  #documentFor(viewer: Viewer): object {
    const { subject } = this;
    return subject.plan.segmented
      ? { ...basicDocumentFor(viewer, subject), timings: subject.timings }
      : documentFor(viewer, subject);
  }

  #made(name: string, make: () => string): string {
    const known = this.#texts.get(name);
    if (known !== undefined) return known;
    const text = make();
    this.#texts.set(name, text);
    return text;
  }
}

/** How much of a transfer somebody sees. */
type Sight = 'all' | 'own';

function sightOf(viewer: Viewer): Sight {
  return seesAllTransfers(viewer) ? 'all' : 'own';
}
