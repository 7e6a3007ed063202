// SPDX-License-Identifier: Apache-2.0

import type { FastifyReply } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { authorize } from '../../http/access/authorize.ts';
import { CHANGES_TRANSFERS, SEES_TRANSFERS } from '../../http/access/scopes.ts';
import { answerCreated, failureOf } from '../../http/answer-created.ts';
import { isClosed } from '../../http/client-gone.ts';
import { takeJson } from '../../http/json-body.ts';
import { type Preference, preferHeader, readPrefer } from '../../http/prefer.ts';
import { Problem } from '../../http/problems/problem.ts';
import { problemResponses, problemResponsesWith } from '../../http/problems/schema.ts';
import { referenceBelow } from '../../http/references.ts';
import { checkConditions, checkConditionsOf } from '../../http/semantics.ts';
import { readTraceContext } from '../../http/trace-context.ts';
import type { Inventory } from '../devices/device.ts';
import type { EngineChooser } from '../engines/choice.ts';
import type { Created } from './acceptance.ts';
import { basicDocumentFor, documentFor } from './document.ts';
import { idempotencyKeySchema } from './idempotency-key.ts';
import { transferListQuerySchema, transferListSchema } from './list-schema.ts';
import { describePlan, planTransfer } from './plan.ts';
import { meaningOf, touchesOf, touchPointer } from './request.ts';
import { transferRequestSchema } from './request-schema.ts';
import { dryRunSchema, transferProblemSchema, transferSchema } from './schema.ts';
import { parseTransferRequest } from './segments-body.ts';
import { serverTiming } from './server-timing.ts';
import type { TransferService } from './service.ts';
import type { Transfer } from './transfer.ts';

/** How long POST /transfers waits for the end if the client says nothing, in milliseconds. */
const DEFAULT_WAIT_MS = 10_000;

/** Why a request for transfers is refused, one or many. */
export const ACCEPTANCE_PROBLEMS = [
  'request_timeout',
  'payload_too_large',
  'unsupported_media_type',
  'unknown_device',
  'out_of_range',
  'overlapping_ranges',
  'bad_block',
  'engine_unavailable',
  'unknown_transfer',
  'idempotency_key_reused',
  'queue_full',
] as const;

export interface TransferRoutesOptions {
  transfers: TransferService;
  inventory: Inventory;
  chooser: EngineChooser;
}

const preferSchema = preferHeader('POST /transfers');
const idParam = z.object({ id: z.string().meta({ description: 'The id of a transfer.' }) });

