// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import type { Server as HttpsServer } from 'node:https';
import type { FastifyBaseLogger, FastifyInstance } from 'fastify';
import { Lifecycle } from '../base/lifecycle.ts';
import type { Log } from '../base/log.ts';
import { StartError } from '../base/start-error.ts';
import audit from '../http/access/audit.ts';
import crossSite from '../http/access/cross-site.ts';
import { checkExposure } from '../http/access/exposure.ts';
import hosts from '../http/access/hosts.ts';
import { Keyring } from '../http/access/keyring.ts';
import access from '../http/access/plugin.ts';
import rateLimit from '../http/access/rate-limit.ts';
import refusals from '../http/access/refusals.ts';
import { FLEET_SCOPES } from '../http/access/scopes.ts';
import { fleetTokenSchema } from '../http/access/tokens-file.ts';
import { whoamiRoute } from '../http/access/whoami.ts';
import { dashboardAssets, readPage } from '../http/dashboard/page.ts';
import { rootRoute } from '../http/dashboard/root.ts';
import type { EventStream } from '../http/event-stream.ts';
import { attemptReload, closeHttp, createFastify } from '../http/fastify.ts';
import jsonBody from '../http/json-body.ts';
import { metricsRoutes } from '../http/metrics/routes.ts';
import { checkNodeInternals } from '../http/node-internals.ts';
import openapi from '../http/openapi/plugin.ts';
import problemHandler from '../http/problem-handler.ts';
import { problemRoutes } from '../http/problems/routes.ts';
import requestLog from '../http/request-log.ts';
import routing from '../http/routing.ts';
import semantics from '../http/semantics.ts';
import { readTls, tlsFilesOf } from '../http/tls.ts';
import validation from '../http/validation.ts';
import { HostGrants } from './access/hosts.ts';
import type { FleetConfig } from './config.ts';
import { EtcdStore } from './etcd/etcd-store.ts';
import type { Running } from './etcd/fleet-state.ts';
import { GroupCommit } from './etcd/group-commit.ts';
import { Keys } from './etcd/keys.ts';
import { Membership } from './etcd/membership.ts';
import { Mirror } from './etcd/mirror.ts';
import type { Store } from './etcd/store.ts';
import { healthRoutes } from './health/routes.ts';
import { contentRoutes } from './hosts/content-routes.ts';
import { Fleet } from './hosts/fleet.ts';
import { HostLookup } from './hosts/lookup.ts';
import { hostRoutes } from './hosts/routes.ts';
import { SeenWriter } from './hosts/seen-writer.ts';
import { FleetMetrics } from './metrics.ts';
import { FLEET } from './openapi/service.ts';
import { PREFIX } from './settings.ts';
import { batchRoute } from './transfers/batch-route.ts';
import { Batches } from './transfers/batches.ts';
import { Changes } from './transfers/changes.ts';
import { Dispatch } from './transfers/dispatch.ts';
import { Ends } from './transfers/ends.ts';
import { eventRoutes } from './transfers/event-routes.ts';
import { Feed } from './transfers/feed.ts';
import { Lister } from './transfers/list.ts';
import { OwnerWrites } from './transfers/owner-writes.ts';
import { Ownership } from './transfers/ownership.ts';
import { patchRoute } from './transfers/patch-route.ts';
import { transferRoutes } from './transfers/routes.ts';
import { FleetTransfers } from './transfers/service.ts';
import { Views } from './transfers/views.ts';

const ABANDON_MS = 1000;

export interface FleetAppOptions {
  config: FleetConfig;
  log: Log;
  /** In place of etcd, for tests. */
  store?: Store;
}

/** A gateway, put together but not yet listening. */
export interface FleetApp {
  http: FastifyInstance;
  /** Joins the fleet. What needs etcd is refused until it can be reached. */
  start(): void;
  /** Reads tokens and certificates again; what is wrong with them is logged, and changes nothing. */
  reload(): void;
  /** Leaves the fleet, so that others take over at once, and closes everything. */
  shutDown(): Promise<void>;
}

