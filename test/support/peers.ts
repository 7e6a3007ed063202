// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { MEMORY_DIR } from './app.ts';
import { Daemon, type DaemonOptions } from './daemon.ts';
import { fetchAnswer, fetchJson, jsonBody } from './fetch.ts';
import { freePort } from './free-port.ts';

export const MIB = 2 ** 20;

export interface PeerEntry {
  name: string;
  url: string;
  token_file?: string;
  ca?: string;
  cert?: string;
  key?: string;
}

/** @returns the path of a peers file */
export function writePeers(directory: string, peers: readonly PeerEntry[]): string {
  const path = join(directory, 'peers.yaml');
  writeFileSync(path, stringify({ peers }), { mode: 0o600 });
  return path;
}

/** A daemon whose state outlives it, so that it can be killed and started again at the same URL. */
export class Host {
  readonly directory = mkdtempSync(join(MEMORY_DIR, 'dmad-host-'));
  readonly port: number;
  readonly url: string;
  daemon: Daemon | undefined;
  readonly #environment: Record<string, string>;
  readonly #options: DaemonOptions;

  private constructor(
    port: number,
    environment: Record<string, string>,
    options: DaemonOptions = {},
  ) {
    this.port = port;
    this.url = `http://127.0.0.1:${port}`;
    this.#environment = environment;
    this.#options = options;
  }

  /** @param size of its device dax0.0 */
  static async make(
    size: string,
    environment: Record<string, string> = {},
    options: DaemonOptions = {},
  ): Promise<Host> {
    const devices = { DMAD_DEVICES: `emulated:dax0.0=${size}` };
    return new Host(await freePort(), { ...devices, ...environment }, options);
  }

  /** Names a peer `other`, for the next start or SIGHUP. */
  know(url: string, entry: Partial<PeerEntry> = {}): void {
    this.#environment.DMAD_PEERS_FILE = writePeers(this.directory, [
      { name: 'other', url, ...entry },
    ]);
  }

  async start(): Promise<void> {
    this.daemon = new Daemon(
      {
        ...{ DMAD_STATE_DIR: join(this.directory, 'state'), DMAD_PORT: String(this.port) },
        ...this.#environment,
      },
      this.#options,
    );
    await this.daemon.ready();
  }

  async kill(): Promise<void> {
    await this.daemon?.stop('SIGKILL');
  }

  async remove(): Promise<void> {
    await this.kill();
    rmSync(this.directory, { recursive: true, force: true });
  }

  async write(bytes: Buffer, offset = 0): Promise<void> {
    const url = `${this.url}/devices/dax0.0/content?offset=${offset}`;
    const { status, body } = await fetchAnswer(url, {
      method: 'PUT',
      headers: { 'content-type': 'application/octet-stream' },
      body: new Uint8Array(bytes),
    });
    if (status !== 200) throw new Error(`${status} ${body}`);
  }

  async read(offset: number, size: number): Promise<Buffer> {
    const { body } = await fetchAnswer(`${this.url}/devices/dax0.0/content`, {
      headers: { range: `bytes=${offset}-${offset + size - 1}` },
    });
    return body;
  }

  async digest(offset: number, size: number): Promise<string> {
    return createHash('sha256')
      .update(await this.read(offset, size))
      .digest('hex');
  }

  /** POST /replications, of dax0.0 to dax0.0. */
  replicate(request: Record<string, unknown>, headers: Record<string, string> = {}) {
    const body = {
      ...{ peer: 'other', src_device_name: 'dax0.0', src_offset: 0 },
      ...{ dst_device_name: 'dax0.0', dst_offset: 0, ...request },
    };
    return fetchAnswer(`${this.url}/replications`, jsonBody(body, headers));
  }

  replication(id: string, waitSeconds = 0) {
    return fetchJson(`${this.url}/replications/${id}`, {
      headers: { prefer: `wait=${waitSeconds}` },
    });
  }

  /** Waits for the end of a replication, however it is. */
  async ended(id: string) {
    for (;;) {
      const replication = await this.replication(id, 10);
      if (replication.finished_at !== null) return replication;
    }
  }
}
