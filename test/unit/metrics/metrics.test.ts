// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { silentLog } from '../../../services/base/log.ts';
import { Inventory } from '../../../services/daemon/devices/device.ts';
import type { Engine } from '../../../services/daemon/engines/engine.ts';
import type { Journal } from '../../../services/daemon/journal/journal.ts';
import { Metrics } from '../../../services/daemon/metrics/metrics.ts';
import type { TransferService } from '../../../services/daemon/transfers/service.ts';
import { Problem } from '../../../services/http/problems/problem.ts';
import { type FakeDmaPort, makeChannel, makeDma, readyPort } from '../../support/fake-dma.ts';
import { completion, makeDevice, makeTransfer } from '../transfers/make-transfer.ts';

describe('Metrics', () => {
  let metrics: Metrics;
  let port: FakeDmaPort;
  afterEach(() => metrics.close());
  const transfers = { running: 0, queued: 0 };
  beforeEach(() => {
    metrics = new Metrics();
    port = readyPort();
    transfers.running = 0;
    metrics.watch({
      transfers: transfers as TransferService,
      replications: {
        running: { all: 2, awaitingPeer: 1 },
        inconsistent: { bytesOf: ({ size }) => size / 2 },
      },
      inventory: new Inventory([
        makeDevice({ size: 4096 }),
        makeDevice({ name: 'dax1.0', size: 8192 }),
      ]),
      engine: { shimVersion: '1.2.3' } as Engine,
      dma: makeDma(port),
      journal: { size: async () => 12_345 } as Journal,
      log: { ...silentLog().health, lost: { daemon: 7, audit: 0 }, waiting: 99 },
    });
  });

  const samples = async (name: string) =>
    (await metrics.registry.metrics())
      .split('\n')
      .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));

  test('has all that the contract names, with or without samples', async () => {
    const text = await metrics.registry.metrics();
    for (const [name, type] of [
      ['dmad_transfers_total', 'counter'],
      ['dmad_transfer_bytes_total', 'counter'],
      ['dmad_transfer_phase_seconds', 'histogram'],
      ['dmad_transfers_in_flight', 'gauge'],
      ['dmad_queue_depth', 'gauge'],
      ['dmad_channel_bytes_total', 'counter'],
      ['dmad_channel_errors_total', 'counter'],
      ['dmad_journal_bytes', 'gauge'],
      ['dmad_journal_errors_total', 'counter'],
      ['dmad_journal_sync_seconds', 'histogram'],
      ['dmad_device_size_bytes', 'gauge'],
      ['dmad_build_info', 'gauge'],
      ['process_resident_memory_bytes', 'gauge'],
      ['nodejs_eventloop_lag_seconds', 'gauge'],
    ]) {
      expect(text).toMatch(new RegExp(`^# HELP ${name} \\S`, 'm'));
      expect(text).toContain(`# TYPE ${name} ${type}\n`);
    }
  });

  test('counts a transfer by how it ended, its bytes whatever became of it', async () => {
    for (const [status, bytesDone] of [
      ['succeeded', 4096],
      ['succeeded', 4096],
      ['failed', 100],
      ['cancelled', 5],
    ] as const) {
      const transfer = makeTransfer();
      transfer.start(transfer.choice);
      const code = status === 'failed' ? 'media_error' : 'cancelled';
      const error = status === 'succeeded' ? undefined : new Problem(code, '');
      transfer.finish(transfer.outcome(completion({ bytesDone }), error));
      metrics.progressed(transfer, 1, 'cpu');
      metrics.progressed(transfer, bytesDone - 1, 'cpu');
      metrics.finished(transfer);
    }
    // All that there can be begin with 0, so that the first one shows as an increase.
    expect(await samples('dmad_transfers_total')).toEqual([
      'dmad_transfers_total{operation="copy",engine="cpu",status="succeeded"} 2',
      'dmad_transfers_total{operation="copy",engine="cpu",status="failed"} 1',
      'dmad_transfers_total{operation="copy",engine="cpu",status="cancelled"} 1',
      'dmad_transfers_total{operation="copy",engine="cpu",status="interrupted"} 0',
      'dmad_transfers_total{operation="copy",engine="dma",status="succeeded"} 0',
      'dmad_transfers_total{operation="copy",engine="dma",status="failed"} 0',
      'dmad_transfers_total{operation="copy",engine="dma",status="cancelled"} 0',
      'dmad_transfers_total{operation="copy",engine="dma",status="interrupted"} 0',
      ...['fill', 'compare'].flatMap((operation) =>
        ['succeeded', 'failed', 'cancelled', 'interrupted'].map(
          (status) =>
            `dmad_transfers_total{operation="${operation}",engine="cpu",status="${status}"} 0`,
        ),
      ),
    ]);
    expect(await samples('dmad_transfer_bytes_total')).toEqual([
      'dmad_transfer_bytes_total{operation="copy",engine="cpu"} 8297',
      'dmad_transfer_bytes_total{operation="copy",engine="dma"} 0',
      'dmad_transfer_bytes_total{operation="fill",engine="cpu"} 0',
      'dmad_transfer_bytes_total{operation="compare",engine="cpu"} 0',
    ]);
    const failures = await samples('dmad_transfer_failures_total');
    expect(failures.length).toBeGreaterThan(1);
    expect(failures.filter((line) => !line.endsWith(' 0'))).toEqual([
      'dmad_transfer_failures_total{code="media_error"} 1',
    ]);
  });

  test('times only the phases that there were, in seconds', async () => {
    const transfer = makeTransfer({ flush: true, verify: false });
    transfer.start(transfer.choice);
    transfer.finish(
      transfer.outcome(completion({ copyNs: 2e9, flushNs: 5e8, verifyNs: 1 }), undefined),
    );
    metrics.finished(transfer);
    const sums = await samples('dmad_transfer_phase_seconds_sum');
    expect(sums).toContain('dmad_transfer_phase_seconds_sum{phase="copy",engine="cpu"} 2');
    expect(sums).toContain('dmad_transfer_phase_seconds_sum{phase="flush",engine="cpu"} 0.5');
    expect(sums.some((line) => line.includes('"queue"'))).toBe(true);
    expect(sums.some((line) => line.includes('"verify"'))).toBe(false);
  });

  test('passes on what the module counts of each channel', async () => {
    const errors = { read: 1, write: 2, aborted: 3, lost: 4, timeout: 5 };
    const first = makeChannel({ operations: 7, errors, inFlight: 2, recoveries: 6 });
    for (const expected of [4096, 8192]) {
      port.channels = [
        { ...first, bytes: expected },
        makeChannel({ id: 1, name: 'dma0chan1', state: 'set_aside' }),
      ];
      expect(await samples('dmad_channel_bytes_total')).toEqual([
        `dmad_channel_bytes_total{channel="dma0chan0"} ${expected}`,
        'dmad_channel_bytes_total{channel="dma0chan1"} 0',
      ]);
    }
    const failed = await samples('dmad_channel_errors_total');
    expect(failed.slice(0, 5)).toEqual(
      Object.entries(errors).map(
        ([kind, n]) => `dmad_channel_errors_total{channel="dma0chan0",kind="${kind}"} ${n}`,
      ),
    );
    expect(await samples('dmad_channel_operations_total')).toContain(
      'dmad_channel_operations_total{channel="dma0chan0"} 7',
    );
    expect(await samples('dmad_channel_in_flight')).toContain(
      'dmad_channel_in_flight{channel="dma0chan0"} 2',
    );
    expect(await samples('dmad_channel_recoveries_total')).toContain(
      'dmad_channel_recoveries_total{channel="dma0chan0"} 6',
    );
    const states = await samples('dmad_channel_state');
    expect(states.filter((line) => line.endsWith(' 1'))).toEqual([
      'dmad_channel_state{channel="dma0chan0",state="ready"} 1',
      'dmad_channel_state{channel="dma0chan1",state="set_aside"} 1',
    ]);
    port.channels = [];
    expect(await samples('dmad_channel_state')).toEqual([]);
  });

  test('counts what became of copies by DMA', async () => {
    const transfer = makeTransfer();
    const dma = { error: 'read' as const, channel: 'dma0chan0', retries: 3 };
    const told = { error: 'read' as const, channels: [0], failedChannel: 0, retries: 3 };
    const problem = new Problem('dma_error', '', { dma });
    transfer.finish(transfer.outcome(completion({ dma: told }), problem));
    metrics.finished(transfer);
    expect(await samples('dmad_dma_retries_total')).toEqual(['dmad_dma_retries_total 3']);
    const counted = await samples('dmad_dma_errors_total');
    expect(counted.length).toBeGreaterThan(5);
    expect(counted.filter((line) => !line.endsWith(' 0'))).toEqual([
      'dmad_dma_errors_total{error="read"} 1',
    ]);
  });

  test('looks at what is under way when it is asked', async () => {
    transfers.running = 3;
    transfers.queued = 7;
    expect(await samples('dmad_transfers_in_flight')).toEqual(['dmad_transfers_in_flight 3']);
    expect(await samples('dmad_queue_depth')).toEqual(['dmad_queue_depth 7']);
    expect(await samples('dmad_device_size_bytes')).toEqual([
      'dmad_device_size_bytes{device="dax0.0"} 4096',
      'dmad_device_size_bytes{device="dax1.0"} 8192',
    ]);
    expect((await samples('dmad_build_info'))[0]).toMatch(/shim="1\.2\.3".* 1$/);
  });

  test('takes no label from a client', async () => {
    for (let i = 0; i < 100; i++) {
      const method = `METHOD${i}`;
      metrics.requests.answered({ method, route: undefined, kind: 'plain', status: 404, ms: 1 });
    }
    const known = { method: 'GET', route: '/transfers/:id', kind: 'wait' } as const;
    metrics.requests.answered({ ...known, status: 200, ms: 1500 });
    const name = 'dmad_http_request_duration_seconds';
    const labels = 'method="GET",route="/transfers/:id",kind="wait",status="200"';
    expect(await samples(`${name}_count`)).toEqual([
      `${name}_count{method="other",route="none",kind="plain",status="404"} 100`,
      `${name}_count{${labels}} 1`,
    ]);
    expect(await samples(`${name}_sum`)).toContain(`${name}_sum{${labels}} 1.5`);
  });

  test('resolves what a page of 4 KiB takes, and an answer out of memory', async () => {
    const transfer = makeTransfer({ flush: false });
    transfer.start(transfer.choice);
    transfer.finish(transfer.outcome(completion({ copyNs: 3000 }), undefined));
    metrics.finished(transfer);
    const request = { method: 'GET', route: '/livez', kind: 'plain', status: 200 } as const;
    metrics.requests.answered({ ...request, ms: 0.3 });
    const boundsOf = async (name: string, labels: string) =>
      (await samples(`${name}_bucket`))
        .filter((line) => line.includes(labels))
        .map((line) => [/le="([^"]+)"/.exec(line)?.[1], Number(line.split(' ').at(-1))]);
    const copies = await boundsOf('dmad_transfer_phase_seconds', 'phase="copy"');
    expect(copies.slice(0, 5)).toEqual([
      ['0.000001', 0],
      ['0.000002', 0],
      ['0.000005', 1],
      ['0.00001', 1],
      ['0.00002', 1],
    ]);
    expect(copies.slice(-3).map(([bound]) => bound)).toEqual(['500', '1000', '+Inf']);
    const requests = await boundsOf('dmad_http_request_duration_seconds', '/livez');
    expect(requests.slice(0, 3)).toEqual([
      ['0.0001', 0],
      ['0.0002', 0],
      ['0.0005', 1],
    ]);
    for (const bounds of [copies, requests]) {
      const numbers = bounds.slice(0, -1).map(([bound]) => Number(bound));
      expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
    }
  });

  test('counts what each engine copied of a transfer that both share', async () => {
    const transfer = makeTransfer();
    metrics.progressed(transfer, 1000, 'cpu');
    metrics.progressed(transfer, 3000, 'dma');
    expect(await samples('dmad_transfer_bytes_total')).toEqual([
      'dmad_transfer_bytes_total{operation="copy",engine="cpu"} 1000',
      'dmad_transfer_bytes_total{operation="copy",engine="dma"} 3000',
      'dmad_transfer_bytes_total{operation="fill",engine="cpu"} 0',
      'dmad_transfer_bytes_total{operation="compare",engine="cpu"} 0',
    ]);
  });

  test('counts uploads and downloads, and begins with none', async () => {
    const requests = () => samples('dmad_content_requests_total');
    expect((await requests()).every((line) => line.endsWith(' 0'))).toBe(true);
    expect(await requests()).toHaveLength(6);
    metrics.content.moved('upload', 4096);
    metrics.content.moved('download', 1);
    metrics.content.ended('upload', 'complete');
    metrics.content.ended('download', 'client_closed');
    expect(await samples('dmad_content_bytes_total')).toEqual([
      'dmad_content_bytes_total{direction="upload"} 4096',
      'dmad_content_bytes_total{direction="download"} 1',
    ]);
    expect((await requests()).filter((line) => !line.endsWith(' 0'))).toEqual([
      'dmad_content_requests_total{direction="upload",result="complete"} 1',
      'dmad_content_requests_total{direction="download",result="client_closed"} 1',
    ]);
  });

  test('is a number for every scraper, and the same for several', async () => {
    const lags = async () =>
      (await metrics.registry.metrics())
        .split('\n')
        .filter((line) => /^nodejs_eventloop_lag_(min|max|mean|stddev|p\d+)_seconds /.test(line));
    const atOnce = await Promise.all([lags(), lags(), metrics.registry.metrics()]);
    expect(atOnce[0]).toHaveLength(7);
    await new Promise((resolve) => setTimeout(resolve, 100));
    // A stall that one scraper has seen is there for the others.
    const until = performance.now() + 120;
    while (performance.now() < until);
    await new Promise((resolve) => setTimeout(resolve, 30));
    for (let scrape = 0; scrape < 3; scrape++) {
      const text = await metrics.registry.metrics();
      expect(text).not.toMatch(/nan/i);
      const max = /^nodejs_eventloop_lag_max_seconds (\S+)$/m.exec(text)?.[1];
      expect(Number(max)).toBeGreaterThan(0.08);
      expect(Number(max)).toBeLessThan(60);
    }
    expect(atOnce.flat().join('\n')).not.toMatch(/nan/i);
  });

  test('tells of the journal', async () => {
    metrics.synced(0.001);
    metrics.failed();
    expect(await samples('dmad_journal_sync_seconds_count')).toEqual([
      'dmad_journal_sync_seconds_count 1',
    ]);
    expect(await samples('dmad_journal_errors_total')).toEqual(['dmad_journal_errors_total 1']);
    expect(await samples('dmad_journal_bytes')).toEqual(['dmad_journal_bytes 12345']);
  });
});
