// SPDX-License-Identifier: Apache-2.0
import { signal } from '@preact/signals';
import { paused } from './pause.ts';

/** The time, once a second: for what grows without an event. It stands still while the page pauses. */
export const now = signal(Date.now());

setInterval(() => {
  if (!paused.value && !document.hidden) now.value = Date.now();
}, 1000);
