// SPDX-License-Identifier: Apache-2.0
import type { Example } from '../../http/openapi/examples.ts';

const ID = '01a20400-7f31-7c55-8a02-6d9e1b7c2f40';
/** Stands for the id of a replication that waits for an upload. */
export const QUEUED_REPLICATION_ID = '01a20400-8b02-7d1e-9c37-1f6a2e5d7b83';

const replication = {
  id: ID,
  status: 'succeeded',
  waiting_for: null,
  peer: 'hostb',
  src_device_name: 'dax0.0',
  src_offset: 0,
  dst_device_name: 'dax1.0',
  dst_offset: 67_108_864,
  size: 33_554_432,
  block_size: 1_048_576,
  mode: 'delta',
  bytes_per_second: null,
  priority: 'normal',
  timeout_ms: null,
  blocks: { total: 32, equal: 31, copied: 1, again: 0 },
  bytes_on_wire: 1_050_720,
  round: 1,
  consistency: 'consistent',
  bytes_completed: 33_554_432,
  progress: 1,
  durability: { requested: 'flush', achieved: 'flush', basis: 'msync' },
  created_at: '2026-11-27T09:12:44.018Z',
  started_at: '2026-11-27T09:12:44.021Z',
  finished_at: '2026-11-27T09:12:44.297Z',
  labels: { job: 'nightly' },
  traceparent: null,
  error: null,
  client: 'anonymous',
};

const queued = {
  ...replication,
  id: QUEUED_REPLICATION_ID,
  status: 'queued',
  waiting_for: { reason: 'upload' },
  blocks: { total: 32, equal: 0, copied: 0, again: 0 },
  bytes_on_wire: 0,
  round: 0,
  consistency: 'unchanged',
  bytes_completed: 0,
  progress: 0,
  durability: { requested: 'flush', achieved: 'none', basis: null },
  started_at: null,
  finished_at: null,
};

const body = {
  peer: 'hostb',
  src_device_name: 'dax0.0',
  src_offset: 0,
  dst_device_name: 'dax1.0',
  dst_offset: '64MiB',
  size: '32MiB',
  labels: { job: 'nightly' },
};

const instance = 'urn:dmad:request:7dcf72cb-0626-4680-b9e6-294ba1ceaa0c';

/** By operationId; see examples.ts. */
export const REPLICATION_EXAMPLES: Record<string, Record<string, Example>> = {
  createReplication: {
    delta: {
      summary: 'What differs, from the peer that the peers file calls hostb',
      body,
      status: 201,
      response: replication,
    },
    accepted: {
      summary: 'The answer does not wait for the end',
      parameters: { prefer: 'respond-async' },
      body,
      status: 202,
      response: queued,
    },
    replayed: {
      summary: 'Sent once more with its key, after it succeeded',
      parameters: { 'idempotency-key': 'nightly 2026-11-27' },
      body,
      status: 200,
      response: replication,
    },
    unknown_peer: {
      summary: 'A peer that is not configured',
      body: { ...body, peer: 'hostc' },
      status: 422,
      contentType: 'application/problem+json',
      response: {
        instance,
        type: '/problems/unknown_peer',
        title: 'No peer with that name is configured',
        status: 422,
        detail: 'No peer "hostc" is configured: name one of DMAD_PEERS_FILE.',
        code: 'unknown_peer',
        errors: [
          {
            pointer: '/peer',
            detail: 'No peer "hostc" is configured: name one of DMAD_PEERS_FILE.',
          },
        ],
      },
    },
  },
  listReplications: {
    succeeded: {
      summary: 'The latest one that succeeded',
      parameters: { status: 'succeeded', page_size: '1', peer: 'hostb', label: 'job:nightly' },
      status: 200,
      response: { replications: [replication], next_page_token: 'YmFzZTY0dXJsLTEyLjAxYTIw' },
    },
  },
  getReplication: {
    over: {
      summary: 'One that succeeded',
      parameters: { id: ID },
      status: 200,
      response: replication,
    },
  },
  changeReplication: {
    slower: {
      summary: 'At a lower rate',
      parameters: { id: QUEUED_REPLICATION_ID },
      body: { bytes_per_second: '10MiB' },
      status: 200,
      response: { ...queued, bytes_per_second: 10_485_760 },
    },
    over: {
      summary: 'One that has finished already',
      parameters: { id: ID },
      body: { bytes_per_second: '10MiB' },
      status: 409,
      contentType: 'application/problem+json',
      response: {
        instance,
        type: '/problems/not_changeable',
        title: 'The transfer has finished, or runs already',
        status: 409,
        detail: 'The replication has finished: succeeded.',
        code: 'not_changeable',
        replication,
      },
    },
  },
  cancelReplication: {
    queued: {
      summary: 'One that had not started',
      parameters: { id: QUEUED_REPLICATION_ID },
      status: 200,
      response: {
        ...queued,
        status: 'cancelled',
        waiting_for: null,
        finished_at: '2026-11-27T09:12:44.297Z',
        error: {
          instance,
          type: '/problems/cancelled',
          title: 'The transfer was cancelled',
          status: 409,
          detail: 'It was cancelled by a client.',
          code: 'cancelled',
        },
      },
    },
    over: {
      summary: 'One that has finished already',
      parameters: { id: ID },
      status: 409,
      contentType: 'application/problem+json',
      response: {
        instance,
        type: '/problems/not_cancellable',
        title: 'The transfer has already finished',
        status: 409,
        detail: 'The replication has finished: succeeded.',
        code: 'not_cancellable',
        replication,
      },
    },
  },
  watchReplication: {
    over: {
      summary: 'One that has finished: its last status, and the end',
      parameters: { id: ID },
      status: 200,
      contentType: 'text/event-stream',
      response:
        ': events follow\nretry: 3000\n\n' +
        `id: over\nevent: status\ndata: ${JSON.stringify(replication)}\n\n`,
    },
  },
};
