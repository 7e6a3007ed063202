// SPDX-License-Identifier: Apache-2.0
import { isOver } from './call-options.ts';
import { resumedEvents } from './events.ts';
import type { ReplicationEvent } from './replications.ts';
import type { CallOptions, Query, Transport } from './transport.ts';
import type { Replication, Transfer } from './types.ts';

/** What the names of replications' events begin with in a stream of all work. */
const REPLICATION_PREFIX = 'replication_';

/** Of how many transfers a stream of events remembers the segments. */
const MAX_SEGMENTED = 1000;

/** How a stream of all transfers begins, or goes on. */
export interface WatchOptions extends CallOptions {
  /** The `id` of the last event that was received, to go on behind it. */
  lastEventId?: string | undefined;
  /**
   * Called if events were missed that the daemon does not know any more: those that follow say how
   * all stand that are not over, and what ended meanwhile is not among them.
   */
  onSnapshot?: (() => void) | undefined;
}

/** A change of a transfer. */
export interface TransferEvent {
  /** From which a stream goes on; see {@link WatchOptions}. */
  id: string | undefined;
  /** `progress`, `status`; a later daemon may have more. */
  event: string;
  /** With its segments, if it has some. */
  transfer: Transfer;
}

/** A change of a transfer or of a replication. */
export type WorkEvent = TransferEvent | ReplicationEvent;

/** The events of transfers and replications that a path of the HTTP interface sends, each with its work. */
export async function* workEvents(
  transport: Transport,
  path: string,
  query: Query | undefined,
  options: WatchOptions,
): AsyncGenerator<WorkEvent> {
  // Segments come once a connection: later events have the earlier one's.
  const segments = new Map<string, Transfer['segments']>();
  const keep = (id: string, its: Transfer['segments']) => {
    segments.set(id, its);
    // A filter may hide the ends of transfers: the oldest go, so that this does not grow.
    if (segments.size <= MAX_SEGMENTED) return;
    const [oldest = ''] = segments.keys();
    segments.delete(oldest);
  };
  for await (const events of resumedEvents(transport, path, query, options)) {
    for (const { id, event, data } of events) {
      if (event.startsWith(REPLICATION_PREFIX)) {
        const replication: Replication = JSON.parse(data);
        yield { id, event: event.slice(REPLICATION_PREFIX.length), replication };
        continue;
      }
      const transfer = JSON.parse(data);
      if (event === 'snapshot') options.onSnapshot?.();
      if (typeof transfer?.id !== 'string') continue;
      if (transfer.segments === undefined) transfer.segments = segments.get(transfer.id) ?? null;
      else if (transfer.segments !== null) keep(transfer.id, transfer.segments);
      if (isOver(transfer)) segments.delete(transfer.id);
      yield { id, event, transfer };
    }
  }
}
