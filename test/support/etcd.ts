// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './free-port.ts';

/** One that a test forgets ends by itself. */
const LIFETIME_MS = 300_000;
const SETPRIV = '/usr/bin/setpriv';
const DIES_WITH_US = existsSync(SETPRIV) ? [SETPRIV, '--pdeathsig', 'KILL'] : [];

/** Why tests with an etcd cannot run here; undefined if they can. */
export const NO_ETCD = findEtcd();

function findEtcd(): string | undefined {
  try {
    execFileSync('etcd', ['--version'], { stdio: 'ignore' });
    return undefined;
  } catch {
    return 'etcd is not installed (Debian: etcd-server)';
  }
}

/** A member of a cluster, as a process of its own with a directory of its own. */
interface Member {
  args: string[];
  url: string;
  directory: string;
  child: ChildProcess | undefined;
  output: string;
}

/** An etcd cluster: each member on free ports of loopback. */
export class EtcdCluster {
  readonly #members: Member[];

  private constructor(members: Member[]) {
    this.#members = members;
  }

  /** @param size 1 or 3 members @param extra further arguments of each */
  static async start(size = 1, extra: string[] = []): Promise<EtcdCluster> {
    const names = Array.from({ length: size }, (_, index) => `etcd${index}`);
    const ports = await Promise.all(names.map(async () => [await freePort(), await freePort()]));
    const peers = names.map((name, index) => `${name}=http://127.0.0.1:${ports[index]?.[1]}`);
    const members = names.map((name, index): Member => {
      const [client, peer] = (ports[index] ?? []).map((port) => `http://127.0.0.1:${port}`);
      const directory = mkdtempSync(join(tmpdir(), 'dmad-etcd-'));
      const args = [
        ...['--name', name, '--data-dir', directory, '--logger', 'zap'],
        ...['--listen-client-urls', `${client}`, '--advertise-client-urls', `${client}`],
        ...['--listen-peer-urls', `${peer}`, '--initial-advertise-peer-urls', `${peer}`],
        ...['--initial-cluster', peers.join(','), ...extra],
        // A busy machine is no reason to vote.
        ...['--heartbeat-interval', '200', '--election-timeout', '2000'],
      ];
      return { args, url: `${client}`, directory, child: undefined, output: '' };
    });
    const cluster = new EtcdCluster(members);
    for (const index of members.keys()) cluster.run(index);
    await cluster.healthy();
    return cluster;
  }

  get size(): number {
    return this.#members.length;
  }

  get urls(): string {
    return this.#members.map(({ url }) => url).join(',');
  }

  /** Starts a member that does not run. */
  run(index = 0): void {
    const member = this.#members[index] as Member;
    const [command = '', ...args] = [...DIES_WITH_US, 'etcd', ...member.args];
    member.child = spawn(command, args, {
      stdio: ['ignore', 'ignore', 'pipe'],
      timeout: LIFETIME_MS,
      killSignal: 'SIGKILL',
    });
    member.child.stderr?.on('data', (data) => {
      member.output = `${member.output}${data}`.slice(-4000);
    });
  }

  async kill(index = 0): Promise<void> {
    const child = this.#members[index]?.child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('close', resolve));
    child.kill('SIGKILL');
    await ended;
  }

  async killAll(): Promise<void> {
    await Promise.all([...this.#members.keys()].map((index) => this.kill(index)));
  }

  /** Starts all that do not run, and waits until they take writes. */
  async runAll(): Promise<void> {
    for (const index of this.#members.keys()) this.run(index);
    await this.healthy();
  }

  /** Stops a member's process, which keeps its connections, or lets it go on. */
  signal(signal: 'SIGSTOP' | 'SIGCONT', index = 0): void {
    this.#members[index]?.child?.kill(signal);
  }

  /** Waits until it takes writes. */
  async healthy(): Promise<void> {
    for (let tries = 0; ; tries++) {
      const answers = await Promise.all(
        this.#members.map(({ url }) =>
          fetch(`${url}/health`)
            .then((answer) => answer.json() as Promise<{ health?: unknown }>)
            .catch(() => undefined),
        ),
      );
      if (answers.every((answer) => String(answer?.health) === 'true')) return;
      if (tries > 600) throw new Error(`etcd does not start: ${this.#members[0]?.output}`);
      await sleep(100);
    }
  }

  async stop(): Promise<void> {
    await this.killAll();
    for (const { directory } of this.#members) rmSync(directory, { recursive: true, force: true });
  }
}
