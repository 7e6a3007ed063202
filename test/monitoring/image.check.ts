// SPDX-License-Identifier: Apache-2.0
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer, get, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Built, buildStages, copyContext, isSent, parseDockerfile } from './dockerfile.ts';
import { eventually, Process, ROOT, readText, readYaml, run } from './support.ts';

const HEALTHCHECK = join(ROOT, 'dist/services/healthcheck/main.js');
const EXIT_CONFIGURATION = 78;

const instructions = parseDockerfile(readText('docker/Dockerfile'));
const packageJson = JSON.parse(readText('package.json'));

/** The status of a GET under another Host, which fetch() does not let one set. */
function statusOf(url: string, host: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    get(url, { headers: { host }, timeout: 5000 }, (response) => {
      response.resume();
      resolve(response.statusCode);
    }).on('error', reject);
  });
}

test('the Dockerfile is without faults that a linter finds', async () => {
  const linter = join(ROOT, 'node_modules/.bin/dockerfile-utils');
  expect(await run(linter, ['lint', 'docker/Dockerfile'], { cwd: ROOT, timeout: 20_000 })).toEqual({
    ...{ code: 0, stdout: '', stderr: '' },
  });
});

test.each([
  ['services/daemon/main.ts', true],
  ['native-shim/src/cpu/copy.c', true],
  ['kernel/include/uapi/linux/ioat_dma.h', true],
  ['kernel/main.c', false],
  ['docker/compose.yaml', false],
  ['native-shim/build/libdma_shim.so', false],
  ['node_modules/zod/package.json', false],
  ['test/support/app.ts', false],
  ['.git/config', false],
])('whether %s is sent to the build: %s', (path, sent) => {
  const patterns = readText('.dockerignore')
    .split('\n')
    .filter((line) => /^[^#]/.test(line));
  expect(isSent(path, patterns)).toBe(sent);
});

describe('the image, its stages built on this machine', () => {
  let directory: string;
  let built: Built;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'dmad-image-'));
    const context = join(directory, 'context');
    copyContext(ROOT, context, readText('.dockerignore'));
    built = await buildStages(instructions, { context, into: directory });
  }, 300_000);

  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  const inImage = (path: string) => join(built.final.root, path);

  /** A command in exec form, as from the image's root. */
  function exec(rest: string, environment: Record<string, string>): Process {
    const [command, ...args] = JSON.parse(rest) as string[];
    expect(command).toBe('node');
    const own = args.map((arg) => (arg.startsWith('/') ? inImage(arg) : arg));
    return new Process(process.execPath, own, {
      cwd: inImage(built.final.workdir),
      env: { ...built.final.env, ...environment },
      timeout: 30_000,
    });
  }

  function start(name: string, environment: Record<string, string>): Process {
    const state = join(directory, name);
    mkdirSync(state);
    const { rest = '' } = built.final.last.ENTRYPOINT ?? {};
    return exec(rest, { ...environment, DMAD_PORT: '0', DMAD_STATE_DIR: state });
  }

  test('left out only what is about its base', () => {
    expect(built.notRun.map((command) => command.split(' ', 1)[0])).toEqual(['apt-get', 'rm']);
  });

  test('holds what runs, and no tools and no sources', () => {
    const files = readdirSync(inImage('app'), { recursive: true }) as string[];
    const own = files.filter((file) => !file.startsWith('node_modules'));
    for (const needed of ['dist/services/daemon/main.js', 'native-shim/build/libdma_shim.so']) {
      expect(own).toContain(needed);
    }
    expect(own.filter((file) => /\.(ts|c|h|o|d)$|test/.test(file))).toEqual([]);
    const lock = JSON.parse(readText('package-lock.json'));
    for (const name of Object.keys(packageJson.devDependencies)) {
      // Some that the tests name, others need too.
      if (lock.packages[`node_modules/${name}`].dev !== true) continue;
      expect({ name, there: existsSync(inImage(`app/node_modules/${name}`)) }).toEqual({
        ...{ name, there: false },
      });
    }
  });

  test('has dmactl', async () => {
    const script = readFileSync(inImage('usr/local/bin/dmactl'), 'utf8');
    const [, main = ''] = /^exec node .* (\/app\/\S+) "\$@"$/m.exec(script) ?? [];
    const { env } = built.final;
    const result = await run(process.execPath, [inImage(main), '--version'], {
      env,
      timeout: 30_000,
    });
    expect(result).toMatchObject({ code: 0, stdout: expect.stringContaining(packageJson.version) });
  });

  test('says what it is', () => {
    expect(built.final.labels).toMatchObject({
      'org.opencontainers.image.title': packageJson.name,
      'org.opencontainers.image.description': packageJson.description,
      'org.opencontainers.image.licenses': packageJson.license,
      'org.opencontainers.image.version': packageJson.version,
      'org.opencontainers.image.base.name': expect.stringMatching(
        /^node:24\.\d+\.\d+-bookworm-slim$/,
      ),
    });
  });

  test('runs as another user than root, stops on SIGTERM, and keeps state in its volume', () => {
    const { USER, STOPSIGNAL, VOLUME, EXPOSE } = built.final.last;
    expect([USER?.rest, STOPSIGNAL?.rest, EXPOSE?.rest]).toEqual(['node', 'SIGTERM', '8080']);
    expect(VOLUME?.rest).toBe(built.final.env.DMAD_STATE_DIR);
  });

  test('does not serve to anyone unless told to', async () => {
    const { code, stderr } = await start('refused', {}).exited;
    expect({ code, stderr }).toMatchObject({ code: EXIT_CONFIGURATION });
    expect(stderr).toMatch(/DMAD_INSECURE/);
  });

  test("serves with compose.yaml's environment, is healthy, and ends on SIGTERM", async () => {
    const { environment } = readYaml('docker/compose.yaml').services.dmad;
    // As there, but for a listener that this machine's neighbours cannot reach.
    const daemon = start('state', { ...environment, DMAD_HOST: '127.0.0.1' });
    const health = (port: string) => {
      const { rest = '' } = built.final.last.HEALTHCHECK ?? {};
      return exec(rest.replace(/^CMD\s+/, ''), { DMAD_PORT: port }).exited;
    };
    try {
      const { url, port } = await eventually('the ready line', 15_000, async () =>
        daemon.stdout
          .split('\n')
          .slice(0, -1)
          .map((line) => JSON.parse(line))
          .find((line) => line.url !== undefined),
      );
      expect(await health(String(port))).toMatchObject({ code: 0, stderr: '' });
      const { scrape_configs } = readYaml('docker/prometheus/prometheus.yml');
      const [target] = scrape_configs[0].static_configs[0].targets;
      expect(await statusOf(`${url}/metrics`, target)).toBe(200);
      expect(await statusOf(`${url}/metrics`, 'elsewhere:8080')).toBe(421);
      expect(await statusOf(`${url}/docs`, 'localhost:8080')).toBeLessThan(400);

      const response = await fetch(`${url}/transfers`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({
          ...{ device_name: 'dax0.0', dst_device_name: 'dax1.0' },
          ...{ src_offset: 0, dst_offset: 0, size: '1MiB', verify: 'crc32c' },
        }),
      });
      expect(response.status).toBe(201);

      expect(await daemon.stop('SIGTERM')).toMatchObject({ code: 0, stderr: '' });
      expect(await health(String(port))).toMatchObject({ code: 1 });
    } finally {
      await daemon.stop('SIGKILL');
    }
  });
});

