// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from '@jest/globals';
import type { Replication, Transfer } from '../../../services/client/types.ts';
import { EXAMPLES } from '../../../services/daemon/openapi/examples.ts';
import { REPLICATION_EXAMPLES } from '../../../services/daemon/openapi/replication-examples.ts';
import { alertsOf } from '../../../services/dashboard/model/alerts.ts';
import {
  curlCommand,
  dmactlCommand,
  replicationCurl,
  replicationDmactl,
  requestOf,
  shellQuote,
} from '../../../services/dashboard/model/commands.ts';
import { historyQuery, passes, readFilter } from '../../../services/dashboard/model/filter.ts';
import { parseMetrics, sumOf } from '../../../services/dashboard/model/prometheus.ts';
import {
  EMPTY,
  errorsBefore,
  errorsByField,
  hasField,
  replicationFrom,
  requestFrom,
  SEGMENTS,
} from '../../../services/dashboard/model/request.ts';
import { formatRoute, parseRoute } from '../../../services/dashboard/model/route.ts';
import { segmentsFrom } from '../../../services/dashboard/model/segments.ts';
import {
  replicationSentence,
  sentenceOf,
  waitsFor,
} from '../../../services/dashboard/model/sentence.ts';
import {
  adoptDevice,
  adoptTransfer,
  type Device,
  splitDevice,
} from '../../../services/dashboard/model/transfer.ts';

const example = (name: string) => EXAMPLES.createTransfer?.[name]?.response as Transfer;
const copy = example('verified');
const REPLICATION = Object.values(REPLICATION_EXAMPLES.createReplication ?? {})[0]
  ?.response as Replication;

describe('a transfer in a sentence', () => {
  test.each([
    [copy, 'Copied 32 MiB from dax0.0 at 0 to dax1.0 at 1 MiB'],
    [{ ...copy, status: 'running' as const }, 'Copying 32 MiB from dax0.0 at 0 to dax1.0 at 1 MiB'],
    [{ ...copy, status: 'failed' as const }, 'Copy 32 MiB from dax0.0 at 0 to dax1.0 at 1 MiB'],
    [example('segments'), 'Copied 8 KiB in 2 pieces from dax0.0 to dax0.0'],
    [example('fill'), 'Filled 1 MiB of dax1.0 at 64 MiB'],
    [example('compare'), 'Compared 1 MiB of dax0.0 at 32 MiB with dax1.0 at 32 MiB'],
  ])('%#', (transfer, sentence) => {
    expect(sentenceOf(transfer)).toBe(sentence);
  });

  test('says what it waits for', () => {
    expect(waitsFor({ waiting_for: null })).toBeUndefined();
    expect(waitsFor({ waiting_for: { reason: 'rate', seconds: 90 } })).toContain('1 min 30 s');
  });
});

describe('a replication', () => {
  const replication = REPLICATION;

  test('is a sentence', () => {
    expect(replicationSentence({ ...replication, status: 'running', mode: 'full' })).toMatch(
      /^Replicating .*, all of it, from hostb:dax0.0 at .* to dax/,
    );
  });

  test('says that its peer is away, and why', () => {
    const waiting_for = {
      reason: 'peer',
      since: '2026-11-27T08:00:00.000Z',
      why: 'timeout',
    } as const;
    expect(waitsFor({ waiting_for })).toBe('waits for its peer: timeout');
  });

  test('is done again by dmactl, and by curl', () => {
    const limited = { ...replication, bytes_per_second: 2 ** 20, priority: 'high' as const };
    const command = replicationDmactl(limited, 'http://h:1');
    expect(command).toMatch(/^dmactl --url http:\/\/h:1 replicate hostb:dax0.0:/);
    expect(command).toMatch(/--rate 1MiB --priority high/);
    expect(replicationCurl(limited, 'http://h:1', false)).toContain('"bytes_per_second":1048576');
  });
});

describe('a transfer of a fleet', () => {
  const inFleet = { ...copy, host: 'hosta' };

  test('has devices that begin with its host, and is asked for with the host apart', () => {
    const adopted = adoptTransfer(inFleet);
    expect(adopted.dst_device_name).toBe('hosta/dax1.0');
    expect(adoptTransfer(copy)).toBe(copy);
    const between = adoptTransfer({ ...inFleet, dst_host: 'hostb' });
    expect(between.dst_device_name).toBe('hostb/dax1.0');
    expect(curlCommand(between, 'http://h:1', false)).toContain('"dst_host":"hostb"');
    expect(splitDevice('hosta/dax1.0')).toEqual({ host: 'hosta', device: 'dax1.0' });
    expect(adoptDevice({ name: 'dax0.0', host: 'hosta' } as Device).name).toBe('hosta/dax0.0');
    expect(curlCommand(adopted, 'http://h:1', false)).toContain('"device_name":"dax0.0"');
    expect(curlCommand(adopted, 'http://h:1', false)).toContain('"host":"hosta"');
    expect(dmactlCommand(adopted, 'http://h:1')).toContain('copy hosta/dax0.0:0+32MiB');
  });

  test('waits for its host', () => {
    expect(waitsFor({ waiting_for: { reason: 'host', why: 'away' } })).toBe(
      'waits for its host: away',
    );
    const filter = readFilter({ show: 'all', device: 'hosta/dax1.0' });
    expect(historyQuery(filter)).toMatchObject({ device_name: 'hosta/dax1.0' });
  });
});

