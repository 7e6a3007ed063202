// SPDX-License-Identifier: Apache-2.0
import { signal } from '@preact/signals';
import { messageOf } from './api.ts';

const SHOWN_MS = 8000;

/** What has just gone wrong, or right. */
export const notice = signal<{ text: string; wrong: boolean } | undefined>(undefined);

let timer: ReturnType<typeof setTimeout> | undefined;

export function say(text: string, wrong = false): void {
  notice.value = { text, wrong };
  clearTimeout(timer);
  timer = setTimeout(dismiss, SHOWN_MS);
}

export function dismiss(): void {
  notice.value = undefined;
}

/** Runs what somebody asked for, and says what went wrong. */
export async function attempt(action: () => Promise<unknown>): Promise<void> {
  try {
    await action();
  } catch (error) {
    say(messageOf(error), true);
  }
}
