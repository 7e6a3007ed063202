// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify';
import { pino } from 'pino';
import { type App, buildApp } from '../../services/daemon/app.ts';
import { readConfig } from '../../services/daemon/config.ts';

/** Two small devices, so that a test can read them whole. */
export const SMALL_DEVICES = 'emulated:dax0.0=1MiB,emulated:dax1.0=1MiB';

export interface TestApp {
  http: FastifyInstance;
  stateDir: string;
  inject(options: InjectOptions): Promise<LightMyRequestResponse>;
  /** Sends a JSON body to POST /transfers. */
  post(body: unknown, headers?: Record<string, string>): Promise<LightMyRequestResponse>;
  /** Shuts down and removes the state. */
  close(graceMs?: number): Promise<void>;
}

export interface TestAppOptions {
  /** DMAD_ variables; the state directory is a temporary one. */
  environment?: Record<string, string>;
  sysfsRoot?: string;
  /** Where state goes: memory is quick, a disk can be synced. */
  parentDir?: string;
}

/** The daemon without a listener, on devices of its own. */
export async function startTestApp(options: TestAppOptions = {}): Promise<TestApp> {
  const stateDir = mkdtempSync(join(options.parentDir ?? tmpdir(), 'dmad-test-'));
  const config = readConfig({
    DMAD_DEVICES: SMALL_DEVICES,
    DMAD_STATE_DIR: stateDir,
    DMAD_LOG_LEVEL: 'silent',
    ...options.environment,
  });
  const log = pino({ level: config.log_level });
  let app: App;
  try {
    const { sysfsRoot } = options;
    app = await buildApp({ config, log, ...(sysfsRoot !== undefined && { sysfsRoot }) });
  } catch (error) {
    rmSync(stateDir, { recursive: true, force: true });
    throw error;
  }
  const { http } = app;
  return {
    http,
    stateDir,
    inject: (request) => http.inject(request),
    post: (body, headers = {}) =>
      http.inject({ method: 'POST', url: '/transfers', payload: body as object, headers }),
    close: async (graceMs = 5000) => {
      await app.shutDown(graceMs);
      rmSync(stateDir, { recursive: true, force: true });
    },
  };
}
