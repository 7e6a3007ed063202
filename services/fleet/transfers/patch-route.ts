// SPDX-License-Identifier: Apache-2.0
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { CHANGES_TRANSFERS } from '../../http/access/scopes.ts';
import { MERGE_PATCH, takeMergePatch } from '../../http/json-body.ts';
import { problemResponses, problemResponsesWith } from '../../http/problems/schema.ts';
import { checkConditionsOf } from '../../http/semantics.ts';
import type { Changes } from './changes.ts';
import {
  fleetTransferPatchSchema,
  fleetTransferProblemSchema,
  fleetTransferSchema,
} from './schema.ts';
import type { Views } from './views.ts';

/** Not wrapped by fastify-plugin: the type of its bodies is its own. */
export const patchRoute: FastifyPluginAsyncZod<{ changes: Changes; views: Views }> = async (
  app,
  { changes, views },
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
          'By a merge patch (RFC 7396): all that the patch has or nothing. What its host has, the host ' +
          'changes: while that is away, the answer is 503. What its host does not have yet is changed ' +
          'as soon as it does; if it runs by then, its priority stays. What a daemon of another version ' +
          'does not change then is shown, and kept, by the fleet alone.',
        tags: ['transfers'],
        consumes: [MERGE_PATCH],
        params: z.object({ id: z.string().meta({ description: 'The id of a transfer.' }) }),
        body: fleetTransferPatchSchema,
        response: {
          200: fleetTransferSchema.meta({ description: 'The transfer with what it has now.' }),
          ...problemResponses(
            ...(['not_found', 'request_timeout', 'payload_too_large'] as const),
            ...(['unsupported_media_type', 'etcd_unavailable', 'host_unreachable'] as const),
            'storage_full',
          ),
          ...problemResponsesWith(fleetTransferProblemSchema, 'not_changeable'),
        },
      },
    },
    async (request) => {
      const { params, client, body } = request;
      request.transferId = params.id;
      await checkConditionsOf(request, () => views.find(params.id, client));
      return changes.change(params.id, client, body);
    },
  );
};
