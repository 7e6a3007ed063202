// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseProcess } from './quiet.ts';

const MAIN = fileURLToPath(new URL('../../services/daemon/main.js', import.meta.url));
const GATEWAY = fileURLToPath(new URL('../../services/fleet/main.js', import.meta.url));
const STAND_IN = fileURLToPath(new URL('./stand-in.js', import.meta.url));
const BARE = fileURLToPath(new URL('./bare.js', import.meta.url));
/** Of the times in /proc, on every Linux of today. */
const TICKS_PER_SECOND = 100;
/** One that the bench forgets ends by itself. */
const LIFETIME_MS = 90 * 60_000;

/** A server as a process of its own, which logs into a file, as one in production does. */
export class Server {
  /** From the process's start until it said that it is ready. */
  readonly startMs: number;
  readonly url: string;
  readonly stateDir: string;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, stateDir: string, url: string, startMs: number) {
    this.#child = child;
    this.stateDir = stateDir;
    this.url = url;
    this.startMs = startMs;
  }

  /**
   * The daemon, on two emulated devices of that many bytes each, in memory.
   *
   * @param files where a directory for its devices' files is made, if not there
   */
  static daemon(
    directory: string,
    deviceSize: number,
    environment: Record<string, string> = {},
    files = directory,
  ): Promise<Server> {
    const stateDir = join(directory, `daemon-${performance.now()}`);
    mkdirSync(stateDir);
    if (files !== directory)
      symlinkSync(mkdtempSync(join(files, 'devices-')), join(stateDir, 'devices'));
    return Server.#start(MAIN, stateDir, {
      DMAD_PORT: '0',
      DMAD_DEVICES: `emulated:dax0.0=${deviceSize},emulated:dax1.0=${deviceSize}`,
      ...environment,
    });
  }

  /** What it is held against: see bare.ts. */
  static bare(directory: string): Promise<Server> {
    return Server.#start(BARE, join(directory, `bare-${performance.now()}`), {});
  }

  /** A gateway of a fleet. */
  static gateway(directory: string, etcd: string): Promise<Server> {
    return Server.#start(GATEWAY, join(directory, `gateway-${performance.now()}`), {
      ...{ DMAD_FLEET_ETCD: etcd, DMAD_FLEET_PORT: '0' },
    });
  }

  /** Hosts of a fleet: see stand-in.ts. */
  static standIn(directory: string): Promise<Server> {
    return Server.#start(STAND_IN, join(directory, `stand-in-${performance.now()}`), {});
  }

  static async #start(
    program: string,
    stateDir: string,
    environment: Record<string, string>,
  ): Promise<Server> {
    mkdirSync(stateDir, { recursive: true });
    const log = join(stateDir, 'log');
    const began = performance.now();
    const child = spawn(process.execPath, [program], {
      env: { PATH: process.env.PATH, ...environment, DMAD_STATE_DIR: stateDir },
      stdio: ['ignore', openSync(log, 'w'), 'inherit'],
      timeout: LIFETIME_MS,
    });
    for (;;) {
      const [, url] = /"url":"(http:[^"]+)","host"/.exec(readFileSync(log, 'utf8')) ?? [];
      if (url !== undefined) return new Server(child, stateDir, url, performance.now() - began);
      if (child.exitCode !== null) throw new Error(`${program} ended with ${child.exitCode}`);
      await sleep(2);
    }
  }

  /** The files behind the daemon's devices. */
  get deviceFiles(): [string, string] {
    const file = (name: string) => join(this.stateDir, 'devices', name);
    return [file('dax0.0'), file('dax1.0')];
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  /** Resident memory, in bytes. */
  get memory(): number {
    const status = readFileSync(`/proc/${this.#child.pid}/status`, 'utf8');
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
  }

  /** CPU time that its process has used, all threads, in seconds. */
  get cpuSeconds(): number {
    const stat = readFileSync(`/proc/${this.#child.pid}/stat`, 'utf8');
    return parseProcess(stat).ticks / TICKS_PER_SECOND;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill();
    await ended;
    // Their bytes are memory, which the next row needs.
    for (const file of this.deviceFiles) rmSync(file, { force: true });
  }
}

/** The daemon and the bare server side by side for as long as some work takes. */
export async function withServers<Result>(
  directory: string,
  deviceSize: number,
  work: (daemon: Server, bare: Server) => Promise<Result>,
): Promise<Result> {
  const daemon = await Server.daemon(directory, deviceSize);
  try {
    const bare = await Server.bare(directory);
    try {
      return await work(daemon, bare);
    } finally {
      await bare.stop();
    }
  } finally {
    await daemon.stop();
  }
}
