// SPDX-License-Identifier: Apache-2.0
import { formatBytes } from '../../model/format.ts';
import { formatRoute } from '../../model/route.ts';
import { replicationSentence, sentenceOf } from '../../model/sentence.ts';
import { streams } from '../../state/poll.ts';
import { replications, store } from '../../state/transfers.ts';

/** Who uses bytes of a device: a transfer, a replication, an upload or a download. */
export interface User {
  what: string;
  /** Of its own page. */
  href?: string;
  client?: string | undefined;
  since: Date;
  waits: boolean;
}

/** @param id as {@link UsedRange} has it; undefined: it has ended just now */
export function userOf(id: string): User | undefined {
  const transfer = store.get(id)?.value;
  if (transfer !== undefined) {
    const href = formatRoute({ view: 'transfers', id });
    return { what: sentenceOf(transfer), href, ...timesOf(transfer) };
  }
  const replication = replications.get(id)?.value;
  if (replication !== undefined) {
    const href = formatRoute({ view: 'replications', id });
    return { what: replicationSentence(replication), href, ...timesOf(replication) };
  }
  const stream = streams.value.value?.streams.find((one) => one.request_id === id);
  if (stream === undefined) return undefined;
  const { direction, bytes_completed: bytes, size } = stream;
  const name = direction === 'upload' ? 'Upload' : 'Download';
  const what = `${name}: ${formatBytes(bytes)} of ${formatBytes(size)}`;
  return { what, ...timesOf(stream) };
}

interface Timed {
  started_at: string | null;
  created_at: string;
  client?: string | undefined;
}

function timesOf({ started_at: started, created_at: created, client }: Timed) {
  return { since: new Date(started ?? created), waits: started === null, client };
}
