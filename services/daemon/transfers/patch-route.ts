// SPDX-License-Identifier: Apache-2.0
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { CHANGES_TRANSFERS } from '../../http/access/scopes.ts';
import { MERGE_PATCH, takeMergePatch } from '../../http/json-body.ts';
import { problemResponses, problemResponsesWith } from '../../http/problems/schema.ts';
import { checkConditionsOf } from '../../http/semantics.ts';
import { documentFor } from './document.ts';
import { transferPatchSchema } from './request-schema.ts';
import { transferProblemSchema, transferSchema } from './schema.ts';
import type { TransferService } from './service.ts';

/** Not wrapped by fastify-plugin: the type of its bodies is its own. */
export const patchRoute: FastifyPluginAsyncZod<{ transfers: TransferService }> = async (
  app,
  { transfers },
) => {
  takeMergePatch(app);

  app.patch(
    '/transfers/:id',
    {
      config: { access: CHANGES_TRANSFERS },
      schema: {
        operationId: 'changeTransfer',
        summary: 'Change a transfer that is not over',
        description:
          'Changes its priority, unless it runs already, its labels and its timeout, by a merge ' +
          'patch (RFC 7396): all that the patch has or nothing. If the transfer outlives the daemon, ' +
          'so does the change, before the answer is sent.',
        tags: ['transfers'],
        consumes: [MERGE_PATCH],
        params: z.object({ id: z.string().meta({ description: 'The id of a transfer.' }) }),
        body: transferPatchSchema,
        response: {
          200: transferSchema.meta({ description: 'The transfer with what it has now.' }),
          ...problemResponses(
            'not_found',
            'request_timeout',
            'payload_too_large',
            'unsupported_media_type',
            'journal_unavailable',
            'storage_full',
          ),
          ...problemResponsesWith(transferProblemSchema, 'not_changeable'),
        },
      },
    },
    async (request) => {
      const { params, client, body } = request;
      request.transferId = params.id;
      await checkConditionsOf(request, () => transfers.get(params.id, client));
      return documentFor(client, await transfers.change(params.id, client, body));
    },
  );
};
