// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type ConnectedClient, connect } from '../../services/client/node.ts';
import { MEMORY_DIR } from '../support/app.ts';
import { Daemon } from '../support/daemon.ts';
import { writePeers } from '../support/peers.ts';

const LIFETIME_MS = 900_000;
const PORT = 8080;

/** Two network namespaces and a link between them; see link.c. */
export class Network {
  readonly directory = mkdtempSync(join(MEMORY_DIR, 'dmad-network-'));
  /** Namespaces and addresses. */
  readonly sides = [
    { namespace: `dmad-${process.pid}-a`, device: `dmad${process.pid}a`, address: '10.77.0.1' },
    { namespace: `dmad-${process.pid}-b`, device: `dmad${process.pid}b`, address: '10.77.0.2' },
  ] as const;
  #link: ChildProcess | undefined;

  async open(): Promise<void> {
    const program = join(this.directory, 'link');
    execFileSync('gcc', ['-O2', '-Wall', '-Werror', '-o', program, 'test/network/link.c']);
    const [a, b] = this.sides;
    this.#link = spawn(program, [a.device, b.device], { stdio: ['pipe', 'pipe', 'inherit'] });
    await once(this.#link.stdout as NodeJS.ReadableStream, 'data');
    for (const [index, { namespace, device, address }] of this.sides.entries()) {
      const peer = this.sides[1 - index]?.address as string;
      ip('netns', 'add', namespace);
      ip('link', 'set', device, 'netns', namespace);
      const inside = (...args: string[]) => ip('-n', namespace, ...args);
      inside('link', 'set', 'lo', 'up');
      inside('address', 'add', address, 'peer', peer, 'dev', device);
      inside('link', 'set', device, 'up');
    }
  }

  /** Such as `loss 1`. */
  set(...lines: string[]): void {
    this.#link?.stdin?.write(`${lines.join('\n')}\n`);
  }

  /** Bytes that have arrived on one side, headers and all. */
  received(side: 0 | 1): number {
    const { namespace, device } = this.sides[side];
    const path = `/sys/class/net/${device}/statistics/rx_bytes`;
    return Number(execFileSync('ip', ['netns', 'exec', namespace, 'cat', path]));
  }

  async close(): Promise<void> {
    this.#link?.stdin?.end();
    if (this.#link !== undefined) await once(this.#link, 'exit');
    for (const { namespace } of this.sides) ip('netns', 'delete', namespace);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'inherit'] });
}

/** A daemon in one of the namespaces, which the test asks over a Unix socket. */
export class NetworkHost {
  readonly client: ConnectedClient;
  readonly #daemon: Daemon;

  private constructor(daemon: Daemon, client: ConnectedClient) {
    this.#daemon = daemon;
    this.client = client;
  }

  /** @param size of its device dax0.0 */
  static async start(network: Network, side: 0 | 1, size: string): Promise<NetworkHost> {
    const { namespace, address } = network.sides[side];
    const other = network.sides[1 - side]?.address;
    const socket = join(network.directory, `${namespace}.sock`);
    const daemon = new Daemon(
      {
        ...{ DMAD_HOST: address, DMAD_PORT: String(PORT), DMAD_SOCKET: socket },
        DMAD_STATE_DIR: join(network.directory, namespace),
        DMAD_DEVICES: `emulated:dax0.0=${size}`,
        // Of this test alone.
        DMAD_INSECURE: '1',
        DMAD_PEERS_FILE: writePeers(network.directory, [
          { name: 'other', url: `http://${other}:${PORT}` },
        ]),
      },
      { wrapper: ['ip', 'netns', 'exec', namespace], lifetimeMs: LIFETIME_MS },
    );
    await daemon.ready();
    return new NetworkHost(daemon, connect({ url: `unix:${socket}` }));
  }

  async stop(): Promise<void> {
    await this.client.destroy();
    await this.#daemon.stop();
  }
}
