// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { SHIM_ABI } from '../../../services/base/native/shim.ts';
import { SegmentList } from '../../../services/base/segments.ts';
import {
  DMA_ERRORS,
  FLUSH_BASES,
  MAX_SEGMENTS,
  OPERATIONS,
  PERSISTENCE,
} from '../../../services/base/vocabulary.ts';
import * as records from '../../../services/daemon/engines/records.ts';
import { runs } from '../../support/depth.ts';

const INCLUDE = fileURLToPath(new URL('../../../../native-shim/include', import.meta.url));

const STRUCTS = {
  dma_shim_options: ['cpu_threads', 'reserved'],
  dma_shim_device_spec: ['size', 'align', 'kind', 'persistence'],
  dma_shim_device_info: ['size', 'persistence', 'flush_basis'],
  dma_shim_segment: ['src_offset', 'dst_offset', 'size'],
  dma_shim_job: [
    ...['tag', 'memory_size', 'source', 'destination', 'engine', 'priority', 'flags', 'crc_seed'],
    ...[
      'segment_count',
      'timeout_ms',
      'operation',
      'pattern_size',
      'pattern',
      'socket',
      'reserved',
    ],
  ],
  dma_shim_completion: [
    ...['tag', 'bytes_done', 'started_ns', 'finished_ns', 'copy_ns', 'flush_ns', 'verify_ns'],
    ...['kind', 'status', 'segment', 'source_crc', 'destination_crc', 'dma_error'],
    ...['dma_channels', 'dma_channel', 'dma_retries', 'difference', 'received'],
  ],
  dma_shim_refused: ['driver', 'device', 'reason', 'reserved'],
  dma_shim_dma_info: [
    ...['version', 'abi', 'channels', 'channel_limit', 'refused_count', 'reserved', 'refused'],
  ],
  dma_shim_channel_info: [
    ...['state', 'numa_node', 'in_flight', 'reserved', 'name', 'driver', 'operations', 'bytes'],
    ...['read_errors', 'write_errors', 'aborted', 'lost', 'timeouts', 'recoveries'],
  ],
  dma_shim_cpu_info: ['threads', 'cpus', 'instruction_set', 'stream_from', 'model'],
  dma_shim_storage: ['persistence', 'reserved', 'basis'],
  dma_shim_range: ['offset', 'size'],
} as const;
type StructName = keyof typeof STRUCTS;

const CONSTANTS = [
  ...[
    'DMA_SHIM_ABI',
    'DMA_SHIM_SUBMIT_COMPLETED',
    'DMA_SHIM_MAX_SEGMENTS',
    'DMA_SHIM_MEMORY',
    'DMA_SHIM_NOWHERE',
    'DMA_SHIM_SOCKET',
  ],
  ...['DMA_SHIM_DEVDAX', 'DMA_SHIM_FILE', 'DMA_SHIM_VOLATILE', 'DMA_SHIM_MEMORY_CONTROLLER'],
  ...[
    'DMA_SHIM_CPU_CACHE',
    'DMA_SHIM_BACKING_STORE',
    'DMA_SHIM_UNKNOWN',
    'DMA_SHIM_FLUSH_NONE',
    'DMA_SHIM_FLUSH_CLWB',
  ],
  ...['DMA_SHIM_FLUSH_CLFLUSHOPT', 'DMA_SHIM_FLUSH_CLFLUSH', 'DMA_SHIM_FLUSH_MSYNC'],
  ...['DMA_SHIM_FLUSH_CPU_CACHE', 'DMA_SHIM_ENGINE_CPU', 'DMA_SHIM_ENGINE_DMA', 'DMA_SHIM_HIGH'],
  ...['DMA_SHIM_NORMAL', 'DMA_SHIM_LOW', 'DMA_SHIM_JOB_FLUSH', 'DMA_SHIM_JOB_VERIFY'],
  ...['DMA_SHIM_JOB_CHECKSUM', 'DMA_SHIM_PROGRESS', 'DMA_SHIM_DONE'],
  ...['NONE', 'READ', 'WRITE', 'LOST', 'MAP', 'ABORTED', 'TIMEOUT', 'DEVICE', 'CHANNEL'].map(
    (name) => `DMA_SHIM_DMA_ERROR_${name}`,
  ),
  ...['GONE', 'READY', 'RECOVERING', 'SET_ASIDE'].map((name) => `DMA_SHIM_CHANNEL_${name}`),
  ...['DMA_SHIM_COPY', 'DMA_SHIM_FILL', 'DMA_SHIM_COMPARE', 'DMA_SHIM_MAX_PATTERN'],
];

