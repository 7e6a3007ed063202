// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type BrowserContext, chromium, type Page } from 'playwright-core';
import { Daemon } from '../support/daemon.ts';
import { secretOf, writeTokens } from '../support/tokens.ts';

/** Debian's package "chromium". */
const BROWSER = '/usr/bin/chromium';
/** Where to put a picture of the page, for the README. */
const { DMAD_SCREENSHOT: screenshot } = process.env;

/** A daemon that asks for tokens. */
async function secureDaemon() {
  const directory = mkdtempSync(join(tmpdir(), 'dmad-browser-'));
  const daemon = new Daemon({ DMAD_TOKENS_FILE: writeTokens(directory, [{ name: 'anna' }]) });
  const stop = async () => {
    await daemon.stop();
    rmSync(directory, { recursive: true, force: true });
  };
  return { url: await daemon.ready(), stop };
}

describe('Swagger UI in a browser', () => {
  const profile = mkdtempSync(join(tmpdir(), 'dmad-browser-'));
  const daemon = new Daemon({
    DMAD_DEVICES: 'emulated:dax0.0=256MiB,emulated:dax1.0=256MiB',
  });
  let context: BrowserContext;
  let page: Page;
  let base: string;

  beforeAll(async () => {
    base = await daemon.ready();
    context = await chromium.launchPersistentContext(profile, {
      executablePath: BROWSER,
      viewport: { width: 1200, height: 1160 },
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
      ],
    });
    page = await context.newPage();
  });
  afterAll(async () => {
    await context?.close();
    await daemon.stop();
    rmSync(profile, { recursive: true, force: true });
  });

  test('"Execute" on POST /transfers gives 201', async () => {
    const problems: string[] = [];
    page.on('console', (message) => {
      if (message.type() === 'error') problems.push(message.text());
    });
    page.on('pageerror', (error) => problems.push(error.message));
    await page.goto(`${base}/docs`);
    const operation = page.locator('#operations-transfers-createTransfer');
    await operation.locator('.opblock-summary').click();
    const answered = page.waitForResponse(`${base}/transfers`);
    await operation.getByRole('button', { name: 'Execute' }).click();
    expect((await answered).status()).toBe(201);
    const status = operation
      .locator('.live-responses-table tr.response .response-col_status')
      .first();
    await status.waitFor();
    expect(await status.innerText()).toContain('201');
    expect(problems).toEqual([]);

    if (screenshot !== undefined) {
      await operation.locator('.live-responses-table').scrollIntoViewIfNeeded();
      await page.screenshot({ path: screenshot });
    }
  });

  test('"Execute" on GET /devices shows the devices', async () => {
    const operation = page.locator('#operations-devices-listDevices');
    await operation.locator('.opblock-summary').click();
    await operation.getByRole('button', { name: 'Execute' }).click();
    const body = operation.locator('.live-responses-table .highlight-code').first();
    await body.waitFor();
    expect(await body.innerText()).toContain('"dax1.0"');
  });

  test('an upload of a file gives 200', async () => {
    const operation = page.locator('#operations-devices-writeContent');
    await operation.locator('.opblock-summary').click();
    await operation
      .locator('input[type=file]')
      .setInputFiles({ name: 'bytes', mimeType: 'text/plain', buffer: Buffer.from('123456789') });
    const answered = page.waitForResponse((response) => response.request().method() === 'PUT');
    await operation.getByRole('button', { name: 'Execute' }).click();
    const response = await answered;
    expect(response.status()).toBe(200);
    expect(await response.json()).toMatchObject({ bytes_written: 9, crc32c: 'e3069283' });
  });

  test('"Authorize" sends the token from then on', async () => {
    const secured = await secureDaemon();
    try {
      const { url } = secured;
      await page.goto(`${url}/docs`);
      const operation = page.locator('#operations-devices-listDevices');
      await operation.locator('.opblock-summary').click();
      const status = async () => {
        const answered = page.waitForResponse(`${url}/devices`);
        await operation.getByRole('button', { name: 'Execute' }).click();
        return (await answered).status();
      };
      expect(await status()).toBe(401);
      await page.locator('.auth-wrapper .btn.authorize').click();
      const dialog = page.locator('.dialog-ux');
      await dialog.locator('input').fill(secretOf('anna'));
      await dialog.getByRole('button', { name: 'Apply credentials' }).click();
      await dialog.getByRole('button', { name: 'Close' }).click();
      expect(await status()).toBe(200);
    } finally {
      await secured.stop();
    }
  });
});
