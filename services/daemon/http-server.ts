// SPDX-License-Identifier: Apache-2.0
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { INSTANCE_HEADER } from '../base/instance.ts';
import type { Log } from '../base/log.ts';
import audit from '../http/access/audit.ts';
import crossSite from '../http/access/cross-site.ts';
import hosts from '../http/access/hosts.ts';
import type { Keyring } from '../http/access/keyring.ts';
import access from '../http/access/plugin.ts';
import rateLimit from '../http/access/rate-limit.ts';
import refusals from '../http/access/refusals.ts';
import { whoamiRoute } from '../http/access/whoami.ts';
import { dashboardAssets, readPage } from '../http/dashboard/page.ts';
import { rootRoute } from '../http/dashboard/root.ts';
import type { EventStream } from '../http/event-stream.ts';
import jsonBody from '../http/json-body.ts';
import { metricsRoutes } from '../http/metrics/routes.ts';
import { descriptorOf } from '../http/node-internals.ts';
import openapi from '../http/openapi/plugin.ts';
import problemHandler from '../http/problem-handler.ts';
import { problemRoutes } from '../http/problems/routes.ts';
import gatePlugin, { type RecoveryGate } from '../http/recovery-gate.ts';
import requestLog from '../http/request-log.ts';
import { routeOf } from '../http/route-of.ts';
import routing from '../http/routing.ts';
import semantics from '../http/semantics.ts';
import { syncHook } from '../http/sync-hook.ts';
import validation from '../http/validation.ts';
import type { Calibrator } from './calibration/calibration.ts';
import { calibrationRoutes } from './calibration/routes.ts';
import type { Config } from './config.ts';
import { BodyHashes } from './devices/body-hashes.ts';
import { contentRoutes } from './devices/content-routes.ts';
import { ContentStreams } from './devices/content-streams.ts';
import type { Inventory } from './devices/device.ts';
import { deviceRoutes } from './devices/routes.ts';
import { streamRoutes } from './devices/stream-routes.ts';
import type { UnflushedDevices } from './devices/unflushed.ts';
import { uploadRoutes } from './devices/upload-routes.ts';
import type { Written } from './devices/written.ts';
import { type Hashers, NICENESS } from './digests/hashers.ts';
import { digestRoutes } from './digests/routes.ts';
import { digestOfDevice } from './digests/whole-device.ts';
import type { EngineChooser } from './engines/choice.ts';
import type { DmaEngine } from './engines/dma.ts';
import type { Engine, Storage } from './engines/engine.ts';
import { engineRoutes } from './engines/routes.ts';
import type { Faults } from './faults/faults.ts';
import { faultRoutes } from './faults/routes.ts';
import type { Readiness } from './health/readiness.ts';
import { healthRoutes } from './health/routes.ts';
import type { Metrics } from './metrics/metrics.ts';
import { DAEMON } from './openapi/service.ts';
import type { WorkQueue } from './order/work-queue.ts';
import { askedByItself } from './replication/peer-fault.ts';
import { replicationPatchRoute, replicationRoutes } from './replication/routes.ts';
import type { ReplicationService } from './replication/service.ts';
import { batchRoute } from './transfers/batch-route.ts';
import { eventRoutes } from './transfers/event-routes.ts';
import { patchRoute } from './transfers/patch-route.ts';
import { transferRoutes } from './transfers/routes.ts';
import type { TransferService } from './transfers/service.ts';

/** What hooks need of the daemon. */
export interface HookContext {
  config: Pick<Config, 'host' | 'allowed_hosts'>;
  auditLog: Log['audit'];
  /** Undefined if no tokens are in use. */
  keyring: Keyring | undefined;
  engine: Engine;
  queue: WorkQueue;
  gate: RecoveryGate;
  metrics: Metrics;
  /** What this daemon calls itself: see {@link refuseItself}. */
  instance: string;
}

/** What routes need of the daemon. */
export interface RouteContext {
  config: Pick<Config, 'upload_idle_seconds'>;
  /** From which size on content is moved past Node, in bytes. */
  pastNodeFrom: number;
  engine: Engine;
  dma: DmaEngine;
  chooser: EngineChooser;
  calibrator: Calibrator;
  inventory: Inventory;
  unflushed: UnflushedDevices;
  storage: Storage;
  queue: WorkQueue;
  transfers: TransferService;
  replications: ReplicationService;
  hashers: Hashers;
  written(bytes: Written): void;
  metrics: Metrics;
  readiness: Readiness;
  /** Of a daemon whose emulated devices may be given faults. */
  faults: Faults | undefined;
  /** Ends all uploads. */
  uploadsEnd: AbortSignal;
}

