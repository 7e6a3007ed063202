// SPDX-License-Identifier: Apache-2.0
import { signal } from '@preact/signals';

const KEY = 'dmad-token';

/** Why the page asks for a token; undefined if it need not. */
export const asksForToken = signal<'missing' | 'refused' | undefined>(undefined);

/** The token, which the browser forgets with this tab. */
export const token = signal<string | undefined>(sessionStorage.getItem(KEY) ?? undefined);

export function keepToken(secret: string): void {
  sessionStorage.setItem(KEY, secret);
  token.value = secret;
  asksForToken.value = undefined;
}

export function forgetToken(): void {
  sessionStorage.removeItem(KEY);
  token.value = undefined;
}

/** The daemon has refused what was sent. */
export function tokenRefused(): void {
  asksForToken.value = token.value === undefined ? 'missing' : 'refused';
}