describe('the commands that do it again', () => {
  test('quote what a shell would take for its own', () => {
    expect(shellQuote('dax0.0:0+32MiB')).toBe('dax0.0:0+32MiB');
    expect(shellQuote("a'b $(x)")).toBe("'a'\\''b $(x)'");
  });

  test('name all that was asked for, and nothing that is a default', () => {
    expect(requestOf(copy)).toEqual({
      ...{ device_name: 'dax0.0', dst_device_name: 'dax1.0', src_offset: 0, dst_offset: 1_048_576 },
      ...{ size: 33_554_432, verify: 'crc32c', labels: { job: 'nightly' } },
    });
    expect(requestOf(example('fill'))).toEqual({
      ...{ operation: 'fill', device_name: 'dax1.0', dst_offset: 67_108_864, size: 1_048_576 },
      pattern: '00',
    });
  });

  test('are lines for a shell', () => {
    expect(dmactlCommand(copy, 'http://h:1')).toBe(
      'dmactl --url http://h:1 copy dax0.0:0+32MiB dax1.0:1MiB --verify --label job=nightly',
    );
    expect(dmactlCommand(example('segments'), 'http://h:1')).toBeUndefined();
    expect(curlCommand(copy, 'http://h:1', true)).toContain('Bearer $DMAD_TOKEN');
  });
});

describe('addresses', () => {
  test.each([
    ['', { view: 'map', query: {} }],
    ['#/nonsense', { view: 'map', query: {} }],
    ['#/transfers', { view: 'transfers', query: {} }],
    ['#/transfers/a%2Fb', { view: 'transfers', id: 'a/b', query: {} }],
    ['#/transfers/%', { view: 'transfers', id: '%', query: {} }],
    ['#/map?dax0.0=1+2', { view: 'map', query: { 'dax0.0': '1 2' } }],
  ])('%s', (hash, route) => {
    expect(parseRoute(hash)).toEqual(route);
  });

  test('are the same when they are read', () => {
    const route = { view: 'transfers', query: { label: 'a:b&c' } } as const;
    expect(parseRoute(formatRoute(route))).toEqual(route);
  });
});

describe('a filter', () => {
  test('lets pass what the daemon would', () => {
    const filter = readFilter({ show: 'succeeded', device: 'dax1.0', label: 'job:nightly' });
    expect(passes(filter, copy)).toBe(true);
    expect(passes({ ...filter, device: 'dax9.0' }, copy)).toBe(false);
    expect(passes({ ...filter, label: 'job:daily' }, copy)).toBe(false);
    expect(passes({ ...filter, engine: 'dma' }, copy)).toBe(false);
    expect(passes(filter, { ...copy, status: 'running' })).toBe(false);
    expect(historyQuery(filter)).toEqual({
      ...{ status: 'succeeded', view: 'basic', device_name: 'dax1.0', label: 'job:nightly' },
    });
  });

  test('of those that run asks for no history, and nonsense is no filter', () => {
    expect(historyQuery(readFilter({ show: 'running' }))).toBeUndefined();
    expect(readFilter({ show: 'x', operation: 'x', engine: 'x', label: 'x' })).toEqual({
      show: 'all',
    });
  });
});

