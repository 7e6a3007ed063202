// SPDX-License-Identifier: Apache-2.0
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { LogHealth } from '../../base/log.ts';
import { DAEMON_VERSION } from '../../base/version.ts';
import { DMA_ERRORS, ENGINE_NAMES, type EngineName, OPERATIONS } from '../../base/vocabulary.ts';
import { buckets125 } from '../../http/metrics/buckets.ts';
import { EventLoopWindow } from '../../http/metrics/event-loop.ts';
import { watchLog } from '../../http/metrics/log.ts';
import { PROCESS_METRICS } from '../../http/metrics/process.ts';
import { RequestMetrics } from '../../http/metrics/requests.ts';
import type { Inventory } from '../devices/device.ts';
import type { DmaEngine } from '../engines/dma.ts';
import type { Engine } from '../engines/engine.ts';
import { FAILURE_CODES } from '../engines/failure.ts';
import type { Journal, JournalObserver } from '../journal/journal.ts';
import type { TransferObserver } from '../transfers/observer.ts';
import { ENDS } from '../transfers/schema.ts';
import type { TransferService } from '../transfers/service.ts';
import type { Transfer } from '../transfers/transfer.ts';
import { watchChannels } from './channels.ts';
import { ContentMetrics } from './content.ts';
import { type WatchedFaults, watchFaults } from './faults.ts';
import { ReplicationMetrics, type WatchedReplications } from './replications.ts';

/** From less than a page in the cache takes, to minutes for a region on slow media. */
const PHASE_BUCKETS = buckets125(1e-6, 1000);
/** From a disk with a persistent cache to one that is overloaded. */
const SYNC_BUCKETS = [0.0005, 0.002, 0.01, 0.05, 0.25, 1, 5];
const NS_PER_SECOND = 1e9;

/** What a scrape reads. */
export interface Watched {
  transfers: TransferService;
  replications: WatchedReplications;
  inventory: Inventory;
  engine: Engine;
  dma: DmaEngine;
  journal: Journal;
  log: LogHealth;
}

/** The daemon's metrics. No label has a value that a client chooses. */
export class Metrics implements TransferObserver, JournalObserver {
  readonly registry = new Registry();
  readonly #registers = [this.registry];

