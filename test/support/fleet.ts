// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ConnectedClient, connect, type Transfer } from '../../services/client/node.ts';
import { Daemon } from './daemon.ts';
import { EXHAUSTIVE } from './depth.ts';
import { EtcdCluster, type Place } from './etcd.ts';
import { freePort } from './free-port.ts';
import { Gateway } from './gateway.ts';

const LIFETIME_MS = 300_000;

export interface FleetOptions {
  gateways?: number;
  hosts?: number;
  /** Of gateways. */
  environment?: Record<string, string>;
  /** Further arguments of etcd. */
  etcd?: string[];
  /** Members of etcd. */
  members?: number;
  /** How long any of its processes may live. */
  lifetimeMs?: number;
  /** Where they run; loopback if absent. */
  places?: { etcd: Place[]; gateways: Place[]; hosts: Place[] };
}

export interface HostProcess {
  name: string;
  url: string;
  daemon: Daemon;
  environment: Record<string, string>;
}

/** A fleet as processes: etcd, gateways and hosts. */
export class TestFleet {
  readonly gateways: Gateway[] = [];
  readonly urls: string[] = [];
  readonly hosts: HostProcess[] = [];
  readonly etcd: EtcdCluster;
  readonly #clients: ConnectedClient[] = [];
  readonly #environment: Record<string, string>;
  readonly #lifetimeMs: number;
  readonly #places: FleetOptions['places'];
  /** Of the hosts, each of which is every other's peer. */
  readonly #ports: number[] = [];

  private constructor(
    etcd: EtcdCluster,
    { environment = {}, lifetimeMs = LIFETIME_MS, places }: FleetOptions,
  ) {
    this.etcd = etcd;
    this.#environment = environment;
    this.#lifetimeMs = lifetimeMs;
    this.#places = places;
  }

  static async start(options: FleetOptions = {}) {
    const { gateways = 2, hosts = 1, members = EXHAUSTIVE ? 3 : 1 } = options;
    const { etcd = [], lifetimeMs = LIFETIME_MS, places } = options;
    const where = { lifetimeMs, ...(places && { places: places.etcd }) };
    const fleet = new TestFleet(await EtcdCluster.start(members, etcd, where), options);
    for (let index = 0; index < hosts; index++) fleet.#ports.push(await freePort());
    try {
      await Promise.all([
        ...Array.from({ length: gateways }, (_, index) => fleet.startGateway(index)),
        ...Array.from({ length: hosts }, (_, index) => fleet.startHost(index)),
      ]);
      for (const { name, url } of fleet.hosts) {
        await fleet.ask('PUT', `/hosts/${name}`, { body: { url } });
      }
      await fleet.until(async () => {
        const { body } = await fleet.ask('GET', '/hosts');
        return body.hosts.every(({ state }: { state: string }) => state === 'ready');
      });
    } catch (error) {
      await fleet.stop();
      throw error;
    }
    return fleet;
  }