describe('a form', () => {
  const typed = { ...EMPTY, device_name: 'dax0.0', dst_device_name: 'dax1.0', size: '32 MiB' };

  test('is a request once it has what the daemon needs', () => {
    expect(requestFrom('copy', EMPTY)).toBeUndefined();
    expect(requestFrom('copy', { ...typed, labels: 'job=nightly, x' })).toEqual({
      ...{ operation: 'copy', device_name: 'dax0.0', dst_device_name: 'dax1.0', src_offset: '0' },
      ...{ dst_offset: '0', size: '32MiB', engine: 'auto', durability: 'flush', verify: 'none' },
      ...{ priority: 'normal', labels: { job: 'nightly', x: '' } },
    });
    expect(requestFrom('fill', typed)).toMatchObject({ device_name: 'dax1.0', pattern: '00' });
    expect(requestFrom('compare', typed)).not.toHaveProperty('durability');
  });

  test('takes segments, one a line', () => {
    const text = '0, 1 MiB, 4 KiB\n# a note\n\n8192\t0x2000  4 KiB\n';
    expect(segmentsFrom(text, false)).toEqual({
      segments: [
        { src_offset: '0', dst_offset: '1MiB', size: '4KiB' },
        { src_offset: '8192', dst_offset: '0x2000', size: '4KiB' },
      ],
      wrong: undefined,
    });
    expect(segmentsFrom('1MiB 4KiB', true).segments).toEqual([
      { dst_offset: '1MiB', size: '4KiB' },
    ]);
    expect(segmentsFrom('0, 1, 2\n0, 1', false).wrong).toBe('line 2: write from, to, size');
    expect(segmentsFrom('0,,1', false).wrong).toBeDefined();

    const several = { ...typed, ranges: SEGMENTS, segments: text };
    const request = requestFrom('copy', several);
    expect(request?.segments).toHaveLength(2);
    expect(request).not.toHaveProperty('size');
    expect(hasField('copy', 'size', several)).toBe(false);
    expect(hasField('download', 'size', several)).toBe(true);
    const torn = { ...several, segments: '1, 2' };
    expect(requestFrom('copy', torn)).toBeUndefined();
    expect(errorsBefore('copy', torn)).toEqual({ segments: 'line 1: write from, to, size' });
  });

  test('between hosts of a fleet asks for nothing that a replication has not', () => {
    const between = { ...typed, device_name: 'a/dax0.0', dst_device_name: 'b/dax0.0' };
    const request = requestFrom('copy', { ...between, ranges: SEGMENTS });
    expect(request).toMatchObject({ device_name: 'a/dax0.0', size: '32MiB', priority: 'normal' });
    for (const field of ['engine', 'durability', 'verify', 'segments']) {
      expect(request).not.toHaveProperty(field);
    }
  });

  test('has what is wrong with a segment by its number, and of many the first', () => {
    const errors = Array.from({ length: 7 }, (_, index) => ({
      pointer: `/segments/${index}/src_offset`,
      detail: 'no',
    }));
    const { segments } = errorsByField('copy', 'all', errors);
    expect(segments).toContain('segment 1, src offset: no; segment 2');
    expect(segments).toContain('segment 5, src offset: no; and 2 more');
  });

  test('replicates once it has what the daemon needs', () => {
    const of = { ...typed, peer: ' hostb', src_device_name: 'dax0.0', block_size: '64 KiB' };
    expect(replicationFrom({ ...of, peer: '' })).toBeUndefined();
    expect(replicationFrom(of)).toEqual({
      ...{ peer: 'hostb', src_device_name: 'dax0.0', src_offset: '0', size: '32MiB' },
      ...{ dst_device_name: 'dax1.0', dst_offset: '0', block_size: '64KiB' },
      ...{ mode: 'delta', priority: 'normal' },
    });
  });

  test('has what is wrong at its field', () => {
    const at = (pointer: string) => errorsByField('fill', 'all', [{ pointer, detail: 'no' }]);
    expect(at('/size')).toEqual({ size: 'no' });
    expect(at('/timeout_ms')).toEqual({ timeout_s: 'no' });
    expect(at('/device_name')).toEqual({ dst_device_name: 'no' });
    expect(at('/src_offset')).toEqual({ form: 'no' });
    expect(errorsByField('copy', 'all', [])).toEqual({ form: 'all' });
  });
});

test('metrics are read from their text', () => {
  const metrics = parseMetrics(
    '# HELP a x\n# TYPE a counter\na{b="c\\"d",e="f"} 1\na{b="g"} 2.5\nn NaN\nq 1e3 1700000000\n',
  );
  expect(metrics.get('a')).toEqual([
    { labels: { b: 'c"d', e: 'f' }, value: 1 },
    { labels: { b: 'g' }, value: 2.5 },
  ]);
  expect(sumOf(metrics, 'a')).toBe(3.5);
  expect(sumOf(metrics, 'a', { b: 'g' })).toBe(2.5);
  expect(sumOf(metrics, 'missing')).toBeUndefined();
  expect(sumOf(metrics, 'q')).toBe(1000);
});

describe('alerts', () => {
  const quiet = {
    readiness: undefined,
    devices: undefined,
    engines: undefined,
    metrics: undefined,
  };

  test('are none where nothing is wrong', () => {
    expect(alertsOf(quiet)).toEqual([]);
    expect(alertsOf({ ...quiet, readiness: { ready: true, waiting_for: [] } })).toEqual([]);
  });

  test('have what keeps the daemon from work first', () => {
    const alerts = alertsOf({
      ...quiet,
      readiness: { ready: false, waiting_for: ['journal'], degraded: ['dax1.0'] },
      metrics: parseMetrics('dmad_emulated_faults{kind="slow"} 2\n'),
    });
    expect(alerts.map(({ level }) => level)).toEqual(['wrong', 'notice', 'notice']);
    expect(alerts[0]?.text).toContain('journal');
    expect(alerts[2]?.text).toContain('2 faults');
  });
});
