// SPDX-License-Identifier: Apache-2.0

import { DAEMON_VERSION } from '../../base/version.ts';
import { EXAMPLES } from '../../daemon/openapi/examples.ts';
import { FLEET_SCOPES } from '../../http/access/scopes.ts';
import type { Example, Examples } from '../../http/openapi/examples.ts';

const ID = '01a20400-0be6-721d-ba17-e230afce8d70';

const transfer = {
  ...(EXAMPLES.createTransfer?.verified?.response as Record<string, unknown>),
  host: 'hosta',
};

const accepted = {
  ...transfer,
  status: 'accepted',
  waiting_for: { reason: 'host', why: 'connect ECONNREFUSED 10.0.0.7:8080' },
  engine: null,
  engine_reason: 'its host chooses',
  bytes_completed: 0,
  progress: 0,
  durability: { requested: 'flush', achieved: 'none', basis: null },
  verification: null,
  started_at: null,
  finished_at: null,
  throughput_bytes_per_second: 0,
  timings: { queue_ns: 0, copy_ns: 0, flush_ns: 0, verify_ns: 0, total_ns: 0 },
};

const host = {
  name: 'hosta',
  url: 'https://hosta:8080',
  state: 'ready',
  since: '2026-11-22T16:04:01.639Z',
  reason: null,
  devices: ['dax0.0', 'dax1.0'],
  dma: false,
  transfers: 0,
};

const copy = {
  host: 'hosta',
  device_name: 'dax0.0',
  dst_device_name: 'dax1.0',
  src_offset: 0,
  dst_offset: '1MiB',
  size: '32MiB',
  verify: 'crc32c',
  labels: { job: 'nightly' },
};

const between = {
  host: 'hosta',
  device_name: 'dax0.0',
  src_offset: 0,
  dst_host: 'hostb',
  dst_device_name: 'dax0.0',
  dst_offset: 0,
  size: '32MiB',
};

/** A copy to another host, which has begun. */
const replicated = {
  ...{ ...accepted, dst_host: 'hostb', dst_device_name: 'dax0.0', dst_offset: 0 },
  ...{ status: 'running', waiting_for: null, started_at: '2026-11-22T16:04:01.651Z' },
  engine_reason: "the destination's daemon reads from its peer what differs",
  ...{ labels: {}, bytes_completed: 8_388_608, progress: 0.25 },
  ...{ mode: 'delta', block_size: 1_048_576, bytes_per_second: null },
  blocks: { total: 32, equal: 5, copied: 3, again: 0 },
  ...{ bytes_on_wire: 3_146_752, round: 1, consistency: 'inconsistent' },
};

const EVENTS = `id: 6a1f0e2b9c3d-17\nevent: status\ndata: ${JSON.stringify(transfer)}\n\n`;

const planned = { ...copy, dst_offset: '64KiB', size: '4KiB', dry_run: true };
const plan = EXAMPLES.createTransfer?.dryRun?.response;

/** A daemon's example that is a gateway's too. */
function ofDaemon(operationId: string): Record<string, Example> {
  return EXAMPLES[operationId] ?? {};
}

/** The same of a device of a host. */
function withHost(operationId: string): Record<string, Example> {
  return Object.fromEntries(
    Object.entries(ofDaemon(operationId)).map(([name, example]) => [
      name,
      { ...example, parameters: { ...example.parameters, host: 'hosta' } },
    ]),
  );
}

