// SPDX-License-Identifier: Apache-2.0
import { signal } from '@preact/signals';

const KEY = 'dmad-token';

/** Why nothing can be asked for until there is another token; undefined if it can. */
export const lockedOut = signal<'missing' | 'refused' | undefined>(undefined);

/** Whether the page asks for a token just now. Somebody may decline. */
export const asksForToken = signal(false);

/** The token, which the browser forgets with this tab. */
export const token = signal<string | undefined>(sessionStorage.getItem(KEY) ?? undefined);

export function keepToken(secret: string): void {
  sessionStorage.setItem(KEY, secret);
  lockedOut.value = undefined;
  asksForToken.value = false;
  token.value = secret;
}

export function forgetToken(): void {
  sessionStorage.removeItem(KEY);
  lockedOut.value = undefined;
  token.value = undefined;
}

/** The daemon has refused a request. @param sent the token that was sent with it */
export function tokenRefused(sent: string | undefined): void {
  // Somebody may have given another one meanwhile.
  if (sent !== token.value || lockedOut.value !== undefined) return;
  lockedOut.value = sent === undefined ? 'missing' : 'refused';
  asksForToken.value = true;
}