  readonly #transfers = new Counter({
    name: 'dmad_transfers_total',
    help: 'Transfers that have ended, by operation, engine and how they ended.',
    labelNames: ['operation', 'engine', 'status'],
    registers: this.#registers,
  });
  readonly #failures = new Counter({
    name: 'dmad_transfer_failures_total',
    help: 'Transfers that failed, by the code of their problem.',
    labelNames: ['code'],
    registers: this.#registers,
  });
  readonly #bytes = new Counter({
    name: 'dmad_transfer_bytes_total',
    help: 'Bytes copied, filled or compared, those of transfers that failed included.',
    labelNames: ['operation', 'engine'],
    registers: this.#registers,
  });
  readonly #phases = new Histogram({
    name: 'dmad_transfer_phase_seconds',
    help: 'Time that transfers spent in each phase.',
    labelNames: ['phase', 'engine'],
    buckets: PHASE_BUCKETS,
    registers: this.#registers,
  });
  readonly #dmaErrors = new Counter({
    name: 'dmad_dma_errors_total',
    help: 'Transfers that the DMA engine failed, by what became of them.',
    labelNames: ['error'],
    registers: this.#registers,
  });
  readonly #dmaRetries = new Counter({
    name: 'dmad_dma_retries_total',
    help: "Parts of transfers thrown out with another's fault, and tried again.",
    registers: this.#registers,
  });
  readonly replications = new ReplicationMetrics(this.#registers);
  readonly requests = new RequestMetrics(this.#registers);
  readonly content = new ContentMetrics(this.#registers);
  readonly #eventLoop: EventLoopWindow;
  readonly #syncs = new Histogram({
    name: 'dmad_journal_sync_seconds',
    help: 'Time to write a batch to the journal and sync it.',
    buckets: SYNC_BUCKETS,
    registers: this.#registers,
  });
  readonly #journalErrors = new Counter({
    name: 'dmad_journal_errors_total',
    help: 'Batches that could not be written to the journal.',
    registers: this.#registers,
  });

  constructor() {
    for (const metric of PROCESS_METRICS) this.registry.registerMetric(metric);
    this.#eventLoop = new EventLoopWindow(this.#registers);
    // increase() does not see the first event of a series that did not exist before.
    for (const operation of OPERATIONS) {
      for (const engine of operation === 'copy' ? ENGINE_NAMES : (['cpu'] as const)) {
        for (const status of ENDS) this.#transfers.inc({ operation, engine, status }, 0);
        this.#bytes.inc({ operation, engine }, 0);
      }
    }
    for (const code of FAILURE_CODES) this.#failures.inc({ code }, 0);
    for (const error of DMA_ERRORS) {
      if (error !== 'none') this.#dmaErrors.inc({ error }, 0);
    }
  }

  /** Stops measuring. */
  close(): void {
    this.#eventLoop.stop();
  }

  /** Adds the metrics of emulated faults, which only a daemon with DMAD_FAULTS=1 has. */
  watchFaults(faults: WatchedFaults): void {
    watchFaults(faults, this.#registers);
  }

  /** Adds the metrics that a scrape reads from these. */
  watch({ transfers, replications, inventory, engine, dma, journal, log }: Watched): void {
    const registers = this.#registers;
    watchChannels(dma, registers);
    watchLog(log, registers);
    this.replications.watch(replications, inventory, registers);
    new Gauge({
      name: 'dmad_transfers_in_flight',
      help:
        'Transfers that are running; those that wait are dmad_queue_depth. ' +
        "(A token's limit transfers_in_flight counts both.)",
      registers,
      collect() {
        this.set(transfers.running);
      },
    });
    new Gauge({
      name: 'dmad_queue_depth',
      help: 'Transfers that wait for their turn.',
      registers,
      collect() {
        this.set(transfers.queued);
      },
    });
    new Gauge({
      name: 'dmad_journal_bytes',
      help: 'Size of the journal on disk.',
      registers,
      async collect() {
        this.set(await journal.size());
      },
    });
    new Gauge({
      name: 'dmad_device_size_bytes',
      help: 'Size of each device.',
      labelNames: ['device'],
      registers,
      collect() {
        for (const { name, size } of inventory.list()) this.set({ device: name }, size);
      },
    });
    new Gauge({
      name: 'dmad_device_online',
      help: 'Whether each device is there.',
      labelNames: ['device'],
      registers,
      collect() {
        for (const { name, state } of inventory.list()) {
          this.set({ device: name }, state === 'online' ? 1 : 0);
        }
      },
    });
    new Gauge({
      name: 'dmad_build_info',
      help: 'Always 1; the labels say what runs.',
      labelNames: ['version', 'shim', 'node'],
      registers,
    }).set({ version: DAEMON_VERSION, shim: engine.shimVersion, node: process.versions.node }, 1);
  }

  synced(seconds: number): void {
    this.#syncs.observe(seconds);
  }

  failed(): void {
    this.#journalErrors.inc();
  }

  progressed({ plan }: Transfer, bytes: number, engine: EngineName): void {
    this.#bytes.inc({ operation: plan.operation, engine }, bytes);
  }

  finished(transfer: Transfer): void {
    const { operation, flush, verify } = transfer.plan;
    const { timings, status, error } = transfer;
    const { engine } = transfer.choice;
    this.#transfers.inc({ operation, engine, status });
    if (status === 'failed' && error !== undefined) this.#failures.inc({ code: error.code });
    if (error?.options.dma) this.#dmaErrors.inc({ error: error.options.dma.error });
    if (transfer.retries > 0) this.#dmaRetries.inc(transfer.retries);
    const observe = (phase: string, ns: number) =>
      this.#phases.observe({ phase, engine }, ns / NS_PER_SECOND);
    observe('queue', timings.queue_ns);
    observe('copy', timings.copy_ns);
    if (flush) observe('flush', timings.flush_ns);
    if (verify) observe('verify', timings.verify_ns);
  }
}
