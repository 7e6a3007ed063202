// SPDX-License-Identifier: Apache-2.0
import { Counter, type Registry } from 'prom-client';
import { CONTENT_DIRECTIONS, type ContentDirection } from '../../base/vocabulary.ts';
import {
  CONTENT_RESULTS,
  type ContentObserver,
  type ContentResult,
} from '../devices/content-observer.ts';

/** Counts uploads and downloads. */
export class ContentMetrics implements ContentObserver {
  readonly #bytes: Counter;
  readonly #requests: Counter;

  constructor(registers: Registry[]) {
    this.#bytes = new Counter({
      name: 'dmad_content_bytes_total',
      help: 'Bytes of devices that uploads wrote and downloads sent, of those that failed too.',
      labelNames: ['direction'],
      registers,
    });
    this.#requests = new Counter({
      name: 'dmad_content_requests_total',
      help:
        'Uploads and downloads that had begun, by how they ended: complete; client_closed: the ' +
        'client left, or its body ended early; failed: the device, the daemon or a limit ended it.',
      labelNames: ['direction', 'result'],
      registers,
    });
    // increase() does not see the first event of a series that did not exist before.
    for (const direction of CONTENT_DIRECTIONS) {
      this.#bytes.inc({ direction }, 0);
      for (const result of CONTENT_RESULTS) this.#requests.inc({ direction, result }, 0);
    }
  }

  moved(direction: ContentDirection, bytes: number): void {
    this.#bytes.inc({ direction }, bytes);
  }

  ended(direction: ContentDirection, result: ContentResult): void {
    this.#requests.inc({ direction, result });
  }
}