/** Registers what is done for every request, in the order in which it is done. */
export async function registerHooks(
  http: FastifyInstance,
  { config, auditLog, keyring, engine, queue, gate, metrics, instance }: HookContext,
): Promise<void> {
  http.decorate('eventStreams', new Set<EventStream>());
  await http.register(requestLog, {
    onAnswered: (answered) => metrics.requests.answered(answered),
  });
  await http.register(audit, { audit: auditLog });
  await http.register(hosts, { host: config.host, allowedHosts: config.allowed_hosts });
  await http.register(crossSite, { allowedHosts: config.allowed_hosts });
  await http.register(problemHandler);
  await http.register(semantics);
  await http.register(access, {
    keyring,
    peerUid: (socket) => engine.peerUid(descriptorOf(socket)),
  });
  await http.register(refusals);
  if (keyring !== undefined) await http.register(rateLimit, { useOf: (name) => queue.useOf(name) });
  await http.register(gatePlugin, { gate });
  await http.register(routing);
  await http.register(validation);
  await http.register(jsonBody);
  http.addHook('onRequest', refuseItself(instance));
}

/** Registers all that the daemon answers. */
export async function registerRoutes(
  http: FastifyInstance,
  {
    config,
    pastNodeFrom,
    engine,
    dma,
    chooser,
    calibrator,
    inventory,
    unflushed,
    storage,
    queue,
    transfers,
    replications,
    hashers,
    written,
    metrics,
    readiness,
    faults,
    uploadsEnd,
  }: RouteContext,
): Promise<void> {
  await http.register(openapi, { service: DAEMON });
  await http.register(rootRoute, { name: 'dmad', page: readPage() });
  await http.register(dashboardAssets);
  await http.register(problemRoutes);
  await http.register(whoamiRoute, { useOf: (name) => queue.useOf(name) });
  await http.register(transferRoutes, { transfers, inventory, chooser });
  await http.register(batchRoute, { transfers, inventory, chooser });
  await http.register(patchRoute, { transfers });
  await http.register(eventRoutes, { transfers, sources: [transfers, replications] });
  await http.register(replicationRoutes, { replications });
  await http.register(replicationPatchRoute, { replications });
  await http.register(deviceRoutes, {
    inventory,
    inconsistentRanges: (device, client) => replications.inconsistent.rangesOf(device, client),
  });
  const wholeDevices = new BodyHashes(NICENESS);
  http.addHook('onClose', async () => {
    await wholeDevices.close();
  });
  const streams = new ContentStreams(metrics.content);
  await http.register(streamRoutes, { streams });
  await http.register(contentRoutes, {
    ...{ engine, inventory, queue, streams, pastNodeFrom },
    digestOf: (device, algorithm, options) =>
      digestOfDevice(device, algorithm, { ...options, engine, hashes: wholeDevices }),
  });
  await http.register(uploadRoutes, {
    engine,
    inventory,
    queue,
    streams,
    unflushed,
    written,
    idleMs: config.upload_idle_seconds * 1000,
    pastNodeFrom,
    signal: uploadsEnd,
  });
  await http.register(digestRoutes, { engine, inventory, queue, hashers });
  await http.register(engineRoutes, { engine, dma, calibrator });
  await http.register(calibrationRoutes, { engine, dma, calibrator, inventory, queue });
  await http.register(healthRoutes, { engine, dma, readiness, storage });
  await http.register(metricsRoutes, { metrics });
  if (faults !== undefined) await http.register(faultRoutes, { faults, inventory });
}

/** A daemon that is its own peer would wait for itself: it does not answer its own requests for content. */
function refuseItself(instance: string) {
  return syncHook((request: FastifyRequest, reply: FastifyReply): undefined => {
    if (routeOf(request).config.kind !== 'content') return;
    reply.header(INSTANCE_HEADER, instance);
    if (request.headers[INSTANCE_HEADER] === instance) throw askedByItself();
  });
}
