// SPDX-License-Identifier: Apache-2.0

/** A request that works when sent, and what comes back; a test sends each of them. */
export interface Example {
  summary: string;
  parameters?: Record<string, string>;
  body?: unknown;
  status: number;
  contentType?: string;
  response: unknown;
}

/** By operationId. */
export type Examples = Record<string, Record<string, Example>>;
