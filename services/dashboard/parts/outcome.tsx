// SPDX-License-Identifier: Apache-2.0
import type { Problem } from '../../client/types.ts';

/** What went wrong with a transfer or a replication. */
export function Outcome({ error }: { error: Problem | null }) {
  if (error === null) return null;
  return (
    <div class="alert problem">
      <strong>{error.title}</strong>
      <span>{error.detail}</span>
      <a href={`problems/${error.code}`} target="_blank" rel="noreferrer">
        What {error.code} means, and what to do
      </a>
    </div>
  );
}
