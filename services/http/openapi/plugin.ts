// SPDX-License-Identifier: Apache-2.0
import swagger from '@fastify/swagger';
import fp from 'fastify-plugin';
import {
  createJsonSchemaTransform,
  createJsonSchemaTransformObject,
} from 'fastify-type-provider-zod';
import type { OpenAPIV3_1 } from 'openapi-types';
import { z } from 'zod';
import { DAEMON_VERSION } from '../../base/version.ts';
import { TOKEN_SCHEME } from '../access/plugin.ts';
import { deferred } from '../deferred.ts';
import { problemResponses } from '../problems/schema.ts';
import { finishDocument } from './document.ts';
import type { Examples } from './examples.ts';

const toComponents = createJsonSchemaTransformObject({});

/** What a document says of its service as a whole. */
export interface DescribedService {
  title: string;
  description: string;
  tags: { name: string; description: string }[];
  examples: Examples;
}

/**
 * Describes every route that is registered after it, and shows them in Swagger UI.
 *
 * @param options.service what is described
 */
export default fp<{ service: DescribedService }>(
  async (app, { service: { title, description, tags, examples } }) => {
    await app.register(swagger, {
      openapi: {
        openapi: '3.1.0',
        info: {
          title,
          version: DAEMON_VERSION,
          description:
            `${description} Within a major version of the API (see \`GET /version\`) answers only gain: clients ` +
            'ignore members and values that they do not know.',
          license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
        },
        components: {
          securitySchemes: {
            [TOKEN_SCHEME]: {
              type: 'http',
              scheme: 'bearer',
              description:
                'The secret of a token. Where the daemon has no tokens file, and on its Unix ' +
                'socket, none is needed.',
            },
          },
        },
        tags,
      },
      transform: createJsonSchemaTransform({}),
      transformObject: (input) =>
        finishDocument(toComponents(input) as OpenAPIV3_1.Document, examples),
    });

    const showDocs = deferred(async () => {
      const { swaggerUiApp } = await import('./swagger-ui.ts');
      return swaggerUiApp(() => app.swagger() as OpenAPIV3_1.Document);
    });
    // Pages, scripts and pictures: what a browser accepts, they are.
    const config = { access: 'public' as const, produces: [] };
    const schema = { hide: true };
    for (const path of ['', '/', '/json', '/yaml', '/static/*']) {
      app.route({ ...showDocs, url: `/docs${path}`, config, schema });
    }
    // The page that Swagger UI has there shows another service's document.
    for (const path of ['/docs/static/', '/docs/static/index.html']) {
      app.get(path, { config, schema }, (_request, reply) => reply.redirect('../'));
    }

    app.get(
      '/openapi.json',
      {
        config: { access: 'public' },
        schema: {
          operationId: 'getOpenApi',
          summary: 'This document',
          tags: ['health'],
          response: {
            200: z.looseObject({ openapi: z.string() }).meta({ description: 'OpenAPI 3.1.' }),
            ...problemResponses(),
          },
        },
      },
      async () => app.swagger(),
    );
  },
  { name: 'openapi' },
);
