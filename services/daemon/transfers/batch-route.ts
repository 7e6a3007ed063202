// SPDX-License-Identifier: Apache-2.0

import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { authorize } from '../../http/access/authorize.ts';
import { answerBatch } from '../../http/answer-created.ts';
import { problemResponses } from '../../http/problems/schema.ts';
import { checkConditions } from '../../http/semantics.ts';
import { readTraceContext } from '../../http/trace-context.ts';
import { about, batchHeadersSchema, inBatch, refuseKeyInHeader, touchesOfAll } from './batch.ts';
import { documentFor } from './document.ts';
import { describePlan, planTransfer } from './plan.ts';
import { meaningOf } from './request.ts';
import { type TransferRequest, transferBatchSchema } from './request-schema.ts';
import { ACCEPTANCE_PROBLEMS, type TransferRoutesOptions } from './routes.ts';
import { dryRunSchema, transferSchema } from './schema.ts';

export const batchRoute: FastifyPluginAsyncZod<TransferRoutesOptions> = async (
  app,
  { transfers, inventory, chooser },
) => {
  app.post(
    '/transfers/batch',
    {
      config: { access: 'transfers:write', kind: 'wait' },
      schema: {
        operationId: 'createTransfers',
        summary: 'Many transfers at once',
        description:
          'Accepts up to 1000 transfers together, in the order of the list, or none of them. It does ' +
          'not wait for their ends. `depends_on` may name earlier ones of the list as `"#0"`, `"#1"` ' +
          'and so on. Each transfer can have an Idempotency-Key of its own: those whose keys an ' +
          'earlier request has used are given again, so that a batch can be sent again as a whole if ' +
          'all of them have one.',
        tags: ['transfers'],
        headers: batchHeadersSchema,
        body: transferBatchSchema,
        response: {
          200: z.object({ transfers: z.array(dryRunSchema) }).meta({
            description: 'The plans, for a dry run of all.',
          }),
          202: z
            .object({ transfers: z.array(z.union([transferSchema, z.uuid()])) })
            .meta({ description: 'All are accepted: one for each of the list, in its order.' }),
          ...problemResponses(
            ...ACCEPTANCE_PROBLEMS,
            'device_gone',
            'journal_unavailable',
            'overloaded',
            'shutting_down',
            'storage_full',
          ),
        },
      },
    },
    async (request, reply) => {
      const { client, headers } = request;
      const requests: readonly TransferRequest[] = request.body.transfers;
      const { touches, pointerOf } = touchesOfAll(requests);
      authorize(request, touches, pointerOf);
      refuseKeyInHeader(headers['idempotency-key']);
      checkConditions(request);
      const makePlan = (index: number) =>
        planTransfer(requests[index] as TransferRequest, inventory, chooser);
      if (requests[0]?.dry_run) {
        const plans = requests.map((_, index) => about(index, () => makePlan(index)));
        await transfers.checkDependencies(plans, client.name, inBatch);
        return reply.code(200).send({ transfers: plans.map(describePlan) });
      }
      const trace = readTraceContext(headers);
      const created = await transfers.create(
        request.body.transfers.map((one, index) => ({
          request: meaningOf(one),
          origin: { requestId: request.id, client: client.name, key: one.idempotency_key, trace },
          makePlan: () => makePlan(index),
        })),
        true,
        inBatch,
      );
      const all = created.map(({ transfer }) => transfer);
      return answerBatch(reply, headers.prefer, {
        ids: all.map(({ id }) => id),
        replayed: created.every(({ replayed }) => replayed),
        documents: () => all.map((transfer) => documentFor(client, transfer)),
      });
    },
  );
};
