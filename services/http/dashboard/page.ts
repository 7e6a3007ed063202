// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import Fastify, { type FastifyInstance, type FastifyPluginAsync } from 'fastify';
import { StartError } from '../../base/start-error.ts';
import { deferred } from '../../http/deferred.ts';

/** What Vite makes of services/dashboard. */
const BUILT = fileURLToPath(new URL('../../../dashboard/', import.meta.url));

/** What a browser lets the page do: nothing but what it needs, and nothing from elsewhere. */
const PAGE_HEADERS = {
  'content-security-policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "connect-src 'self'",
    "img-src 'self' data:",
    "frame-ancestors 'none'",
    "base-uri 'none'",
    "form-action 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; '),
  'cross-origin-opener-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
};

/** What `GET /` shows in a browser. */
export interface Page {
  html: string;
  headers: Readonly<Record<string, string>>;
}

/** @throws StartError if the installation is incomplete */
export function readPage(): Page {
  try {
    return { html: readFileSync(`${BUILT}index.html`, 'utf8'), headers: PAGE_HEADERS };
  } catch (error) {
    const why = (error as Error).message;
    throw new StartError('configuration', `the dashboard is not built: run npm run build (${why})`);
  }
}

/**
 * The scripts, styles and pictures of the page, open to all: they say nothing of this host. Their
 * names have a hash of their content, so that they never change.
 */
export const dashboardAssets: FastifyPluginAsync = async (app) => {
  app.addHook('onRoute', (route) => {
    route.config = { ...route.config, access: 'public', quiet: true, produces: [] };
  });
  app.addHook('onRequest', async (_request, reply) => {
    reply.headers(PAGE_HEADERS);
  });
  app.route({ ...deferred(assetsApp), url: '/assets/*', schema: { hide: true } });
};

async function assetsApp(): Promise<FastifyInstance> {
  const { default: fastifyStatic } = await import('@fastify/static');
  const app = Fastify();
  await app.register(fastifyStatic, {
    root: `${BUILT}assets`,
    prefix: '/assets/',
    decorateReply: false,
    // A route for each file, so that there is none for anything else.
    wildcard: false,
    immutable: true,
    maxAge: '1y',
  });
  app.setNotFoundHandler((_request, reply) => reply.code(404).send());
  return app;
}