/** Not wrapped by fastify-plugin: its bodies are parsed in a way of their own. */
export const transferRoutes: FastifyPluginAsyncZod<TransferRoutesOptions> = async (
  app,
  { transfers, inventory, chooser },
) => {
  takeJson(app, 'application/json', { parse: parseTransferRequest });

  app.post(
    '/transfers',
    {
      config: { access: 'transfers:write', waitsMs: DEFAULT_WAIT_MS },
      schema: {
        operationId: 'createTransfer',
        summary: 'Copy bytes',
        description:
          'Copies inside a device or from one to another. Transfers whose bytes touch run in the ' +
          'order in which they were accepted. Waits for the end, up to 10 s unless `Prefer` says ' +
          'otherwise.',
        tags: ['transfers'],
        headers: z.object({
          prefer: preferSchema,
          'idempotency-key': idempotencyKeySchema.optional().meta({
            description:
              'Makes a retry safe: the same key with the same body answers with the first ' +
              'transfer, and copies nothing again. Good until 24 h after the end of that.',
          }),
        }),
        body: transferRequestSchema,
        response: {
          200: z.union([dryRunSchema, transferSchema]).meta({
            description:
              'The plan, for a dry run; or the transfer that this Idempotency-Key made, which ' +
              'succeeded.',
          }),
          201: transferSchema.meta({ description: 'It succeeded.' }),
          202: transferSchema.meta({ description: 'It goes on: see Location.' }),
          ...problemResponses(...ACCEPTANCE_PROBLEMS),
          ...problemResponsesWith(
            transferProblemSchema,
            'cancelled',
            'source_incomplete',
            'dependency_failed',
            'dma_error',
            'verify_mismatch',
            'media_error',
            'device_gone',
            'interrupted',
            'journal_unavailable',
            'overloaded',
            'shutting_down',
            'timeout',
            'storage_full',
            'internal_error',
          ),
        },
      },
    },
    async (request, reply) => {
      const { body } = request;
      request.operation = body.operation;
      authorize(request, touchesOf(body), (index) => touchPointer(body, index));
      checkConditions(request);
      if (body.dry_run) {
        const plan = planTransfer(body, inventory, chooser);
        await transfers.checkDependencies([plan], request.client.name);
        return describePlan(plan);
      }
      const prefer = readPrefer(request.headers.prefer, DEFAULT_WAIT_MS);
      const key = request.headers['idempotency-key'];
      const origin = {
        requestId: request.id,
        client: request.client.name,
        key,
        trace: readTraceContext(request.headers),
      };
      const makePlan = () => planTransfer(body, inventory, chooser);
      const created = await transfers.create(
        [{ request: meaningOf(body), origin, makePlan }],
        prefer.waitMs === 0,
      );
      const { transfer, replayed } = created[0] as Created;
      request.transferId = transfer.id;
      reply.header('location', referenceBelow(request.raw, '/transfers', transfer.id));
      if (replayed) reply.header('idempotency-replayed', 'true');
      if (prefer.applied !== undefined) reply.header('preference-applied', prefer.applied);
      await transfers.waitForEnd(transfer, prefer.waitMs, reply.raw);
      await transfers.keep(transfer);
      return answer(transfer, reply, prefer, replayed);
    },
  );

  app.get(
    '/transfers',
    {
      config: { access: SEES_TRANSFERS },
      schema: {
        operationId: 'listTransfers',
        summary: 'List transfers, newest first',
        tags: ['transfers'],
        querystring: transferListQuerySchema,
        response: {
          200: transferListSchema.meta({ description: 'A page.' }),
          ...problemResponses(),
        },
      },
    },
    async ({ query, client }, reply) => {
      const { transfers: page, nextPageToken } = await transfers.list(query, client, () =>
        isClosed(reply.raw),
      );
      return {
        transfers: page.map((transfer) =>
          (query.view === 'basic' ? basicDocumentFor : documentFor)(client, transfer),
        ),
        next_page_token: nextPageToken,
      };
    },
  );

  app.get(
    '/transfers/:id',
    {
      config: { access: SEES_TRANSFERS, waitsMs: 0 },
      schema: {
        operationId: 'getTransfer',
        summary: 'See how a transfer stands',
        tags: ['transfers'],
        params: idParam,
        headers: z.object({ prefer: preferSchema }),
        response: {
          200: transferSchema.meta({ description: 'The transfer, over or not.' }),
          ...problemResponses('not_found'),
        },
      },
    },
    async (request, reply) => {
      const transfer = await transfers.get(request.params.id, request.client);
      const prefer = readPrefer(request.headers.prefer, 0);
      if (prefer.applied !== undefined) reply.header('preference-applied', prefer.applied);
      await transfers.waitForEnd(transfer, prefer.waitMs, reply.raw);
      return documentFor(request.client, transfer);
    },
  );

  app.post(
    '/transfers/:id/cancel',
    {
      config: { access: CHANGES_TRANSFERS, kind: 'wait' },
      schema: {
        operationId: 'cancelTransfer',
        summary: 'Stop a transfer',
        description:
          'Answers once it has stopped. What is already copied stays copied. Can be repeated: ' +
          'one that was cancelled is given again.',
        tags: ['transfers'],
        params: idParam,
        response: {
          200: transferSchema.meta({ description: 'It has stopped.' }),
          ...problemResponses('not_found'),
          ...problemResponsesWith(transferProblemSchema, 'not_cancellable'),
        },
      },
    },
    async (request) => {
      const { params, client } = request;
      request.transferId = params.id;
      await checkConditionsOf(request, () => transfers.get(params.id, client));
      return documentFor(client, await transfers.cancel(params.id, client));
    },
  );
};

/** Tells the client that made a transfer how it went. @param replayed see {@link failureOf} */
function answer(transfer: Transfer, reply: FastifyReply, prefer: Preference, replayed: boolean) {
  const document = () => documentFor(reply.request.client, transfer);
  const succeeded = transfer.status === 'succeeded';
  if (transfer.finished && !succeeded) {
    const error = transfer.error ?? new Problem('internal_error', '');
    throw failureOf(error, replayed, { transfer: document() });
  }
  if (succeeded && !replayed)
    reply.header('server-timing', serverTiming(transfer.timings, transfer.plan));
  return answerCreated(reply, prefer, { succeeded, replayed, document });
}