/** By operationId. */
export const FLEET_EXAMPLES: Examples = {
  createTransfer: {
    verified: {
      summary: 'From one device of a host to another, durable and verified',
      body: copy,
      status: 201,
      response: transfer,
    },
    away: {
      summary: 'On a host that is away',
      parameters: { prefer: 'respond-async' },
      body: copy,
      status: 202,
      response: accepted,
    },
    between: {
      summary: 'From one host to another',
      parameters: { prefer: 'respond-async' },
      body: between,
      status: 202,
      response: replicated,
    },
    dryRun: {
      summary: 'What would be done',
      body: planned,
      status: 200,
      response: plan,
    },
  },
  createTransfers: {
    two: {
      summary: 'A copy, and behind it one to another host',
      body: { transfers: [copy, { ...between, depends_on: ['#0'] }] },
      status: 202,
      response: {
        transfers: [
          accepted,
          { ...replicated, status: 'accepted', waiting_for: { reason: 'dependencies' } },
        ],
      },
    },
    dryRun: {
      summary: 'What would be done',
      body: { transfers: [planned] },
      status: 200,
      response: { transfers: [plan] },
    },
  },
  changeTransfer: {
    priority: {
      summary: 'A copy to another host that is to go on slowly',
      parameters: { id: ID },
      body: { priority: 'low', bytes_per_second: '10MiB' },
      status: 200,
      response: { ...replicated, priority: 'low', bytes_per_second: 10_485_760 },
    },
  },
  listTransfers: {
    ended: {
      summary: 'Those of one host that succeeded',
      parameters: { host: 'hosta', status: 'succeeded' },
      status: 200,
      response: { transfers: [transfer], next_page_token: '' },
    },
  },
  getTransfer: {
    one: {
      summary: 'One that has succeeded',
      parameters: { id: ID },
      status: 200,
      response: transfer,
    },
  },
  cancelTransfer: {
    stopped: {
      summary: 'One that its host did not have yet',
      parameters: { id: ID },
      status: 200,
      response: { ...accepted, status: 'cancelled', waiting_for: null },
    },
    away: {
      summary: 'One whose host is away: it is stopped as soon as the host is back',
      parameters: { id: ID },
      status: 202,
      response: accepted,
    },
  },
  watchTransfer: {
    last: {
      summary: 'The last event of a transfer',
      parameters: { id: ID },
      status: 200,
      contentType: 'text/event-stream',
      response: EVENTS,
    },
  },
  watchTransfers: {
    one: {
      summary: 'The end of a transfer',
      status: 200,
      contentType: 'text/event-stream',
      response: EVENTS,
    },
  },
  listHosts: {
    two: {
      summary: 'One of two hosts is away',
      status: 200,
      response: {
        hosts: [
          host,
          {
            ...{ ...host, name: 'hostb', url: 'https://hostb:8080', state: 'unreachable' },
            reason: 'https://hostb:8080: connect ECONNREFUSED 10.0.0.8:8080',
            transfers: 3,
          },
        ],
      },
    },
  },
  getHost: {
    ready: {
      summary: 'A host that is ready',
      parameters: { host: 'hosta' },
      status: 200,
      response: host,
    },
  },
  putHost: {
    add: {
      summary: 'Adding a host',
      parameters: { host: 'hosta' },
      body: { url: 'https://hosta:8080' },
      status: 201,
      response: { ...host, state: 'unreachable', since: null, reason: 'it has not been asked yet' },
    },
    change: {
      summary: 'The same host by another URL',
      parameters: { host: 'hosta' },
      body: { url: 'https://hosta.example:8080' },
      status: 200,
      response: { ...host, url: 'https://hosta.example:8080' },
    },
  },
  deleteHost: {
    remove: {
      summary: 'Removing a host that has no work',
      parameters: { host: 'hosta' },
      status: 204,
      response: undefined,
    },
  },
  listDevices: {
    emulated: {
      summary: 'Of a host without device-dax',
      status: 200,
      response: {
        devices: [
          { ...(EXAMPLES.getDevice?.emulated?.response as Record<string, unknown>), host: 'hosta' },
        ],
      },
    },
  },
  getDevice: withHost('getDevice'),
  readContent: withHost('readContent'),
  writeContent: withHost('writeContent'),
  checksumContent: withHost('checksumContent'),
  digestContent: withHost('digestContent'),
  isReady: {
    degraded: {
      summary: 'It accepts transfers, though a host is away',
      status: 200,
      response: { ready: true, waiting_for: [], degraded: ['hosts that are not ready: 1'] },
    },
    waiting: {
      summary: 'etcd is away',
      status: 503,
      response: { ready: false, waiting_for: ['etcd: it cannot be reached'] },
    },
  },
  isLive: { alive: { summary: 'It is alive', status: 200, response: { status: 'ok' } } },
  getVersion: {
    one: {
      summary: 'The versions',
      status: 200,
      response: { fleet: DAEMON_VERSION, api: { major: 1, minor: 0 }, node: '20.19.5' },
    },
  },
  whoami: {
    limited: {
      summary: 'A token for one host',
      status: 200,
      response: {
        name: 'backup-agent',
        scopes: [...FLEET_SCOPES].slice(0, 2),
        hosts: ['hosta'],
        devices: null,
        peers: null,
        limits: { transfers_in_flight: 64, bytes_per_second: null },
        use: { transfers_in_flight: 0, bytes_queued: 0, bytes_available: null },
      },
    },
  },
  getRoot: {
    json: {
      summary: 'Where to look further',
      status: 200,
      response: {
        ...{ name: 'dmad fleet', version: DAEMON_VERSION },
        ...{ docs: '/docs', openapi: '/openapi.json' },
      },
    },
  },
  explainProblem: ofDaemon('explainProblem'),
  getMetrics: {
    text: {
      summary: 'Some of them',
      status: 200,
      contentType: 'text/plain',
      response: '# TYPE dmad_fleet_etcd_up gauge\ndmad_fleet_etcd_up 1\n',
    },
  },
  getOpenApi: ofDaemon('getOpenApi'),
};