interface Field {
  offset: number;
  size: number;
}

/** What the C compiler makes of the header: the one that is shipped, not a copy of it here. */
interface Abi {
  sizes: Record<StructName, number>;
  fields: Record<string, Field>;
  constants: Record<string, number>;
}

function compileAbi(): Abi {
  const lines = Object.entries(STRUCTS).flatMap(([name, fields]) => [
    `printf("%s\\"${name}\\":%zu", "", sizeof(struct ${name}));`,
    ...fields.map(
      (field) =>
        `printf(",\\"${name}.${field}\\":{\\"offset\\":%zu,\\"size\\":%zu}", ` +
        `offsetof(struct ${name}, ${field}), sizeof(((struct ${name} *)0)->${field}));`,
    ),
    'printf(",");',
  ]);
  const constants = CONSTANTS.map((name) => `printf("\\"${name}\\":%lld,", (long long)${name});`);
  const source = `#include <stddef.h>
#include <stdio.h>
#include "dma_shim.h"
int main(void)
{
printf("{");
${[...lines, ...constants].join('\n')}
printf("\\"end\\":0}");
return 0;
}
`;
  const directory = mkdtempSync(join(tmpdir(), 'dmad-abi-'));
  try {
    writeFileSync(join(directory, 'abi.c'), source);
    const program = join(directory, 'abi');
    execFileSync('cc', [`-I${INCLUDE}`, '-o', program, join(directory, 'abi.c')]);
    const found = JSON.parse(execFileSync(program, { encoding: 'utf8' }));
    const pick = (wanted: (key: string) => boolean) =>
      Object.fromEntries(Object.entries(found).filter(([key]) => wanted(key)));
    return {
      sizes: pick((key) => key in STRUCTS) as Abi['sizes'],
      fields: pick((key) => key.includes('.')) as Abi['fields'],
      constants: pick((key) => key.startsWith('DMA_SHIM_')) as Abi['constants'],
    };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

let abi: Abi;
beforeAll(() => {
  abi = compileAbi();
});

const constant = (name: string): number => abi.constants[name] as number;

/** A field as the compiler has it. */
function read(bytes: Buffer, name: string, at = 0): bigint {
  const { offset, size } = abi.fields[name] as Field;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return size === 8
    ? view.getBigUint64(at + offset, true)
    : BigInt(view.getUint32(at + offset, true));
}

function write(bytes: Buffer, name: string, value: bigint, at = 0): void {
  const { offset, size } = abi.fields[name] as Field;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (size === 8) view.setBigUint64(at + offset, value, true);
  else view.setUint32(at + offset, Number(BigInt.asUintN(32, value)), true);
}

describe('the layouts of dma_shim.h', () => {
  test('have the sizes that the daemon reckons with', () => {
    expect({
      dma_shim_options: records.OPTIONS_SIZE,
      dma_shim_device_spec: records.SPEC_SIZE,
      dma_shim_device_info: records.INFO_SIZE,
      dma_shim_segment: records.SEGMENT_SIZE,
      dma_shim_job: records.JOB_SIZE,
      dma_shim_completion: records.COMPLETION_SIZE,
      dma_shim_refused: records.REFUSED_SIZE,
      dma_shim_dma_info: records.DMA_INFO_SIZE,
      dma_shim_channel_info: records.CHANNEL_INFO_SIZE,
      dma_shim_cpu_info: records.CPU_INFO_SIZE,
      dma_shim_storage: records.STORAGE_SIZE,
      dma_shim_range: records.RANGE_SIZE,
    }).toEqual(abi.sizes);
  });

  test('have no padding, and no field that this test does not know of', () => {
    for (const [name, fields] of Object.entries(STRUCTS)) {
      let end = 0;
      for (const field of fields) {
        const { offset, size } = abi.fields[`${name}.${field}`] as Field;
        expect([field, offset]).toEqual([field, end]);
        end = offset + size;
      }
      expect([name, end]).toEqual([name, abi.sizes[name as StructName]]);
    }
  });

  test('of what engine.ts reads and writes itself are as it has them', () => {
    const offsets = Object.fromEntries(
      Object.entries(abi.fields).map(([name, { offset }]) => [name, offset]),
    );
    expect(offsets).toMatchObject({
      'dma_shim_device_spec.size': 0,
      'dma_shim_device_spec.align': 8,
      'dma_shim_device_spec.kind': 16,
      'dma_shim_device_spec.persistence': 20,
      'dma_shim_device_info.size': 0,
      'dma_shim_device_info.persistence': 8,
      'dma_shim_device_info.flush_basis': 12,
      'dma_shim_range.offset': 0,
      'dma_shim_range.size': 8,
      'dma_shim_storage.persistence': 0,
      'dma_shim_storage.basis': 8,
      'dma_shim_cpu_info.threads': 0,
      'dma_shim_cpu_info.cpus': 4,
      'dma_shim_cpu_info.instruction_set': 8,
      'dma_shim_cpu_info.stream_from': 32,
      'dma_shim_cpu_info.model': 40,
    });
  });

  test('come with the same constants', () => {
    expect(constant('DMA_SHIM_ABI')).toBe(SHIM_ABI);
    expect(constant('DMA_SHIM_SUBMIT_COMPLETED')).toBe(records.SUBMIT_COMPLETED);
    expect(constant('DMA_SHIM_MAX_SEGMENTS')).toBe(MAX_SEGMENTS);
    expect(constant('DMA_SHIM_MAX_PATTERN')).toBe(records.MAX_PATTERN);
    expect(constant('DMA_SHIM_MEMORY')).toBe(records.MEMORY);
    expect(constant('DMA_SHIM_NOWHERE')).toBe(records.NOWHERE);
    expect(constant('DMA_SHIM_SOCKET')).toBe(records.SOCKET);
    expect(constant('DMA_SHIM_DEVDAX')).toBe(records.DEVICE_KINDS.devdax);
    expect(constant('DMA_SHIM_FILE')).toBe(records.DEVICE_KINDS.emulated);
    for (const [value, name] of PERSISTENCE.entries()) {
      expect([name, constant(`DMA_SHIM_${name.toUpperCase()}`)]).toEqual([name, value]);
    }
    for (const [value, name] of FLUSH_BASES.entries()) {
      expect([name, constant(`DMA_SHIM_FLUSH_${name.toUpperCase()}`)]).toEqual([name, value]);
    }
    for (const [value, name] of OPERATIONS.entries()) {
      expect([name, constant(`DMA_SHIM_${name.toUpperCase()}`)]).toEqual([name, value]);
    }
    for (const [value, name] of DMA_ERRORS.entries()) {
      const macro = `DMA_SHIM_DMA_ERROR_${name.replace('_gone', '').toUpperCase()}`;
      expect([name, constant(macro)]).toEqual([name, value]);
    }
    for (const [value, name] of records.CHANNEL_STATES.entries()) {
      expect([name, constant(`DMA_SHIM_CHANNEL_${name.toUpperCase()}`)]).toEqual([name, value]);
    }
  });
});

const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const u53 = fc.oneof(
  fc.maxSafeNat(),
  fc.nat(100),
  fc.constantFrom(2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, Number.MAX_SAFE_INTEGER),
);

describe('encodeJob', () => {
  test('writes every field where the compiler has it, and no other byte', () => {
    const job = fc.record({
      source: u32,
      destination: u32,
      engine: fc.constantFrom('cpu' as const, 'dma' as const),
      priority: fc.constantFrom('high' as const, 'normal' as const, 'low' as const),
      segments: fc
        .integer({ min: 1, max: 4096 })
        .map((count) => new SegmentList(new Float64Array(3 * count))),
      flush: fc.boolean(),
      verify: fc.boolean(),
      checksum: fc.boolean(),
      crcSeed: u32,
      timeoutMs: u32,
      memory: fc.option(fc.nat(4096).map((size) => Buffer.alloc(size))),
      operation: fc.option(fc.constantFrom(...OPERATIONS)),
      pattern: fc.option(fc.uint8Array({ minLength: 1, maxLength: records.MAX_PATTERN })),
      socket: fc.option(fc.integer({ min: -1, max: 2 ** 31 - 1 })),
    });
    fc.assert(
      fc.property(u53, job, (tag, { memory, operation, pattern, socket, ...given }) => {
        const bytes = Buffer.alloc(records.JOB_SIZE);
        records.encodeJob(bytes, tag, {
          ...given,
          ...(memory && { memory }),
          ...(operation && { operation }),
          ...(pattern && { pattern: Buffer.from(pattern) }),
          ...(socket !== null && { descriptor: () => socket }),
        });
        const flags =
          (given.flush ? constant('DMA_SHIM_JOB_FLUSH') : 0) +
          (given.verify ? constant('DMA_SHIM_JOB_VERIFY') : 0) +
          (given.checksum ? constant('DMA_SHIM_JOB_CHECKSUM') : 0);
        const expected = Buffer.alloc(records.JOB_SIZE);
        const set = (field: string, value: number) =>
          write(expected, `dma_shim_job.${field}`, BigInt(value));
        set('tag', tag);
        set('memory_size', memory?.length ?? 0);
        set('source', given.source);
        set('destination', given.destination);
        set('engine', constant(`DMA_SHIM_ENGINE_${given.engine.toUpperCase()}`));
        set('priority', constant(`DMA_SHIM_${given.priority.toUpperCase()}`));
        set('flags', flags);
        set('crc_seed', given.crcSeed);
        set('segment_count', given.segments.length);
        set('timeout_ms', given.timeoutMs);
        set('operation', constant(`DMA_SHIM_${(operation ?? 'copy').toUpperCase()}`));
        set('pattern_size', pattern?.length ?? 0);
        set('socket', socket ?? 0);
        expected.set(pattern ?? [], abi.fields['dma_shim_job.pattern']?.offset);
        assert.deepEqual(bytes, expected);
      }),
      { numRuns: runs(1000) },
    );
  });

  test('leaves nothing of the job before, in a record that is used again', () => {
    const plain = {
      source: 0,
      destination: 1,
      engine: 'cpu' as const,
      priority: 'high' as const,
      segments: SegmentList.of({ src_offset: 0, dst_offset: 0, size: 1 }),
    };
    const used = Buffer.alloc(records.JOB_SIZE);
    records.encodeJob(used, 7, {
      ...plain,
      flush: true,
      verify: true,
      checksum: true,
      crcSeed: 9,
      timeoutMs: 10,
      memory: Buffer.alloc(5),
      operation: 'fill',
      pattern: Buffer.alloc(64, 0xff),
      descriptor: () => 5,
    });
    records.encodeJob(used, 8, plain);
    const fresh = Buffer.alloc(records.JOB_SIZE);
    records.encodeJob(fresh, 8, plain);
    expect(used).toEqual(fresh);
    expect(read(used, 'dma_shim_job.flags')).toBe(0n);
  });
});

test('encodeSegments writes every offset and size exactly', () => {
  const segment = fc.record({ src_offset: u53, dst_offset: u53, size: u53 });
  fc.assert(
    fc.property(fc.array(segment, { minLength: 1, maxLength: 20 }), (segments) => {
      const words = new Uint32Array((segments.length * records.SEGMENT_SIZE) / 4).fill(0xdeadbeef);
      records.encodeSegments(words, SegmentList.from(segments));
      const bytes = Buffer.from(words.buffer);
      for (const [index, given] of segments.entries()) {
        for (const field of ['src_offset', 'dst_offset', 'size'] as const) {
          const at = index * records.SEGMENT_SIZE;
          assert.equal(read(bytes, `dma_shim_segment.${field}`, at), BigInt(given[field]));
        }
      }
    }),
    { numRuns: runs(1000) },
  );
});

test('decodeCompletion reads every field where the compiler has it', () => {
  const given = fc.record({
    tag: u53,
    bytes_done: u53,
    started_ns: u53,
    finished_ns: u53,
    copy_ns: u53,
    flush_ns: u53,
    verify_ns: u53,
    kind: fc.constantFrom('DMA_SHIM_PROGRESS', 'DMA_SHIM_DONE'),
    status: fc.integer({ min: -4095, max: 0 }),
    segment: fc.nat(4095),
    source_crc: u32,
    destination_crc: u32,
    dma_error: fc.nat(8),
    dma_channels: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    dma_channel: fc.oneof(fc.nat(63), fc.constant(2 ** 32 - 1)),
    dma_retries: u32,
    difference: fc.oneof(u53.map(BigInt), fc.constant(2n ** 64n - 1n)),
    received: u53,
  });
  fc.assert(
    fc.property(given, fc.nat(3), ({ kind, ...fields }, index) => {
      const bytes = Buffer.alloc(4 * records.COMPLETION_SIZE, 0xa5);
      const at = index * records.COMPLETION_SIZE;
      for (const [field, value] of Object.entries({ ...fields, kind: constant(kind) })) {
        write(bytes, `dma_shim_completion.${field}`, BigInt(value), at);
      }
      assert.deepEqual(records.decodeCompletion(bytes, at), {
        tag: fields.tag,
        bytesDone: fields.bytes_done,
        startedNs: fields.started_ns,
        finishedNs: fields.finished_ns,
        copyNs: fields.copy_ns,
        flushNs: fields.flush_ns,
        verifyNs: fields.verify_ns,
        done: kind === 'DMA_SHIM_DONE',
        status: fields.status,
        segment: fields.segment,
        sourceCrc: fields.source_crc,
        destinationCrc: fields.destination_crc,
        difference: fields.difference === 2n ** 64n - 1n ? undefined : Number(fields.difference),
        received: fields.received,
        dma: {
          error: DMA_ERRORS[fields.dma_error],
          channels: Array.from({ length: 64 }, (_, id) => id).filter(
            (id) => (fields.dma_channels >> BigInt(id)) & 1n,
          ),
          failedChannel: fields.dma_channel === 2 ** 32 - 1 ? undefined : fields.dma_channel,
          retries: fields.dma_retries,
        },
      });
    }),
    { numRuns: runs(1000) },
  );
});

test('decodeChannel reads every field where the compiler has it', () => {
  const bytes = Buffer.alloc(records.CHANNEL_INFO_SIZE);
  const numbers = STRUCTS.dma_shim_channel_info.slice(6);
  for (const [index, field] of numbers.entries()) {
    write(bytes, `dma_shim_channel_info.${field}`, 2n ** 40n + BigInt(index));
  }
  write(bytes, 'dma_shim_channel_info.state', BigInt(constant('DMA_SHIM_CHANNEL_RECOVERING')));
  write(bytes, 'dma_shim_channel_info.numa_node', -1n);
  write(bytes, 'dma_shim_channel_info.in_flight', 7n);
  bytes.write('dma0chan1', abi.fields['dma_shim_channel_info.name']?.offset ?? 0);
  bytes.write('x'.repeat(32), abi.fields['dma_shim_channel_info.driver']?.offset ?? 0);
  const at = (field: (typeof numbers)[number]) => 2 ** 40 + numbers.indexOf(field);
  expect(records.decodeChannel(bytes, 5)).toEqual({
    id: 5,
    name: 'dma0chan1',
    driver: 'x'.repeat(32),
    state: 'recovering',
    numaNode: null,
    inFlight: 7,
    operations: at('operations'),
    bytes: at('bytes'),
    errors: {
      read: at('read_errors'),
      write: at('write_errors'),
      aborted: at('aborted'),
      lost: at('lost'),
      timeout: at('timeouts'),
    },
    recoveries: at('recoveries'),
  });
  write(bytes, 'dma_shim_channel_info.numa_node', 1n);
  expect(records.decodeChannel(bytes, 0).numaNode).toBe(1);
});

test('decodeRefused reads every provider where the compiler has it', () => {
  const bytes = Buffer.alloc(records.DMA_INFO_SIZE);
  const at = (field: string, n: number) =>
    (abi.fields['dma_shim_dma_info.refused']?.offset ?? 0) +
    n * records.REFUSED_SIZE +
    (abi.fields[`dma_shim_refused.${field}`]?.offset ?? 0);
  write(bytes, 'dma_shim_dma_info.refused_count', 2n);
  bytes.write('idxd', at('driver', 0));
  bytes.write('0000:6a:01.0', at('device', 0));
  bytes.writeUInt32LE(2, at('reason', 0));
  bytes.write('x'.repeat(32), at('driver', 1));
  bytes.writeUInt32LE(99, at('reason', 1)); // of a module that is newer
  expect(records.decodeRefused(bytes)).toEqual([
    { driver: 'idxd', device: '0000:6a:01.0', reason: 'order' },
    { driver: 'x'.repeat(32), device: '', reason: 'other' },
  ]);
});

test('readU64 reads what writeU64 wrote', () => {
  fc.assert(
    fc.property(u53, fc.nat(8), (value, at) => {
      const bytes = Buffer.alloc(16, 0xff);
      records.writeU64(bytes, at, value);
      assert.equal(bytes.readBigUInt64LE(at), BigInt(value));
      assert.equal(records.readU64(bytes, at), value);
    }),
    { numRuns: runs(1000) },
  );
});
