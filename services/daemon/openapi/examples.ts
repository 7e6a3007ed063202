// SPDX-License-Identifier: Apache-2.0

import { DAEMON_VERSION } from '../../base/version.ts';
import { SCOPES } from '../../http/access/scopes.ts';
import type { Examples } from '../../http/openapi/examples.ts';
import { REPLICATION_EXAMPLES } from './replication-examples.ts';

const ID = '01a20400-0be6-721d-ba17-e230afce8d70';
/** Stands for the id of a transfer that waits for another one. */
export const QUEUED_ID = '01a20400-1c7a-7b02-9f5e-4d0c2a6b8e11';

const transfer = {
  id: ID,
  status: 'succeeded',
  waiting_for: null,
  operation: 'copy',
  device_name: 'dax0.0',
  dst_device_name: 'dax1.0',
  src_offset: 0,
  dst_offset: 1_048_576,
  size: 33_554_432,
  pattern: null,
  engine: 'cpu',
  engine_reason:
    'no DMA engine: there is no /dev/ioat-dma: the kernel module ioat-dma is not loaded',
  channels: [],
  retries: 0,
  priority: 'normal',
  timeout_ms: null,
  bytes_completed: 33_554_432,
  progress: 1,
  durability: { requested: 'flush', achieved: 'flush', basis: 'msync' },
  verification: { method: 'crc32c', segments: 1, src: '7386edfc', dst: '7386edfc' },
  comparison: null,
  created_at: '2026-11-22T16:04:01.639Z',
  started_at: '2026-11-22T16:04:01.640Z',
  finished_at: '2026-11-22T16:04:01.741Z',
  throughput_bytes_per_second: 4_120_435_002,
  labels: { job: 'nightly' },
  depends_on: [],
  traceparent: null,
  error: null,
  segments: null,
  timings: {
    queue_ns: 148_378,
    copy_ns: 8_143_420,
    flush_ns: 18_593_228,
    verify_ns: 4_290_420,
    total_ns: 31_175_446,
  },
  client: 'anonymous',
};

/** What a stream begins with. */
const EVENTS =
  `: events follow\nretry: 3000\n\n` +
  `id: 5f0c1d2e3a4b-17\nevent: status\ndata: ${JSON.stringify(transfer)}\n\n`;
const queued = {
  ...transfer,
  id: QUEUED_ID,
  status: 'queued',
  waiting_for: { reason: 'order', transfers: [ID] },
  bytes_completed: 0,
  progress: 0,
  durability: { requested: 'flush', achieved: 'none', basis: null },
  verification: null,
  started_at: null,
  finished_at: null,
  timings: { queue_ns: 7_204_118, copy_ns: 0, flush_ns: 0, verify_ns: 0, total_ns: 7_204_118 },
  throughput_bytes_per_second: 0,
};

const cancelled = {
  ...queued,
  status: 'cancelled',
  waiting_for: null,
  finished_at: '2026-11-22T16:04:01.741Z',
  error: {
    type: '/problems/cancelled',
    title: 'The transfer was cancelled',
    status: 409,
    detail: 'It was cancelled by a client.',
    instance: 'urn:dmad:request:7dcf72cb-0626-4680-b9e6-294ba1ceaa0c',
    code: 'cancelled',
  },
};

const planned = {
  device_name: 'dax0.0',
  src_offset: 0,
  dst_offset: '64KiB',
  size: '4KiB',
  dry_run: true,
};

const plan = {
  dry_run: true,
  engine: 'cpu',
  engine_reason: transfer.engine_reason,
  segments: [{ src_offset: 0, dst_offset: 65_536, size: 4096 }],
  bytes: 4096,
};

const begin = { src_offset: 0, dst_offset: 0 };
const moved = { dst_offset: 0, size: 1_048_576, labels: {} };

const engines = {
  dma: {
    available: false,
    reason: 'there is no /dev/ioat-dma: the kernel module ioat-dma is not loaded',
    module_version: null,
    channels: [],
    refused: [],
  },
  cpu: {
    available: true,
    threads: 1,
    instruction_set: 'avx2',
    stream_from_bytes: 4_194_304,
  },
  auto: { dma_from_bytes: null, both_from_bytes: null, calibration: null },
};

const notFound = {
  type: '/problems/not_found',
  title: 'Not found',
  status: 404,
  detail: 'There is no such transfer; it ended too long ago, or before the daemon was restarted.',
  instance: 'urn:dmad:request:7dcf72cb-0626-4680-b9e6-294ba1ceaa0c',
  code: 'not_found',
};