  /** Starts a gateway, anew if there was one, on the same port as before. */
  async startGateway(index: number): Promise<void> {
    const before = this.urls[index];
    const port = before === undefined ? await freePort() : new URL(before).port;
    const place = this.#places?.gateways[index];
    const gateway = new Gateway(
      this.etcd.urls,
      {
        ...this.#environment,
        ...(place && { DMAD_FLEET_HOST: place.address, DMAD_FLEET_INSECURE: '1' }),
        DMAD_FLEET_PORT: String(port),
      },
      { lifetimeMs: this.#lifetimeMs, wrapper: place?.wrapper ?? [] },
    );
    this.gateways[index] = gateway;
    this.urls[index] = await gateway.ready();
    await this.until(async () => (await fetch(`${this.urls[index]}/readyz`)).status === 200);
  }

  /** Starts a host, anew if there was one, with what it had before. */
  async startHost(index: number): Promise<void> {
    const place = this.#places?.hosts[index];
    const environment = this.hosts[index]?.environment ?? this.#newHost(index);
    const daemon = new Daemon(environment, {
      ...{ lifetimeMs: this.#lifetimeMs, wrapper: place?.wrapper ?? [] },
    });
    const url = await daemon.ready();
    this.hosts[index] = { name: `host${index}`, url, daemon, environment };
  }

  #newHost(index: number): Record<string, string> {
    const stateDir = mkdtempSync(join(tmpdir(), 'dmad-test-'));
    const peersFile = join(stateDir, 'peers.yaml');
    const peers = this.#ports.map((port, peer) => ({
      name: `host${peer}`,
      url: `http://${this.#places?.hosts[peer]?.address ?? '127.0.0.1'}:${port}`,
    }));
    const place = this.#places?.hosts[index];
    writeFileSync(peersFile, JSON.stringify({ peers }), { mode: 0o600 });
    return {
      ...(place && { DMAD_HOST: place.address, DMAD_INSECURE: '1' }),
      DMAD_PORT: String(this.#ports[index]),
      DMAD_DEVICES: 'emulated:dax0.0=1MiB,emulated:dax1.0=1MiB,emulated:dax2.0=64MiB',
      // A blocker may stand for as long as its test takes.
      DMAD_UPLOAD_IDLE_SECONDS: '3600',
      DMAD_STATE_DIR: stateDir,
      DMAD_PEERS_FILE: peersFile,
    };
  }

  /** Keeps transfers that touch a host's device waiting, from when this resolves. @returns ends that */
  async block(index: number, device: string): Promise<() => void> {
    const { url } = this.hosts[index] as { url: string };
    const upload = request(`${url}/devices/${device}/content`, {
      ...{ method: 'PUT', headers: { 'transfer-encoding': 'chunked' } },
    });
    upload.on('error', () => {});
    upload.flushHeaders();
    const host = this.client(url);
    await this.until(async () => {
      const { streams } = await host.listStreams();
      return streams.some((each) => each.device_name === device && each.status === 'running');
    });
    return () => upload.end();
  }

  /** A client of a gateway, or of anything else that speaks the contract. */
  client(url = this.urls[0] as string): ConnectedClient {
    const client = connect({ url });
    this.#clients.push(client);
    return client;
  }

  /** A request to a gateway, and its answer. */
  async ask(
    method: string,
    path: string,
    {
      body,
      headers = {},
      gateway = 0,
    }: { body?: object; headers?: Record<string, string>; gateway?: number } = {},
  ) {
    const answer = await fetch(`${this.urls[gateway]}${path}`, {
      method,
      headers: { ...(body && { 'content-type': 'application/json' }), ...headers },
      ...(body && { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    // biome-ignore lint/suspicious/noExplicitAny: whatever the route answers
    let parsed: any;
    try {
      parsed = JSON.parse(text);
    } catch {
      parsed = text;
    }
    return { status: answer.status, headers: answer.headers, body: parsed };
  }

  /** Sends a transfer until it is accepted, to one gateway or another. */
  async send(body: object, key: string): Promise<Transfer> {
    for (let tries = 0; ; tries++) {
      try {
        const { status, body: answer } = await this.ask('POST', '/transfers', {
          ...{ body, gateway: tries % this.gateways.length },
          headers: { 'idempotency-key': key, prefer: 'respond-async' },
        });
        if ([200, 201, 202].includes(status)) return answer;
        if (status !== 503) throw new Error(`${status}: ${JSON.stringify(answer)}`);
      } catch (error) {
        // Killed, or stopped, while it was asked.
        if ((error as Error).message !== 'fetch failed') throw error;
      }
      if (tries > 300) throw new Error('nobody accepts the transfer');
      await sleep(100);
    }
  }

  async until(holds: () => Promise<boolean>, ms = 60_000): Promise<void> {
    const deadline = performance.now() + ms;
    while (!(await holds().catch(() => false))) {
      if (performance.now() > deadline) throw new Error(`not within ${ms} ms: ${holds}`);
      await sleep(100);
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.destroy()));
    const processes = [...this.gateways, ...this.hosts.map(({ daemon }) => daemon)];
    await Promise.all(processes.filter(Boolean).map((each) => each.stop('SIGKILL')));
    for (const { daemon } of this.hosts) rmSync(daemon.stateDir, { recursive: true, force: true });
    await this.etcd.stop();
  }
}
