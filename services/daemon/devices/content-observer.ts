// SPDX-License-Identifier: Apache-2.0
import type { ContentDirection } from '../../base/vocabulary.ts';

export const CONTENT_RESULTS = ['complete', 'client_closed', 'failed'] as const;
export type ContentResult = (typeof CONTENT_RESULTS)[number];

/** Hears of uploads and downloads that have begun. */
export interface ContentObserver {
  /** @param bytes that the device has taken, or that were sent, since it last heard */
  moved(direction: ContentDirection, bytes: number): void;
  ended(direction: ContentDirection, result: ContentResult): void;
}