const device = {
  name: 'dax0.0',
  path: '/var/lib/dmad/devices/dax0.0',
  kind: 'emulated',
  uuid: null,
  resource: null,
  size: 268_435_456,
  align: 4096,
  numa_node: null,
  persistence_domain: 'backing_store',
  bad_blocks: [],
  state: 'online',
  state_reason: null,
  inconsistent: [],
};

/** `ID` as a parameter stands for the id of a transfer that is over. */
export const EXAMPLES: Examples = {
  ...REPLICATION_EXAMPLES,
  createTransfer: {
    verified: {
      summary: 'From one device to another, durable and verified',
      body: {
        device_name: 'dax0.0',
        dst_device_name: 'dax1.0',
        src_offset: 0,
        dst_offset: '1MiB',
        size: '32MiB',
        verify: 'crc32c',
        labels: { job: 'nightly' },
      },
      status: 201,
      response: transfer,
    },
    segments: {
      summary: 'Several pieces inside one device',
      body: {
        device_name: '/dev/dax0.0',
        segments: [
          { src_offset: 0, dst_offset: 65_536, size: 4096 },
          { src_offset: '0x2000', dst_offset: '0x12000', size: 4096 },
        ],
        durability: 'none',
      },
      status: 201,
      response: {
        ...transfer,
        dst_device_name: 'dax0.0',
        src_offset: null,
        dst_offset: null,
        size: 8192,
        segments: [
          { src_offset: 0, dst_offset: 65_536, size: 4096 },
          { src_offset: 8192, dst_offset: 73_728, size: 4096 },
        ],
        bytes_completed: 8192,
        durability: { requested: 'none', achieved: 'none', basis: null },
        verification: null,
        labels: {},
      },
    },
    fill: {
      summary: 'Wiping a range',
      body: { operation: 'fill', device_name: 'dax1.0', dst_offset: '64MiB', size: '1MiB' },
      status: 201,
      response: {
        ...transfer,
        operation: 'fill',
        device_name: 'dax1.0',
        dst_device_name: 'dax1.0',
        src_offset: null,
        dst_offset: 67_108_864,
        size: 1_048_576,
        pattern: '00',
        engine_reason: 'only the CPU can fill',
        bytes_completed: 1_048_576,
        verification: null,
        labels: {},
      },
    },
    compare: {
      summary: 'Whether two ranges are equal, and where they differ first',
      body: {
        operation: 'compare',
        device_name: 'dax0.0',
        dst_device_name: 'dax1.0',
        src_offset: '32MiB',
        dst_offset: '32MiB',
        size: '1MiB',
      },
      status: 201,
      response: {
        ...transfer,
        operation: 'compare',
        src_offset: 33_554_432,
        dst_offset: 33_554_432,
        size: 1_048_576,
        engine_reason: 'only the CPU can compare',
        bytes_completed: 1_048_576,
        durability: { requested: 'none', achieved: 'none', basis: null },
        verification: null,
        comparison: { equal: true, first_difference: null },
        labels: {},
      },
    },
    dryRun: {
      summary: 'What would be done',
      body: planned,
      status: 200,
      response: plan,
    },
    accepted: {
      summary: 'The answer does not wait for the end',
      parameters: { prefer: 'respond-async' },
      body: { device_name: 'dax0.0', dst_device_name: 'dax1.0', ...begin, size: '1MiB' },
      status: 202,
      response: { ...queued, ...moved, waiting_for: { reason: 'upload' } },
    },
    outOfRange: {
      summary: 'Past the end of a device',
      body: { device_name: 'dax0.0', src_offset: '1GiB', dst_offset: 0, size: 4096 },
      status: 422,
      contentType: 'application/problem+json',
      response: {
        type: '/problems/out_of_range',
        title: 'The range lies outside the device',
        status: 422,
        detail: 'dax0.0 has 268435456 bytes: offset 1073741824 lies past its end.',
        instance: 'urn:dmad:request:7dcf72cb-0626-4680-b9e6-294ba1ceaa0c',
        code: 'out_of_range',
        errors: [
          {
            pointer: '/src_offset',
            detail: 'dax0.0 has 268435456 bytes: offset 1073741824 lies past its end.',
          },
        ],
      },
    },
  },
  listTransfers: {
    page: {
      summary: 'Those of a job',
      parameters: { label: 'job:nightly', page_size: '1' },
      status: 200,
      response: { transfers: [transfer], next_page_token: '' },
    },
  },
  getTransfer: {
    over: {
      summary: 'One that has finished',
      parameters: { id: ID },
      status: 200,
      response: transfer,
    },
    unknown: {
      summary: 'One that is not there',
      parameters: { id: '00000000-0000-7000-8000-000000000000' },
      status: 404,
      contentType: 'application/problem+json',
      response: notFound,
    },
  },
  createTransfers: {
    chain: {
      summary: 'A copy, and behind it, once it has succeeded, a fill of its source',
      body: {
        transfers: [
          {
            device_name: 'dax0.0',
            dst_device_name: 'dax1.0',
            src_offset: 0,
            dst_offset: 0,
            size: '1MiB',
          },
          {
            operation: 'fill',
            device_name: 'dax0.0',
            dst_offset: 0,
            size: '1MiB',
            depends_on: ['#0'],
            idempotency_key: 'wipe 2026-11-27',
          },
        ],
      },
      status: 202,
      response: {
        transfers: [
          { ...queued, id: ID, ...moved, waiting_for: { reason: 'slot' } },
          {
            ...queued,
            ...moved,
            operation: 'fill',
            dst_device_name: 'dax0.0',
            src_offset: null,
            pattern: '00',
            depends_on: [ID],
          },
        ],
      },
    },
    dryRun: {
      summary: 'What would be done',
      body: { transfers: [planned] },
      status: 200,
      response: { transfers: [plan] },
    },
    unknown: {
      summary: 'None is accepted if one of them cannot be',
      body: {
        transfers: [
          { device_name: 'dax0.0', src_offset: 0, dst_offset: '1MiB', size: '1MiB' },
          {
            device_name: 'dax0.0',
            src_offset: 0,
            dst_offset: '1MiB',
            size: '1MiB',
            depends_on: ['#1'],
          },
        ],
      },
      status: 422,
      contentType: 'application/problem+json',
      response: {
        type: '/problems/unknown_transfer',
        title: 'No transfer of this client has that id',
        status: 422,
        detail:
          'Transfer 1 of the list: There is no transfer "#1" of this client, or it ended too long ago.',
        instance: 'urn:dmad:request:7dcf72cb-0626-4680-b9e6-294ba1ceaa0c',
        code: 'unknown_transfer',
        errors: [
          {
            pointer: '/transfers/1/depends_on/0',
            detail: 'There is no transfer "#1" of this client, or it ended too long ago.',
          },
        ],
      },
    },
  },
  changeTransfer: {
    queued: {
      summary: 'Before others, in an hour at most, and with a label',
      parameters: { id: QUEUED_ID },
      body: { priority: 'high', timeout_ms: 3_600_000, labels: { job: 'nightly' } },
      status: 200,
      response: { ...queued, priority: 'high', timeout_ms: 3_600_000 },
    },
    over: {
      summary: 'One that has finished already',
      parameters: { id: ID },
      body: { labels: { job: null } },
      status: 409,
      contentType: 'application/problem+json',
      response: {
        type: '/problems/not_changeable',
        title: 'The transfer has finished, or runs already',
        status: 409,
        detail: 'The transfer has finished: succeeded.',
        instance: 'urn:dmad:request:7dcf72cb-0626-4680-b9e6-294ba1ceaa0c',
        code: 'not_changeable',
        transfer,
      },
    },
  },
  cancelTransfer: {
    queued: {
      summary: 'One that had not started',
      parameters: { id: QUEUED_ID },
      status: 200,
      response: cancelled,
    },
    over: {
      summary: 'One that has finished already',
      parameters: { id: ID },
      status: 409,
      contentType: 'application/problem+json',
      response: {
        type: '/problems/not_cancellable',
        title: 'The transfer has already finished',
        status: 409,
        detail: 'The transfer has finished: succeeded.',
        instance: 'urn:dmad:request:7dcf72cb-0626-4680-b9e6-294ba1ceaa0c',
        code: 'not_cancellable',
        transfer,
      },
    },
  },
  watchTransfer: {
    over: {
      summary: 'One that has finished: its last status, and the end',
      parameters: { id: ID },
      status: 200,
      contentType: 'text/event-stream',
      response: EVENTS,
    },
  },
  watchTransfers: {
    one: {
      summary: 'The first event of a transfer',
      status: 200,
      contentType: 'text/event-stream',
      response: EVENTS,
    },
  },
  whoami: {
    anybody: {
      summary: 'Where no tokens are in use',
      status: 200,
      response: {
        name: 'anonymous',
        scopes: [...SCOPES],
        devices: null,
        peers: null,
        limits: { transfers_in_flight: null, bytes_per_second: null },
        use: { transfers_in_flight: 0, bytes_queued: 0, bytes_available: null },
      },
    },
  },
  listDevices: {
    emulated: {
      summary: 'On a machine without device-dax',
      status: 200,
      response: {
        devices: [device, { ...device, name: 'dax1.0', path: '/var/lib/dmad/devices/dax1.0' }],
      },
    },
  },
  listStreams: {
    none: {
      summary: 'Nobody uploads or downloads',
      status: 200,
      response: { streams: [], total: 0 },
    },
  },
  getDevice: {
    emulated: {
      summary: 'An emulated device',
      parameters: { name: 'dax0.0' },
      status: 200,
      response: device,
    },
  },
  readContent: {
    start: {
      summary: 'The first 4 KiB',
      parameters: { name: 'dax0.0', range: 'bytes=0-4095' },
      status: 206,
      contentType: 'application/octet-stream',
      response: undefined,
    },
  },
  writeContent: {
    text: {
      summary: 'A few bytes',
      parameters: { name: 'dax0.0', offset: '8KiB' },
      body: '123456789',
      status: 200,
      response: {
        ...{ bytes_written: 9, crc32c: 'e3069283' },
        durability: { requested: 'none', achieved: 'none', basis: null },
      },
    },
  },
  checksumContent: {
    start: {
      summary: 'Of nine bytes',
      parameters: { name: 'dax0.0', offset: '8KiB', size: '9' },
      status: 200,
      response: { crc32c: 'e3069283' },
    },
  },
  getRoot: {
    program: {
      summary: 'For a program',
      status: 200,
      response: { name: 'dmad', version: DAEMON_VERSION, docs: '/docs', openapi: '/openapi.json' },
    },
  },
  explainProblem: {
    json: {
      summary: 'A range outside its device',
      parameters: { code: 'out_of_range' },
      status: 200,
      response: {
        type: '/problems/out_of_range',
        code: 'out_of_range',
        title: 'The range lies outside the device',
        status: 422,
        meaning: 'A range does not lie inside its device.',
        remedy: 'Choose an offset and a size inside it: GET /devices/{name} has the size.',
        retry: 'no',
      },
    },
  },
  digestContent: {
    start: {
      summary: 'Of eight bytes',
      parameters: { name: 'dax0.0', offset: '1MiB', size: '8', block_size: '4KiB' },
      status: 200,
      response: {
        algorithm: 'sha256',
        block_size: 4096,
        offset: 1_048_576,
        size: 8,
        digests: ['af5570f5a1810b7af78caf4bc70a660f0df51e42baf91d4de5b2328de0e83dfc'],
        next_page_token: '',
      },
    },
  },
  listEngines: {
    cpuOnly: { summary: 'On a machine without a DMA engine', status: 200, response: engines },
  },
  calibrate: {
    cpuOnly: {
      summary: 'On a machine without a DMA engine',
      body: { device_name: 'dax0.0', offset: '128MiB', size: '64MiB' },
      status: 200,
      response: {
        ...engines,
        auto: {
          ...engines.auto,
          calibration: {
            measured_at: '2026-11-22T22:05:12.120Z',
            device_name: 'dax0.0',
            cpu: { latency_ns: 38_911, bytes_per_second: 11_915_600_417 },
            dma: null,
            both: null,
          },
        },
      },
    },
  },
  isLive: { live: { summary: 'It is', status: 200, response: { status: 'ok' } } },
  isReady: {
    ready: {
      summary: 'It is',
      status: 200,
      response: { ready: true, waiting_for: [] },
    },
    starting: {
      summary: 'It is starting',
      status: 503,
      response: { ready: false, waiting_for: ['recovery'] },
    },
  },
  getVersion: {
    noModule: {
      summary: 'Without the kernel module',
      status: 200,
      response: {
        ...{
          daemon: DAEMON_VERSION,
          api: { major: 1, minor: 0 },
          shim: DAEMON_VERSION,
          module: null,
          abi: null,
          node: '24.11.1',
        },
        journal: { persistence: 'backing_store' },
      },
    },
  },
  getMetrics: {
    text: {
      summary: 'Some of them',
      status: 200,
      contentType: 'text/plain',
      response:
        '# HELP dmad_queue_depth Transfers that wait for their turn.\n' +
        '# TYPE dmad_queue_depth gauge\ndmad_queue_depth 0\n',
    },
  },
  getOpenApi: {
    start: {
      summary: 'Its first members',
      status: 200,
      response: { openapi: '3.1.0', info: { title: 'dmad', version: DAEMON_VERSION } },
    },
  },
};
