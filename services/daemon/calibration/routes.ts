// SPDX-License-Identifier: Apache-2.0
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { byteCount } from '../../base/byte-count.ts';
import { authorize } from '../../http/access/authorize.ts';
import { clientGone } from '../../http/client-gone.ts';
import { fieldProblem } from '../../http/problems/problem.ts';
import { problemResponses } from '../../http/problems/schema.ts';
import { checkConditions } from '../../http/semantics.ts';
import {
  checkBadBlocks,
  checkBounds,
  checkOnline,
  type Device,
  flushedByCpu,
  type Inventory,
} from '../devices/device.ts';
import type { DmaEngine } from '../engines/dma.ts';
import { type EnginesParts, enginesDocument, enginesSchema } from '../engines/schema.ts';
import type { WorkQueue } from '../order/work-queue.ts';
import type { Calibrator } from './calibration.ts';
import { SCRATCH_MAX, SCRATCH_MIN, type Scratch } from './measure.ts';

export interface CalibrationRoutesOptions extends EnginesParts {
  calibrator: Calibrator;
  inventory: Inventory;
  queue: WorkQueue;
}

export const calibrateSchema = z
  .strictObject({
    device_name: z.string().max(64).meta({ description: 'Such as dax0.0 or /dev/dax0.0.' }),
    offset: byteCount(0),
    size: byteCount(SCRATCH_MIN).meta({
      description: `Of the range that is overwritten; no more than ${SCRATCH_MAX} bytes of it are.`,
    }),
  })
  .meta({ id: 'CalibrationRequest' });

export const calibrationRoutes: FastifyPluginAsyncZod<CalibrationRoutesOptions> = async (
  app,
  { inventory, queue, ...parts },
) => {
  const { dma, calibrator } = parts;
  app.post(
    '/engines/calibrate',
    {
      config: { access: 'content:write', kind: 'content' },
      schema: {
        operationId: 'calibrate',
        summary: 'Measure how fast the engines copy here',
        description:
          'Takes up to 2 s, and **overwrites the range that the body names**, in order with ' +
          'transfers. By what it finds `auto` chooses from then on, after a restart as well, as ' +
          'long as processors and DMA channels are the same. Without a body, if no DMA ' +
          "channel was ever found, the CPU is measured in the daemon's own memory.",
        tags: ['engines'],
        body: calibrateSchema.nullish(),
        response: {
          200: enginesSchema.meta({ description: 'The engines, as measured now.' }),
          ...problemResponses(
            'unknown_device',
            'out_of_range',
            'bad_block',
            'engine_unavailable',
            'queue_full',
            'dma_error',
            'timeout',
            'media_error',
            'device_gone',
            'overloaded',
            'shutting_down',
            'storage_full',
          ),
        },
      },
    },
    async (request, reply) => {
      const { body } = request;
      const withDma = dma.hardware.length > 0;
      if (!body) {
        authorize(request, []);
        checkConditions(request);
        if (withDma) throw needsRange();
        await calibrator.calibrate();
        return enginesDocument(parts);
      }
      const { device_name: name, offset, size } = body;
      authorize(request, [{ device: name, offset, size, write: true }], () => '/offset');
      checkConditions(request);
      const device = checkRange(inventory, body);
      if (withDma) checkReached(dma, device);
      const { name: client } = request.client;
      queue.admit(client);
      const range = { device: device.handle, offset, size };
      await queue.inTurn({ kind: 'calibration', client }, range, clientGone(reply), () =>
        calibrator.calibrate(scratchOf(device, body, withDma)),
      );
      return enginesDocument(parts);
    },
  );
};

type CalibrationRequest = z.output<typeof calibrateSchema>;

function needsRange() {
  const detail =
    'DMA copies in device-dax only: name a range that may be overwritten, as device_name, offset and size.';
  return fieldProblem('invalid_request', '', detail);
}

function checkRange(
  inventory: Inventory,
  { device_name, offset, size }: CalibrationRequest,
): Device {
  const device = inventory.named(device_name, '/device_name');
  const range = { device, offset, size, offsetPointer: '/offset', sizePointer: '/size' };
  checkBounds(range);
  checkBadBlocks(range);
  checkOnline(device);
  return device;
}

/** What DMA was found to do is not given up for what the CPU does elsewhere. */
function checkReached(dma: DmaEngine, device: Device): void {
  const reason = dma.unavailable ?? dma.whyUnreachable(device);
  if (reason === undefined) return;
  const detail = `DMA cannot be measured there: ${reason}. Name a device-dax device, while a channel is ready.`;
  throw fieldProblem('engine_unavailable', '/device_name', detail);
}

function scratchOf(device: Device, { offset, size }: CalibrationRequest, dma: boolean): Scratch {
  // Syncing a file would measure its disk.
  return { device, offset, size, flush: flushedByCpu(device), dma };
}
