// SPDX-License-Identifier: Apache-2.0
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from '@jest/globals';
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify';
import { silentLog } from '../../services/base/log.ts';
import { type App, buildApp } from '../../services/daemon/app.ts';
import { readConfig } from '../../services/daemon/config.ts';
import type { Inventory } from '../../services/daemon/devices/device.ts';
import type { Patience } from '../../services/daemon/replication/guard.ts';
import { type Answer, Conformance } from './conformance.ts';
import { Wire } from './wire.ts';

/** Two small devices, so that a test can read them whole. */
export const SMALL_DEVICES = 'emulated:dax0.0=1MiB,emulated:dax1.0=1MiB';

/** A file system in memory, if there is one: for bytes that need not be durable. */
export const MEMORY_DIR = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();

/** A transfer that takes minutes: 4096 copies of a whole device. @param deviceSize of both devices, in bytes */
export function longTransfer(deviceSize: number): Record<string, unknown> {
  const segment = { src_offset: 0, dst_offset: 0, size: deviceSize };
  return {
    ...{ device_name: 'dax0.0', dst_device_name: 'dax1.0', durability: 'none' },
    segments: Array(4096).fill(segment),
  };
}

export interface TestApp {
  http: FastifyInstance;
  stateDir: string;
  /** Sends a request, and checks its answer against the daemon's OpenAPI document. */
  inject(options: InjectOptions): Promise<LightMyRequestResponse>;
  /** The same; the answer has the form that {@link Wire} gives. */
  ask(options: InjectOptions): Promise<Answer>;
  /** Sends a JSON body to POST /transfers. */
  post(body: unknown, headers?: Record<string, string>): Promise<LightMyRequestResponse>;
  conformance: Conformance;
  /** The devices, so that a test can give them bad blocks. */
  inventory: Inventory;
  /** Listens on loopback if it does not yet. @returns the port */
  listen(): Promise<number>;
  /**
   * Blocks all later work that touches the device from `offset` on, by an upload of unknown length
   * whose client sends nothing. The upload ends without having written anything.
   */
  block(device: string, offset?: number, headers?: Record<string, string>): Promise<Blocker>;
  /** Shuts down and removes the state. */
  close(graceMs?: number): Promise<void>;
}

/** See {@link TestApp.block}. */
export interface Blocker {
  /** Ends the upload. @returns once it has ended */
  release(): Promise<void>;
}

export interface TestAppOptions {
  /** DMAD_ variables; the state directory is a temporary one. */
  environment?: Record<string, string>;
  sysfsRoot?: string;
  /** How often the daemon looks for devices, in milliseconds. */
  lookMs?: number;
  /** How slow a peer may be. */
  peerPatience?: Patience;
  /** Content of at least this size, in bytes, is moved past Node. */
  pastNodeFrom?: number;
  /** Where the state directory is made: memory is fast, a disk can be synced. */
  parentDir?: string;
  /** Prepares the state directory before the daemon starts. */
  prepare?(stateDir: string): void;
}

/** The daemon without a listener, on its own devices. */
export async function startTestApp(options: TestAppOptions = {}): Promise<TestApp> {
  const stateDir = mkdtempSync(join(options.parentDir ?? tmpdir(), 'dmad-test-'));
  options.prepare?.(stateDir);
  const config = readConfig({
    DMAD_DEVICES: SMALL_DEVICES,
    DMAD_STATE_DIR: stateDir,
    DMAD_LOG_LEVEL: 'silent',
    // A blocker may last as long as its test does on a busy machine.
    DMAD_UPLOAD_IDLE_SECONDS: '3600',
    ...options.environment,
  });
  let app: App;
  try {
    const { sysfsRoot, lookMs, peerPatience, pastNodeFrom } = options;
    app = await buildApp({
      ...{ config, log: silentLog() },
      ...(sysfsRoot !== undefined && { sysfsRoot }),
      ...(lookMs !== undefined && { lookMs }),
      ...(peerPatience !== undefined && { peerPatience }),
      ...(pastNodeFrom !== undefined && { pastNodeFrom }),
    });
    await app.start();
  } catch (error) {
    rmSync(stateDir, { recursive: true, force: true });
    throw error;
  }
  const { http } = app;
  const conformance = new Conformance(http);
  let port: Promise<number> | undefined;
  const inject = async (request: InjectOptions) => {
    const response = await http.inject(request);
    const { method = 'GET', url } = request;
    conformance.check(method.toUpperCase(), url as string, answerOf(response));
    return response;
  };
  const listen = () => {
    port ??= new Promise((resolve) => {
      http.server.listen({ host: '127.0.0.1', port: 0 }, () =>
        resolve((http.server.address() as AddressInfo).port),
      );
    });
    return port;
  };
  return {
    http,
    stateDir,
    conformance,
    inventory: app.inventory,
    inject,
    listen,
    ask: async (request) => answerOf(await inject(request)),
    post: (body, headers = {}) =>
      inject({ method: 'POST', url: '/transfers', payload: body as object, headers }),
    block: async (device, offset = 0, headers = {}) => {
      const fields = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
      const wire = new Wire(await listen());
      wire.send(
        `PUT /devices/${device}/content?offset=${offset} HTTP/1.1\r\nhost: localhost\r\n` +
          `${fields.join('')}transfer-encoding: chunked\r\nexpect: 100-continue\r\n\r\n`,
      );
      // The upload has its place in the order once the daemon sends 100.
      await wire.sees('100 Continue');
      return {
        release: async () => {
          expect((await wire.send('0\r\n\r\n').answer()).status).toBe(200);
          wire.end();
        },
      };
    },
    close: async (graceMs = 5000) => {
      await app.shutDown(graceMs);
      rmSync(stateDir, { recursive: true, force: true });
    },
  };
}

function answerOf({ statusCode, headers, rawPayload }: LightMyRequestResponse): Answer {
  return { status: statusCode, headers, body: rawPayload };
}