describe('the health check', () => {
  let directory: string;
  const servers: Server[] = [];

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'dmad-health-'));
  });

  afterAll(() => {
    for (const server of servers) {
      server.closeAllConnections();
      server.close();
    }
    rmSync(directory, { recursive: true, force: true });
  });

  async function listen(server: Server, where: number | string = 0): Promise<string> {
    servers.push(server);
    await new Promise<void>((resolve) => {
      if (typeof where === 'string') server.listen(where, resolve);
      else server.listen(where, '127.0.0.1', resolve);
    });
    return String((server.address() as AddressInfo).port);
  }

  const check = (env: Record<string, string>) =>
    run(process.execPath, [HEALTHCHECK], { env, timeout: 10_000 });

  const answer = (status: number) =>
    createServer(({ url }, response) => {
      response.writeHead(url === '/livez' ? status : 404).end();
    });

  test.each([
    [200, 0],
    [503, 1],
  ])('with status %i ends with %i', async (status, code) => {
    expect(await check({ DMAD_PORT: await listen(answer(status)) })).toMatchObject({ code });
  });

  test('gives up on a daemon that accepts and never answers, within its time', async () => {
    const port = await listen(createServer(() => {}));
    const { code, stderr } = await check({ DMAD_PORT: port });
    expect({ code, stderr }).toEqual({ code: 1, stderr: '/livez: no answer within 3000 ms\n' });
  });

  test('asks over the Unix socket where there is one', async () => {
    const socket = join(directory, 'socket');
    await listen(answer(200), socket);
    const tls = { DMAD_TLS_CERT: 'x', DMAD_TLS_KEY: 'x' };
    expect(await check({ DMAD_SOCKET: socket, ...tls })).toMatchObject({ code: 0 });
    expect(await check({ DMAD_SOCKET: `${socket}-gone` })).toMatchObject({ code: 1 });
  });

  test('asks over TLS where the daemon speaks it', async () => {
    const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')];
    const flags = ['-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '1', '-subj', '/CN=dmad'];
    const made = await run('openssl', ['req', ...flags, '-keyout', key, '-out', cert], {
      timeout: 20_000,
    });
    expect(made).toMatchObject({ code: 0 });
    const pair = { key: readFileSync(key), cert: readFileSync(cert) };
    const answerAll = (_request: unknown, response: ServerResponse) => {
      response.end();
    };
    const tls = { DMAD_TLS_CERT: cert, DMAD_TLS_KEY: key };
    const port = await listen(createTlsServer(pair, answerAll) as unknown as Server);
    expect(await check({ DMAD_PORT: port, ...tls })).toMatchObject({ code: 0 });
    expect(await check({ DMAD_PORT: port })).toMatchObject({ code: 1 });

    // It has no certificate to show, and is told so: by an event loop that runs.
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      const options = { ...pair, ca: pair.cert, requestCert: true, maxVersion };
      const strict = await listen(createTlsServer(options, answerAll) as unknown as Server);
      const ca = { DMAD_TLS_CLIENT_CA: cert };
      expect(await check({ DMAD_PORT: strict, ...tls, ...ca })).toMatchObject({ code: 0 });
      expect(await check({ DMAD_PORT: strict, ...tls })).toMatchObject({ code: 1 });
    }
  });

  test('asks at the address, and by the file, of the configuration', async () => {
    const server = answer(200);
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.2', resolve));
    const port = (server.address() as AddressInfo).port;
    expect(await check({ DMAD_HOST: '127.0.0.2', DMAD_PORT: String(port) })).toMatchObject({
      code: 0,
    });
    expect(await check({ DMAD_PORT: String(port) })).toMatchObject({ code: 1 });
    const file = join(directory, 'dmad.yaml');
    writeFileSync(file, `host: 127.0.0.2\nport: ${port}\n`);
    expect(await check({ DMAD_CONFIG: file })).toMatchObject({ code: 0 });
    const { code, stderr } = await check({ DMAD_PORT: 'http' });
    expect({ code, stderr }).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('/livez: DMAD_PORT: '),
    });
  });
});