/** @throws StartError if the configuration asks for what is not available */
export async function buildFleetApp({
  config,
  log: { logger: log, audit: auditLog },
  store: givenStore,
}: FleetAppOptions): Promise<FleetApp> {
  await checkNodeInternals();
  const lifecycle = new Lifecycle(log);
  try {
    checkExposure(config, { list: () => [], missing: new Map() }, log, PREFIX);
    const keyring = openKeyring(config.tokens_file, log);
    const hostToken = openHostToken(config.host_token_file);
    const tlsFiles = tlsFilesOf(config);
    const tls = tlsFiles && readTls(tlsFiles, PREFIX);
    const store = givenStore ?? new EtcdStore(config.etcd);
    lifecycle.opened('the connection to etcd', () => store.close());
    const keys = new Keys(config.etcd_prefix);
    const ends = new Ends();
    const mirror = new Mirror({ store, keys, log, awaited: () => ends.ids });
    lifecycle.opened('the watch on etcd', () => mirror.close());
    const metrics = new FleetMetrics();
    const feed = new Feed();
    const membership = new Membership({
      ...{ store, keys, log },
      joined: () => ownership.reconcile(),
      left: () => ownership.leave(),
      beat: () => mirror.expectation(),
    });
    const seenWriter = new SeenWriter({ store, keys, mirror, membership });
    const fleet: Fleet = new Fleet({
      ...{ mirror, log },
      token: hostToken.read,
      stateChanged: (link) => {
        if (link.away === undefined) dispatch.reachable(link.name);
        seenWriter.changed(link);
      },
      reported: (id, host, transfer) => dispatch.reported(id, host, transfer),
      missed: (host) => dispatch.missed(host),
    });
    lifecycle.opened('the connections to hosts', () => fleet.close());
    const commit = new GroupCommit(store);
    const writes = new OwnerWrites({ store, keys, commit, member: () => membership.member?.id });
    const viewOf = (running: Running) => views.viewOf(running);
    const dispatch: Dispatch = new Dispatch({
      ...{ store, keys, mirror, fleet, ends, feed, writes, log, viewOf },
      ended: ({ document }) => metrics.ended(document),
      seen: (id) => transfers.seen(id),
    });
    const ownership: Ownership = new Ownership({
      ...{ store, keys, mirror, membership, log },
      gained: (host) => dispatch.gained(host),
      finish: (host) => dispatch.finish(host),
      lost: (host) => dispatch.lost(host),
    });
    dispatch.ownership = ownership;
    mirror.listener = dispatch;
    const views: Views = new Views({
      ...{ store, keys, mirror, membership, ends, fleet },
      troubleOf: (host) => dispatch.troubleOf(host),
    });
    const lookup = new HostLookup({ store, keys, mirror, membership });
    const transfers: FleetTransfers = new FleetTransfers({
      ...{ store, keys, commit, mirror, hosts: lookup, membership, views },
      limitOf: (client) => keyring?.limitsOf(client).transfersInFlight,
    });
    const batches = new Batches({ store, keys, transfers });
    const changes = new Changes({ store, keys, fleet, views, transfers });
    const lister = new Lister({
      ...{ store, keys, mirror, viewOf },
      reachable: () => membership.health.is !== 'away',
    });
    const grants = new HostGrants(
      (host, device) => fleet.link(host)?.seenDevice(device),
      async (host, device) => fleet.link(host)?.device(device),
    );
    metrics.watch({
      ...{ mirror, membership, fleet, ownership },
      accepting: () => transfers.accepting,
    });
    const abandoning = setInterval(() => dispatch.abandon(), ABANDON_MS);
    lifecycle.opened('the owned hosts', () => {
      clearInterval(abandoning);
      ownership.close();
    });
    lifecycle.opened('the membership', () => membership.close());

    const http = createFastify(log, tls, config.download_idle_seconds * 1000);
    lifecycle.opened('the HTTP server', () => closeHttp(http, undefined));
    lifecycle.opened('those who wait for ends', () => views.close());
    http.decorate('eventStreams', new Set<EventStream>());
    const own = {
      allowedHosts: config.allowed_hosts,
      variable: `${PREFIX}ALLOWED_HOSTS`,
    };
    await http.register(requestLog, {
      onAnswered: (answered) => metrics.requests.answered(answered),
    });
    await http.register(audit, { audit: auditLog });
    await http.register(hosts, { host: config.host, ...own });
    await http.register(crossSite, own);
    await http.register(problemHandler);
    await http.register(semantics);
    await http.register(access, { keyring, scopes: FLEET_SCOPES, peerUid: () => -1 });
    const useOf = (name: string) => ({
      limits: keyring?.limitsOf(name) ?? {},
      transfersInFlight: mirror.runningOf(name),
      ...{ waitingBytes: 0, spendableBytes: undefined, owedMs: 0 },
    });
    if (keyring !== undefined) await http.register(rateLimit, { useOf });
    await http.register(refusals);
    await http.register(routing);
    await http.register(validation);
    await http.register(jsonBody);
    await http.register(openapi, { service: FLEET });
    await http.register(rootRoute, { name: 'dmad fleet', page: readPage() });
    await http.register(dashboardAssets);
    await http.register(problemRoutes);
    await http.register(whoamiRoute, { useOf });
    await http.register(transferRoutes, { transfers, views, lister, grants, fleet });
    await http.register(batchRoute, { transfers, batches, views, grants, fleet });
    await http.register(patchRoute, { changes, views });
    await http.register(eventRoutes, { views, mirror, feed, ends });
    await http.register(hostRoutes, {
      ...{ store, keys, mirror, lookup, membership, fleet, grants },
    });
    await http.register(contentRoutes, { lookup, fleet, grants });
    await http.register(healthRoutes, {
      ...{ mirror, membership },
      notReady: () => {
        const names = [...mirror.hosts.keys()];
        return names.filter((name) => fleet.link(name)?.seen?.state !== 'ready').length;
      },
    });
    await http.register(metricsRoutes, { metrics });
    await http.ready();

    return {
      http,
      start: () => membership.start(),
      reload: () => {
        attemptReload(log, 'tokens', keyring && (() => keyring.reload()));
        attemptReload(log, "the fleet's own token", hostToken.reload);
        attemptReload(
          log,
          'certificates',
          tlsFiles &&
            (() => (http.server as HttpsServer).setSecureContext(readTls(tlsFiles, PREFIX))),
        );
      },
      shutDown: () => lifecycle.close(),
    };
  } catch (error) {
    // What fails to close is in the log; why the start failed matters more.
    await lifecycle.close().catch(() => undefined);
    throw error;
  }
}

function openKeyring(path: string | undefined, log: FastifyBaseLogger): Keyring | undefined {
  if (path === undefined) return undefined;
  try {
    // What a device is known by beside its name depends on the host: see access/hosts.ts.
    const keyring = new Keyring(path, () => undefined, fleetTokenSchema);
    log.info({ tokens: keyring.size }, 'tokens are in use');
    return keyring;
  } catch (error) {
    const { message } = error as Error;
    throw new StartError('configuration', `${PREFIX}TOKENS_FILE ${path}: ${message}`);
  }
}

/** The token that hosts know the fleet by. */
function openHostToken(path: string | undefined) {
  let token: string | undefined;
  const reload = () => {
    if (path !== undefined) token = readFileSync(path, 'utf8').trim();
  };
  try {
    reload();
  } catch (error) {
    const { message } = error as Error;
    throw new StartError('configuration', `${PREFIX}HOST_TOKEN_FILE: ${message}`);
  }
  return { read: () => token, reload: path === undefined ? undefined : reload };
}
