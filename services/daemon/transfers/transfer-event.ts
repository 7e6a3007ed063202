// SPDX-License-Identifier: Apache-2.0

import type { EngineName } from '../../base/vocabulary.ts';
import { seesAllTransfers, type Viewer } from '../../http/access/visibility.ts';
import { basicDocumentFor, documentFor } from './document.ts';
import type { Status } from './schema.ts';
import { type Transfer, toldSegments } from './transfer.ts';

export type EventKind = 'progress' | 'status';

/**
 * How much of a transfer goes over the wire. `brief`: without the segments, which can be 4096 and
 * never change: for those that have had them. `basic`: without the timings too.
 */
export type EventForm = 'whole' | 'brief' | 'basic';

/** A change of a transfer, and the transfer as it was then. */
export class TransferEvent {
  readonly number: number;
  readonly kind: EventKind;
  readonly transfer: Transfer;
  readonly status: Status;
  readonly engine: EngineName;
  readonly #texts = new Map<string, string>();

  /** @param number events are numbered in the order in which they come */
  constructor(number: number, kind: EventKind, transfer: Transfer) {
    this.number = number;
    this.kind = kind;
    this.transfer = transfer;
    this.status = transfer.status;
    this.engine = transfer.choice.engine;
  }

  /**
   * As it goes over the wire, but for its id: made once for all who see the same of it. It shows the
   * transfer as it was when somebody first asked for the text, in whatever form.
   */
  textFor(viewer: Viewer, form: EventForm): string {
    // JSON escapes line breaks, so it is one line of data.
    return `event: ${this.kind}\ndata: ${this.#dataFor(viewer, form)}\n\n`;
  }

  #dataFor(viewer: Viewer, form: EventForm): string {
    const sight = seesAllTransfers(viewer) ? 'all' : 'own';
    const { plan } = this.transfer;
    const brief = this.#made(`${sight} brief`, () => {
      const { transfer } = this;
      const document = plan.segmented
        ? { ...basicDocumentFor(viewer, transfer), timings: transfer.timings }
        : documentFor(viewer, transfer);
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

  #made(name: string, make: () => string): string {
    const known = this.#texts.get(name);
    if (known !== undefined) return known;
    const text = make();
    this.#texts.set(name, text);
    return text;
  }
}
