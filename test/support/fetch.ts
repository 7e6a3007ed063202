// SPDX-License-Identifier: Apache-2.0
import type { Answer } from './conformance.ts';

/** fetch() to a daemon in its own process. */
export async function fetchAnswer(url: string, options: RequestInit = {}): Promise<Answer> {
  const response = await fetch(url, { signal: AbortSignal.timeout(60_000), ...options });
  const body = Buffer.from(await response.arrayBuffer());
  return { status: response.status, headers: Object.fromEntries(response.headers), body };
}

/** The JSON of an answer. */
export async function fetchJson(url: string, options: RequestInit = {}) {
  const { body } = await fetchAnswer(url, options);
  return JSON.parse(body.toString());
}

/** The options of a request with a JSON body. */
export function jsonBody(body: unknown, headers: Record<string, string> = {}): RequestInit {
  return {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  };
}
