// SPDX-License-Identifier: Apache-2.0
import { DmadClient, type DmadError, type Fetch } from '../../client/index.ts';
import { setLink } from './link.ts';
import { token, tokenRefused } from './session.ts';
import { addToTrail } from './trail.ts';
import { type UploadProgress, xhrFetch } from './xhr-fetch.ts';

/** Where the daemon is: a proxy may have put a prefix before all paths. */
export const BASE = new URL('.', location.href).href.replace(/\/$/, '');

const fetchOfPage: Fetch = (input, init) => globalThis.fetch(input, init);

/** Watches what goes through: the stream's state, what is changed, and tokens that are refused. */
function watched(fetch: Fetch): Fetch {
  return async (input, init) => {
    const method = init?.method ?? 'GET';
    const path = String(input).slice(BASE.length);
    const isStream = /^\/events(?:\?|$)/.test(path);
    const changes = method !== 'GET' && !isDryRun(init?.body);
    const at = Date.now();
    const sent = token.value;
    try {
      const response = await fetch(input, init);
      if (response.status === 401) tokenRefused(sent);
      if (isStream && response.ok) setLink({ state: 'live' });
      const requestId = response.headers.get('x-request-id') ?? undefined;
      if (changes) addToTrail({ at, method, path, status: response.status, requestId });
      return response;
    } catch (error) {
      const aborted = init?.signal?.aborted;
      if (isStream && !aborted) setLink({ state: 'lost', since: Date.now() });
      if (changes) addToTrail({ at, method, path, status: undefined, requestId: undefined });
      throw error;
    }
  };
}

function isDryRun(body: unknown): boolean {
  return typeof body === 'string' && body.includes('"dry_run":true');
}

const options = { url: BASE, token: () => token.value };

export const client = new DmadClient({ ...options, fetch: watched(fetchOfPage) });

/** A client whose uploads say how far they have come, which fetch cannot. */
export function uploadClient(onProgress: UploadProgress): DmadClient {
  return new DmadClient({ ...options, fetch: watched(xhrFetch(onProgress)) });
}

/** What to tell people about a failed call. */
export function messageOf(error: unknown): string {
  const { code, message } = error as Partial<DmadError>;
  if (code === 'unreachable') return 'The server does not answer.';
  return message ?? String(error);
}
