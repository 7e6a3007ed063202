// SPDX-License-Identifier: Apache-2.0
import type { FastifyBaseLogger } from 'fastify';
import type { UnflushedDevices } from '../devices/unflushed.ts';
import type { Hashers } from '../digests/hashers.ts';
import type { Engine } from '../engines/engine.ts';
import type { Journal } from '../journal/journal.ts';
import type { WorkQueue } from '../order/work-queue.ts';
import type { EventKind } from '../transfers/feed-event.ts';
import type { FetchBuffers } from './fetch-buffers.ts';
import type { Patience } from './guard.ts';
import type { DigestMemory } from './known-digests.ts';
import type { Peers } from './peers.ts';
import type { Replication } from './replication.ts';

/** Receives what metrics count. */
export interface ReplicationObserver {
  received(bytes: number): void;
  finished(replication: Replication): void;
}

/** What a replication needs of the daemon. */
export interface Dependencies {
  /** What this daemon calls itself in its answers with content. */
  instance: string;
  engine: Engine;
  hashers: Hashers;
  buffers: FetchBuffers;
  digestMemory: DigestMemory;
  queue: WorkQueue;
  unflushed: UnflushedDevices;
  journal: Journal;
  peers: Peers;
  /** Content of at least this size is received past Node, in bytes. */
  pastNodeFrom: number;
  log: FastifyBaseLogger;
  observer: ReplicationObserver;
  /** For tests. */
  patience?: Patience;
  /** Whether the daemon is stopping all work that has not finished. */
  readonly interrupting: boolean;
  /** It is about to write to its destination, or has proven it. */
  consistencyChanged(replication: Replication): void;
  /** Something about it has changed; not called before it is accepted. */
  changed(kind: EventKind, replication: Replication): void;
  /** It has finished, or is left to the next daemon. */
  left(replication: Replication): void;
}
