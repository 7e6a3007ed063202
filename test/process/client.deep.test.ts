// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { connect, DmadError } from '../../services/client/node.ts';
import { makeCertificate } from '../support/certificates.ts';
import { Daemon } from '../support/daemon.ts';
import { runs } from '../support/depth.ts';
import { Random } from '../support/random.ts';
import { secretOf, writeTokens } from '../support/tokens.ts';

/** How often the daemon is killed. */
const CYCLES = Number(process.env.KILL_CYCLES ?? runs(100, 5));
const WORKERS = 6;
const BLOCK = 4096;

function temporaryDirectory(): string {
  return mkdtempSync(join(tmpdir(), 'dmad-test-'));
}

test('over a Unix socket, and over TLS with a client certificate', async () => {
  const directory = temporaryDirectory();
  const ca = makeCertificate(directory, 'ca');
  const server = makeCertificate(directory, 'server', ca);
  const own = makeCertificate(directory, 'client', ca);
  const socket = join(directory, 'dmad.sock');
  const daemon = new Daemon({
    ...{ DMAD_SOCKET: socket, DMAD_TOKENS_FILE: writeTokens(directory, [{ name: 'one' }]) },
    ...{ DMAD_TLS_CERT: server.cert, DMAD_TLS_KEY: server.key, DMAD_TLS_CLIENT_CA: ca.cert },
  });
  const pem = (path: string) => readFileSync(path, 'utf8');
  try {
    const url = await daemon.ready();
    expect(url).toMatch(/^https:/);
    const tls = { ca: pem(ca.cert), cert: pem(own.cert), key: pem(own.key) };
    const token = secretOf('one');
    const client = connect({ url, tls, token });
    expect(await client.listDevices()).toHaveLength(2);
    await client.close();
    const stranger = connect({ url, tls: { ca: tls.ca }, token, retryForMs: 0 });
    await expect(stranger.listDevices()).rejects.toMatchObject({ code: 'unreachable' });
    await stranger.close();
    const nameless = connect({ url, tls, retryForMs: 0 });
    await expect(nameless.listDevices()).rejects.toMatchObject({ code: 'unauthenticated' });
    await nameless.close();
    const local = connect({ url: `unix:${socket}` });
    expect(await local.listDevices()).toHaveLength(2);
    await local.close();
    const missing = connect({ url: `unix:${socket}.none`, retryForMs: 0 });
    const error = await missing.listDevices().catch((reason) => reason);
    expect(error).toBeInstanceOf(DmadError);
    expect(error.message).toContain('ENOENT');
    await missing.close();
  } finally {
    await daemon.stop();
    rmSync(directory, { recursive: true, force: true });
  }
});

test(
  `a daemon that is killed ${CYCLES} times: no transfer twice, none lost, no promise left`,
  async () => {
    const random = new Random();
    const stateDir = temporaryDirectory();
    const environment: Record<string, string> = {
      DMAD_STATE_DIR: stateDir,
      DMAD_LOG_LEVEL: 'info',
    };
    let daemon = new Daemon(environment);
    const url = await daemon.ready();
    environment.DMAD_PORT = new URL(url).port;
    const client = connect({ url, retryForMs: 60_000 });
    let going = true;
    let made = 0;
    const ends = new Map<string, { id: string; status: string }>();

    /** Copies, one after the other, and remembers how each ended. */
    const work = async (worker: number) => {
      const place = { src_offset: worker * BLOCK, dst_offset: worker * BLOCK, size: BLOCK };
      const request = { device_name: 'dax0.0', dst_device_name: 'dax1.0', ...place };
      while (going) {
        const index = String(made++);
        const labelled = { ...request, labels: { index } };
        try {
          const begun = await client.createTransfer(labelled, {
            waitSeconds: random.integer(0, 1),
          });
          let last = begun;
          if (random.integer(0, 1) === 0) last = await client.waitForTransfer(begun.id);
          else for await (const { transfer } of client.watch(begun.id)) last = transfer;
          ends.set(index, last);
        } catch (error) {
          // It ended otherwise: that is an end too, and says so.
          if (!(error instanceof DmadError) || error.transfer === undefined) throw error;
          ends.set(index, error.transfer);
        }
        if (random.integer(1, 5) === 1) {
          await client.writeContent('dax0.0', new Uint8Array(BLOCK), { offset: place.src_offset });
          const { stream } = await client.readContent('dax1.0');
          let bytes = 0;
          for await (const chunk of stream) bytes += chunk.length;
          expect(bytes).toBe(2 ** 20);
        }
      }
    };

    try {
      const working = Promise.all(Array.from({ length: WORKERS }, (_, index) => work(index)));
      for (let cycle = 0; cycle < CYCLES; cycle++) {
        await Promise.race([working, sleep(random.integer(0, 2000))]);
        await daemon.stop('SIGKILL');
        daemon = new Daemon(environment);
        await Promise.race([working, daemon.ready()]);
      }
      going = false;
      await working;
      const found = new Map<string, { id: string; status: string }>();
      for await (const transfer of client.allTransfers({ page_size: '1000' })) {
        const { index = '' } = transfer.labels;
        expect(found.has(index)).toBe(false);
        found.set(index, transfer);
      }
      expect(ends.size).toBe(made);
      const summary = (map: typeof ends) =>
        [...map].map(([index, { id, status }]) => [index, id, status].join(' ')).sort();
      expect(summary(found)).toEqual(summary(ends));
      const interrupted = [...ends.values()].filter(({ status }) => status !== 'succeeded').length;
      process.stderr.write(
        `client, TEST_SEED=${random.seed}: ${CYCLES} kills, ${made} transfers, ${interrupted} interrupted\n`,
      );
    } finally {
      going = false;
      await client.close();
      await daemon.stop('SIGKILL');
      rmSync(stateDir, { recursive: true, force: true });
    }
  },
  60_000 + CYCLES * 10_000,
);
