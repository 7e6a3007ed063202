// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './free-port.ts';

/** Of Debian's package nginx-light. */
export const NGINX = '/usr/sbin/nginx';

/** A real nginx in front of something, with the settings that a test gives it and no others. */
export class Nginx {
  readonly #process: ChildProcess;
  readonly #directory: string;
  readonly port: number;

  private constructor(process: ChildProcess, directory: string, port: number) {
    this.#process = process;
    this.#directory = directory;
    this.port = port;
  }

  /** @param server what stands in its "server" block @param lifetimeMs how long it may live */
  static async start(server: string, lifetimeMs = 120_000): Promise<Nginx> {
    const directory = mkdtempSync(join(tmpdir(), 'dmad-nginx-'));
    mkdirSync(join(directory, 'temp'));
    const port = await freePort();
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
      .map((name) => `${name}_temp_path ${directory}/temp;`)
      .join('\n');
    writeFileSync(
      join(directory, 'nginx.conf'),
      `${process.getuid?.() === 0 ? 'user root;' : ''} daemon off; worker_processes 1; pid ${directory}/pid; error_log stderr;
      events { worker_connections 256; }
      http {
        access_log off; ${temporary} client_max_body_size 0;
        server { listen 127.0.0.1:${port}; ${server} }
      }`,
    );
    const child = spawn(NGINX, ['-p', directory, '-c', join(directory, 'nginx.conf')], {
      stdio: ['ignore', 'ignore', 'inherit'],
      timeout: lifetimeMs,
      killSignal: 'SIGKILL',
    });
    const nginx = new Nginx(child, directory, port);
    for (;;) {
      if (child.exitCode !== null) throw new Error(`nginx ended with ${child.exitCode}`);
      const answer = await fetch(`http://127.0.0.1:${port}/livez`).catch(() => undefined);
      if (answer !== undefined) return nginx;
      await sleep(20);
    }
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async stop(): Promise<void> {
    const exited = new Promise((resolve) => this.#process.once('exit', resolve));
    this.#process.kill('SIGTERM');
    await exited;
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
