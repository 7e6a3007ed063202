// SPDX-License-Identifier: Apache-2.0
import { randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { closeSync } from 'node:fs';
import type { Server as HttpsServer } from 'node:https';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { getHeapStatistics } from 'node:v8';
import type { FastifyBaseLogger, FastifyInstance } from 'fastify';
import { Lifecycle } from '../base/lifecycle.ts';
import type { Log } from '../base/log.ts';
import { StartError } from '../base/start-error.ts';
import { checkExposure } from '../http/access/exposure.ts';
import { Keyring } from '../http/access/keyring.ts';
import { attemptReload, closeHttp, createFastify } from '../http/fastify.ts';
import { checkNodeInternals } from '../http/node-internals.ts';
import { PAST_NODE_FROM } from '../http/past-node.ts';
import { retryLater } from '../http/problems/problem.ts';
import { RecoveryGate } from '../http/recovery-gate.ts';
import { readTls, tlsFilesOf } from '../http/tls.ts';
import { Calibrator } from './calibration/calibration.ts';
import type { Config } from './config.ts';
import type { Inventory } from './devices/device.ts';
import { openDevices } from './devices/open.ts';
import { SeenDevices } from './devices/seen.ts';
import { UnflushedDevices } from './devices/unflushed.ts';
import { DeviceWatch } from './devices/watch.ts';
import type { Writing, Written } from './devices/written.ts';
import { Hashers } from './digests/hashers.ts';
import { EngineChooser } from './engines/choice.ts';
import { DmaEngine } from './engines/dma.ts';
import { Engine } from './engines/engine.ts';
import { checkFaultsAllowed } from './faults/allowed.ts';
import { Faults } from './faults/faults.ts';
import { FaultyEngine } from './faults/faulty-engine.ts';
import { EventLoopLag } from './health/event-loop.ts';
import { Readiness } from './health/readiness.ts';
import { registerHooks, registerRoutes } from './http-server.ts';
import { CLOCK_KEY, ElapsedClock, readClocks } from './journal/elapsed.ts';
import { openJournal } from './journal/open.ts';
import { checkPersistence } from './journal/persistence.ts';
import { Metrics } from './metrics/metrics.ts';
import { WorkQueue } from './order/work-queue.ts';
import type { Patience } from './replication/guard.ts';
import { Peers } from './replication/peers.ts';
import { ReplicationService } from './replication/service.ts';
import { lockStateDir } from './state-dir.ts';
import { Restore } from './transfers/restore.ts';
import { TransferService } from './transfers/service.ts';

/** How often devices and DMA channels are looked for: the kernel sends the daemon no event. */
const HARDWARE_LOOK_MS = 1000;

export interface AppOptions {
  config: Config;
  log: Log;
  /** Where sysfs is mounted, for tests. */
  sysfsRoot?: string;
  /** How often devices and DMA channels are looked for, in milliseconds; for tests. */
  lookMs?: number;
  /** How slow a peer may be; for tests. */
  peerPatience?: Patience;
  /** From which size on content is moved past Node, in bytes; for tests. */
  pastNodeFrom?: number;
}

/** See {@link App.shutDown}. */
interface Shutdown {
  graceMs: number;
  stopListening?: (() => Promise<void>) | undefined;
}

/** The daemon, put together but not yet listening. */
export interface App {
  http: FastifyInstance;
  inventory: Inventory;
  readiness: Readiness;
  /**
   * Recovers what an earlier daemon left, and then lets clients in, who wait meanwhile. Call it once it
   * listens: a daemon that cannot must leave the journal as it is.
   */
  start(): Promise<void>;
  /** Reads tokens, certificates, keys and peers again; what is wrong with them is logged, and changes nothing. */
  reload(): void;
  /**
   * Takes no new work, gives what was taken time to end, stops the rest, and closes everything.
   *
   * @param graceMs how long what was taken may go on
   * @param stopListening closes a listener of the caller's own, and resolves once its connections
   *   are closed
   */
  shutDown(graceMs: number, stopListening?: () => Promise<void>): Promise<void>;
}

/**
 * Opens the engine and the devices, and builds the HTTP server on top of them.
 *
 * @throws StartError if the configuration asks for what is not available
 */
export async function buildApp({
  config,
  log: { logger: log, audit: auditLog, health: logHealth },
  sysfsRoot,
  lookMs = HARDWARE_LOOK_MS,
  peerPatience: patience,
  pastNodeFrom = PAST_NODE_FROM,
}: AppOptions): Promise<App> {
  await checkNodeInternals();
  const lifecycle = new Lifecycle(log);
  const faults = config.faults ? new Faults() : undefined;
  const engine = faults === undefined ? new Engine() : new FaultyEngine(faults);
  lifecycle.opened('the engine', () => engine.close());
  try {
    const lock = lockStateDir(engine, config.state_dir);
    lifecycle.opened('the lock on the state directory', () => closeSync(lock));
    const dma = new DmaEngine({ port: engine.dmaPort, log, enabled: config.engine !== 'cpu' });
    const { state_dir: stateDir, devices: choice } = config;
    const calibrator = new Calibrator({ engine, dma, stateDir, log });
    const chooser = new EngineChooser(config.engine, dma, () => ({
      speeds: calibrator.speeds,
      pending: engine.pending,
    }));
    const sysfs = sysfsRoot === undefined ? {} : { sysfsRoot };
    const seen = new SeenDevices(stateDir, log);
    // Tokens are for a host whose real devices are meant.
    const standIns = config.tokens_file === undefined;
    const inventory = openDevices(engine, { choice, stateDir, seen, standIns, log, ...sysfs });
    checkExposure(config, inventory, log);
    if (faults !== undefined) checkFaultsAllowed(inventory, log);
    const keyring = openKeyring(config.tokens_file, inventory, log);
    const tlsFiles = tlsFilesOf(config);
    const peers = new Peers(config.peers_file, log);
    await peers.loadClient();

    const metrics = new Metrics();
    const lag = new EventLoopLag();
    lifecycle.opened('the watch on the event loop', () => lag.stop());
    const heapBytes = getHeapStatistics().heap_size_limit;
    const queue = new WorkQueue({
      heapBytes,
      limitsOf: (client) => keyring?.limitsOf(client) ?? {},
      overloaded: () => lag.lagging,
    });
    const opened = await openJournal(stateDir, log, metrics);
    const { journal } = opened;
    lifecycle.opened('the journal', () => journal.close());
    const host = readClocks();
    const clock = new ElapsedClock(await opened.rows.get([CLOCK_KEY]), host);
    const unflushed = new UnflushedDevices(!clock.firstSinceBoot);
    const storage = checkPersistence(engine.storageOf(join(stateDir, 'journal')), log);
    const beforeWrite = (bytes: Writing, waits: () => boolean) =>
      replications.inconsistent.copying(bytes, waits);
    const written = (bytes: Written) => replications.inconsistent.written(bytes);
    const transfers = new TransferService({
      ...{ engine, chooser, dma, queue, unflushed, journal, clock, log, heapBytes },
      ...{ observer: metrics, beforeWrite, written },
    });
    lifecycle.opened('the transfers', () => transfers.close());
    const hashers = new Hashers(engine.cpu.threads);
    lifecycle.opened('the threads that hash', () => hashers.close());
    const instance = randomUUID();
    const replications = new ReplicationService({
      ...{ instance, engine, hashers, inventory, queue, unflushed, journal, clock, peers, log },
      ...{ pastNodeFrom, ids: transfers.ids, feed: transfers.feed, observer: metrics.replications },
      ...(patience !== undefined && { patience }),
    });
    lifecycle.opened('the replications', () => replications.close());
    const recovery = { inventory, chooser, clock, host };
    const restore = new Restore(transfers.earlier, opened, recovery, log, replications);
    lifecycle.opened('the reading of the history', () => restore.stop());
    metrics.watch({ transfers, replications, inventory, engine, dma, journal, log: logHealth });
    if (faults !== undefined) metrics.watchFaults(faults);
    const watch = new DeviceWatch({ engine, inventory, choice, seen, log, ...sysfs });
    const hardwareTimer = setInterval(() => {
      try {
        dma.refresh();
        watch.scan();
      } catch (error) {
        log.error({ err: error }, 'could not look for devices and channels');
      }
    }, lookMs);
    hardwareTimer.unref();
    lifecycle.opened('the watch on devices and channels', () => clearInterval(hardwareTimer));
    const uploads = new AbortController();
    // Each upload hears of it.
    setMaxListeners(0, uploads.signal);
    const gate = new RecoveryGate();

    let shutdown: Shutdown = { graceMs: 0 };
    const http = createFastify(
      log,
      tlsFiles && readTls(tlsFiles),
      config.download_idle_seconds * 1000,
    );
    lifecycle.opened('the HTTP server', () => closeHttp(http, shutdown.stopListening));
    const readiness = new Readiness({
      ...{ inventory, dma, chooser, queue, gate, lag },
      journal,
      log: logHealth,
    });
    await registerHooks(http, {
      config,
      auditLog,
      keyring,
      engine,
      queue,
      gate,
      metrics,
      instance,
    });
    await registerRoutes(http, {
      ...{ config, pastNodeFrom, engine, dma, chooser, calibrator, inventory, unflushed, storage },
      ...{ queue, transfers, replications, hashers, written, metrics, readiness, faults },
      uploadsEnd: uploads.signal,
    });
    await http.ready();

    lifecycle.opened('the work in progress', async () => {
      const drained = queue.close();
      const grace = new AbortController();
      await Promise.race([drained, sleep(shutdown.graceMs, undefined, grace)]);
      grace.abort();
      // What hangs would never end.
      faults?.clear();
      uploads.abort(retryLater('shutting_down', 'The daemon is shutting down: retry later.'));
      // What stops gives its place up, which must let nothing of the other kind start.
      for (const service of [replications, transfers]) service.startNoMore();
      await Promise.all([replications.interrupt(), transfers.interrupt()]);
      await drained;
    });
    const start = async () => {
      await restore.unfinished();
      gate.open();
      restore.readHistory();
    };
    const reload = () => {
      attemptReload(
        log,
        'tokens',
        keyring &&
          (() => {
            keyring.reload();
            queue.limitsChanged();
          }),
      );
      attemptReload(
        log,
        'certificates',
        tlsFiles && (() => (http.server as HttpsServer).setSecureContext(readTls(tlsFiles))),
      );
      attemptReload(log, 'peers', peers.configured ? () => peers.reload() : undefined);
    };
    const shutDown: App['shutDown'] = (graceMs, stopListening) => {
      shutdown = { graceMs, stopListening };
      return lifecycle.close();
    };
    return { http, inventory, readiness, start, reload, shutDown };
  } catch (error) {
    // What fails to close is in the log; why the start failed matters more.
    await lifecycle.close().catch(() => undefined);
    throw error;
  }
}

function openKeyring(
  path: string | undefined,
  inventory: Inventory,
  log: FastifyBaseLogger,
): Keyring | undefined {
  if (path === undefined) return undefined;
  try {
    const keyring = new Keyring(path, (name) => inventory.find(name));
    log.info({ tokens: keyring.size }, 'tokens are in use');
    return keyring;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? 'there is no such file; npm run token makes it' : message;
    throw new StartError('configuration', `DMAD_TOKENS_FILE ${path}: ${why}`);
  }
}
