// SPDX-License-Identifier: Apache-2.0
import swaggerUi from '@fastify/swagger-ui';
import Fastify, { type FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';
import type { OpenAPIV3_1 } from 'openapi-types';
import { serverAt } from './document.ts';

/** Swagger UI of a document, below /docs. */
export async function swaggerUiApp(document: () => OpenAPIV3_1.Document): Promise<FastifyInstance> {
  const app = Fastify();
  const describe = async (inner: FastifyInstance) => {
    inner.decorate('swagger', document as FastifyInstance['swagger']);
  };
  await app.register(fp(describe, { name: '@fastify/swagger' }));
  await app.register(swaggerUi, {
    routePrefix: '/docs',
    // Makes the links of /docs relative, as those of /docs/ are.
    indexPrefix: '.',
    // The page reads /docs/json, one level below.
    transformSpecification: (shown) => ({ ...shown, servers: serverAt('..') }),
    transformSpecificationClone: false,
    uiConfig: {
      displayRequestDuration: true,
      tryItOutEnabled: true,
      persistAuthorization: false,
    },
  });
  app.setNotFoundHandler((_request, reply) => reply.code(404).send());
  return app;
}
