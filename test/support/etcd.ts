// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './free-port.ts';

/** One that a test forgets ends by itself. */
const LIFETIME_MS = 300_000;
const LOOPBACK: Place = { address: '127.0.0.1', wrapper: [] };
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

/** Where a member runs. */
export interface Place {
  address: string;
  /** What runs it there, such as `ip netns exec NAME`. */
  wrapper: string[];
}

export interface ClusterOptions {
  /** One for each member; loopback if absent. */
  places?: readonly Place[];
  /** Members have this certificate, and clients must have one that the CA has signed: paths of PEM files. */
  tls?: { ca: string; cert: string; key: string };
  lifetimeMs?: number;
}

/** A member of a cluster, with its own process and directory. */
interface Member {
  command: string[];
  url: string;
  /** Answers without a certificate or a password. */
  health: string;
  directory: string;
  child: ChildProcess | undefined;
  output: string;
}

/** An etcd cluster, each member on free ports. */
export class EtcdCluster {
  readonly #members: Member[];
  readonly #lifetimeMs: number;

  private constructor(members: Member[], lifetimeMs: number) {
    this.#members = members;
    this.#lifetimeMs = lifetimeMs;
  }

  /** @param size 1 or 3 members @param extra further arguments of each */
  static async start(
    size = 1,
    extra: string[] = [],
    { places = [], tls, lifetimeMs = LIFETIME_MS }: ClusterOptions = {},
  ): Promise<EtcdCluster> {
    const placed = Array.from({ length: size }, async (_, index) => {
      const { address, wrapper } = places[index] ?? LOOPBACK;
      const urlOf = async (scheme: string) => `${scheme}://${address}:${await freePort()}`;
      const client = await urlOf(tls === undefined ? 'http' : 'https');
      const [peer, health] = [await urlOf('http'), await urlOf('http')];
      return { name: `etcd${index}`, wrapper, client, peer, health };
    });
    const all = await Promise.all(placed);
    const members = all.map(({ name, wrapper, client, peer, health }): Member => {
      const directory = mkdtempSync(join(tmpdir(), 'dmad-etcd-'));
      const args = [
        ...['--name', name, '--data-dir', directory, '--logger', 'zap'],
        ...['--listen-client-urls', client, '--advertise-client-urls', client],
        ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
        ...['--initial-cluster', all.map((each) => `${each.name}=${each.peer}`).join(',')],
        ...['--listen-metrics-urls', health],
        // A busy machine is no reason to vote.
        ...['--heartbeat-interval', '200', '--election-timeout', '2000', ...extra],
      ];
      if (tls !== undefined) {
        args.push('--client-cert-auth', '--trusted-ca-file', tls.ca);
        args.push('--cert-file', tls.cert, '--key-file', tls.key);
      }
      const command = [...DIES_WITH_US, ...wrapper, 'etcd', ...args];
      return { command, url: client, health, directory, child: undefined, output: '' };
    });
    const cluster = new EtcdCluster(members, lifetimeMs);
    await cluster.runAll();
    return cluster;
  }

  get size(): number {
    return this.#members.length;
  }

  get urls(): string {
    return this.#members.map(({ url }) => url).join(',');
  }

  /** Starts a member, unless it runs. */
  run(index = 0): void {
    const member = this.#members[index] as Member;
    if (isRunning(member)) return;
    const [command = '', ...args] = member.command;
    member.child = spawn(command, args, {
      stdio: ['ignore', 'ignore', 'pipe'],
      timeout: this.#lifetimeMs,
      killSignal: 'SIGKILL',
    });
    member.child.stderr?.on('data', (data) => {
      member.output = `${member.output}${data}`.slice(-4000);
    });
  }

  async kill(index = 0): Promise<void> {
    const member = this.#members[index] as Member;
    if (!isRunning(member)) return;
    const ended = new Promise((resolve) => member.child.once('close', resolve));
    member.child.kill('SIGKILL');
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

  /** Loses all that it has, as if restored from an empty backup. */
  async lose(): Promise<void> {
    await this.killAll();
    for (const { directory } of this.#members) {
      rmSync(directory, { recursive: true });
      mkdirSync(directory, { mode: 0o700 });
    }
    await this.runAll();
  }

  /** Stops a member's process, which keeps its connections, or lets it go on. */
  signal(signal: 'SIGSTOP' | 'SIGCONT', index = 0): void {
    this.#members[index]?.child?.kill(signal);
  }

  /** Waits until it takes writes. */
  async healthy(): Promise<void> {
    for (let tries = 0; ; tries++) {
      const answers = await Promise.all(
        this.#members.map(({ health }) =>
          fetch(`${health}/health`)
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

function isRunning(member: Member): member is Member & { child: ChildProcess } {
  return member.child?.exitCode === null && member.child.signalCode === null;
}
