// SPDX-License-Identifier: Apache-2.0
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';
import { Daemon } from '../support/daemon.ts';

/** The packages that a process loaded, by the coverage that it wrote and the source maps of its bundles. */
function packagesIn(coverage: string): Set<string> {
  const [report = ''] = readdirSync(coverage);
  const { result } = JSON.parse(readFileSync(join(coverage, report), 'utf8')) as {
    result: { url: string }[];
  };
  const files = result.filter(({ url }) => url.startsWith('file:')).map(({ url }) => url);
  const sources = files.flatMap((url) => {
    const map = fileURLToPath(`${url}.map`);
    return existsSync(map) ? (JSON.parse(readFileSync(map, 'utf8')).sources as string[]) : [url];
  });
  const names = sources.map((path) => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1]);
  return new Set(names.filter((name) => name !== undefined));
}

test('a start does not load what only some daemons need, or none', async () => {
  const coverage = mkdtempSync(join(tmpdir(), 'dmad-coverage-'));
  try {
    const daemon = new Daemon({ NODE_V8_COVERAGE: coverage });
    await daemon.ready();
    expect((await daemon.stop()).code).toBe(0);
    const packages = packagesIn(coverage);
    expect([...packages]).toEqual(expect.arrayContaining(['fastify', 'zod', 'classic-level']));
    for (const name of [
      // The client, for those that have peers.
      'undici',
      // The pages for browsers.
      ...['@fastify/static', '@fastify/swagger-ui'],
      // Fastify's compilers of JSON schemas, and its tests' requests.
      ...['ajv', '@fastify/fast-json-stringify-compiler', 'light-my-request'],
      // The gateway's and dmactl's.
      ...['etcd3', 'cockatiel', 'commander'],
      // A table of all media types there are.
      'mime-db',
    ]) {
      expect(packages).not.toContain(name);
    }
  } finally {
    rmSync(coverage, { recursive: true });
  }
});
