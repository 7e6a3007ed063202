// SPDX-License-Identifier: Apache-2.0
import { signal } from '@preact/signals';

/** Whether what is shown stands still. */
export const paused = signal(false);

export function togglePause(): void {
  paused.value = !paused.value;
}
