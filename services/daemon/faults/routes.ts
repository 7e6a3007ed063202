// SPDX-License-Identifier: Apache-2.0
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { byteCount } from '../../base/byte-count.ts';
import { authorize } from '../../http/access/authorize.ts';
import { Problem } from '../../http/problems/problem.ts';
import { problemResponses } from '../../http/problems/schema.ts';
import { checkConditions } from '../../http/semantics.ts';
import { checkBounds, type Inventory } from '../devices/device.ts';
import { FAULT_KINDS, type Fault, type Faults } from './faults.ts';

const MAX_COUNT = 1_000_000;
const MAX_DELAY_MS = 600_000;
/** That many are looked through for each job. */
const MAX_FAULTS = 1000;

export const faultRequestSchema = z.strictObject({
  device_name: z.string(),
  offset: byteCount(0).default(0),
  size: byteCount(1).optional().meta({ description: "Up to the device's end if absent." }),
  kind: z.enum(FAULT_KINDS).meta({
    description:
      'media_error, device_gone: the operation fails and touches nothing; verify_mismatch: a ' +
      'transfer with `verify` copies and fails; slow: it begins delay_ms later; hang: it does not ' +
      'begin before it is cancelled, or the faults are removed.',
  }),
  count: z.int().min(1).max(MAX_COUNT).default(1).meta({
    description: 'How many operations it strikes.',
  }),
  delay_ms: z.int().min(0).max(MAX_DELAY_MS).default(0).meta({ description: 'Of slow.' }),
});

export const faultSchema = z.object({
  id: z.uuid(),
  device_name: z.string(),
  offset: z.int().min(0),
  size: z.int().min(1),
  kind: z.enum(FAULT_KINDS),
  count: z.int().min(0).meta({ description: 'How many operations it will still strike.' }),
  delay_ms: z.int().min(0),
});

export const faultListSchema = z.object({ faults: z.array(faultSchema) });

/** Faults of emulated devices, for those who test clients; only with DMAD_FAULTS=1. */
export const faultRoutes: FastifyPluginAsyncZod<{ faults: Faults; inventory: Inventory }> = async (
  app,
  { faults, inventory },
) => {
  const tags = ['faults'];

  app.post(
    '/faults',
    {
      config: { access: 'content:write' },
      schema: {
        operationId: 'addFault',
        summary: 'Let operations on an emulated device fail',
        tags,
        body: faultRequestSchema,
        response: {
          201: faultSchema.meta({ description: 'It is set.' }),
          ...problemResponses('unknown_device', 'out_of_range', 'queue_full'),
        },
      },
    },
    async (request, reply) => {
      const { device_name: name, offset, size: given, kind, count, delay_ms } = request.body;
      authorize(request, [{ device: name, offset, size: given ?? 0, write: true }]);
      checkConditions(request);
      const device = inventory.named(name, '/device_name');
      const size = given ?? Math.max(device.size - offset, 1);
      checkBounds({ device, offset, size, offsetPointer: '/offset', sizePointer: '/size' });
      if (faults.size >= MAX_FAULTS) {
        throw new Problem(
          'queue_full',
          `${MAX_FAULTS} faults are set: remove them by DELETE /faults.`,
        );
      }
      const fault = faults.add({
        ...{ kind, handle: device.handle, deviceName: device.name },
        ...{ offset, size, count, delayMs: delay_ms },
      });
      request.log.warn({ fault: faultDocument(fault) }, 'an emulated fault is set');
      return reply.code(201).send(faultDocument(fault));
    },
  );

  app.get(
    '/faults',
    {
      config: { access: 'client' },
      schema: {
        operationId: 'listFaults',
        summary: 'The faults that are set',
        tags,
        response: {
          200: faultListSchema.meta({ description: 'Those that have strikes left.' }),
          ...problemResponses(),
        },
      },
    },
    async () => ({ faults: faults.list().map(faultDocument) }),
  );

  app.delete(
    '/faults',
    {
      config: { access: 'content:write' },
      schema: {
        operationId: 'clearFaults',
        summary: 'Remove all faults',
        description: 'Operations that hang go on.',
        tags,
        response: {
          200: faultListSchema.meta({ description: 'None is left.' }),
          ...problemResponses(),
        },
      },
    },
    async (request) => {
      authorize(request, []);
      checkConditions(request);
      faults.clear();
      request.log.warn('the emulated faults are removed');
      return { faults: [] };
    },
  );
};

function faultDocument({ id, kind, deviceName, offset, size, count, delayMs }: Fault) {
  return { id, device_name: deviceName, offset, size, kind, count, delay_ms: delayMs };
}
