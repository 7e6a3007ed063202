// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import type { Transfer } from '../../../services/client/types.ts';
import { Daemon } from '../../support/daemon.ts';

/** Debian's package "chromium". */
export const BROWSER = '/usr/bin/chromium';
export const ARGS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking'];
export const MIB = 2 ** 20;
/** Long enough for a busy machine, short enough for whoever waits for a failing test. */
export const PATIENCE_MS = 20_000;

/** A daemon with two emulated devices whose operations can be made slow, and a browser. */
export interface Lab {
  daemon: Daemon;
  url: string;
  browser: Browser;
  close(): Promise<void>;
}

export async function startLab(environment: Record<string, string> = {}): Promise<Lab> {
  const daemon = new Daemon(
    {
      DMAD_FAULTS: '1',
      DMAD_DEVICES: 'emulated:dax0.0=256MiB,emulated:dax1.0=256MiB',
      ...environment,
    },
    { lifetimeMs: 1_200_000 },
  );
  const url = await daemon.ready();
  const browser = await chromium.launch({ executablePath: BROWSER, args: ARGS });
  const close = async () => {
    await browser.close();
    await daemon.stop('SIGKILL');
  };
  return { daemon, url, browser, close };
}

export function makeDirectory(): { path: string; remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), 'dmad-dashboard-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** What a page did that it must not. */
export interface Watched {
  page: Page;
  /** Violations of the policy, exceptions, and requests that left the origin. */
  faults: string[];
}

type PageOptions = Parameters<Browser['newContext']>[0];

export async function openPage(lab: Lab, hash: string, options?: PageOptions): Promise<Watched> {
  const context = await lab.browser.newContext({
    viewport: { width: 1280, height: 800 },
    ...options,
  });
  return openTab(context, lab.url, hash);
}

export async function openTab(context: BrowserContext, url: string, hash: string) {
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const faults: string[] = [];
  page.on('pageerror', (error) => faults.push(error.stack ?? error.message));
  page.on('console', (message) => {
    if (/Content.Security.Policy|Trusted/i.test(message.text())) faults.push(message.text());
  });
  page.on('request', (request) => {
    const { origin, protocol } = new URL(request.url());
    if (origin !== new URL(url).origin && protocol !== 'data:' && protocol !== 'blob:') {
      faults.push(`a request to ${request.url()}`);
    }
  });
  await page.addInitScript(`addEventListener('securitypolicyviolation', (event) =>
    console.error('Content-Security-Policy:', event.violatedDirective, event.blockedURI))`);
  await page.goto(`${url}/#/${hash}`);
  await page.locator('.link:not([data-state="connecting"])').waitFor();
  return { page, faults };
}

/** Waits until it is so. */
export async function eventually(
  holds: () => Promise<boolean>,
  withinMs = PATIENCE_MS,
): Promise<void> {
  const deadline = performance.now() + withinMs;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`not within ${withinMs} ms: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

/** When a page shows something, by the clock of this machine. */
export function whenShown(page: Page, selector: string): Promise<number> {
  return page.evaluate(`new Promise((resolve) => {
    const look = () => {
      if (document.querySelector(${JSON.stringify(selector)})) resolve(Date.now());
      else setTimeout(look, 5);
    };
    look();
  })`);
}

export async function transferOf(url: string, id: string): Promise<Transfer> {
  return (await fetch(`${url}/transfers/${id}`)).json() as Promise<Transfer>;
}

const JSON_TYPE = { 'content-type': 'application/json' };

export async function post(url: string, body: object, headers: Record<string, string> = {}) {
  const answer = await fetch(url, {
    method: 'POST',
    headers: { ...JSON_TYPE, ...headers },
    body: JSON.stringify(body),
  });
  return answer.json() as Promise<{ id: string; status: string }>;
}

export async function clearFaults(url: string): Promise<void> {
  await fetch(`${url}/faults`, { method: 'DELETE' });
}

/** Lets operations on some bytes begin and not go on, until they are cancelled or faults cleared. */
export function hang(url: string, device_name: string, offset: number, size: number) {
  const range = { device_name, offset, size, count: 1000 };
  return post(`${url}/faults`, { ...range, kind: 'hang' });
}

/** A copy that takes many seconds, and no memory: the same bytes over and over. */
export function startLongCopy(url: string): Promise<{ id: string }> {
  const piece = { src_offset: 0, dst_offset: 128 * MIB, size: 16 * MIB };
  const segments = Array.from({ length: 4096 }, () => piece);
  const devices = { device_name: 'dax0.0', dst_device_name: 'dax1.0' };
  return post(`${url}/transfers`, { ...devices, segments }, ASYNC);
}

export const ASYNC = { prefer: 'respond-async' };

/** A copy from the first device to the second, which goes on. */
export function startCopy(url: string, offset: number, size: number, more: object = {}) {
  const copy = { device_name: 'dax0.0', dst_device_name: 'dax1.0', size, ...more };
  return post(`${url}/transfers`, { ...copy, src_offset: offset, dst_offset: offset }, ASYNC);
}
