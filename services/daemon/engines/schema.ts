// SPDX-License-Identifier: Apache-2.0
import { z } from 'zod';
import type { DmaEngine } from './dma.ts';
import type { Engine } from './engine.ts';
import { CHANNEL_STATES, type Channel, REFUSALS } from './records.ts';
import { bothFrom, dmaFrom, type KnownSpeeds, type Speed } from './speeds.ts';

const count = z.int().min(0);

const channelSchema = z
  .object({
    name: z.string(),
    driver: z.string(),
    numa_node: z.int().nullable(),
    state: z.enum(CHANNEL_STATES).meta({
      description:
        'recovering: an operation failed or hangs, and it takes nothing new until one of the ' +
        "module's own has gone through; set_aside: it did not recover, and is tried again from " +
        'time to time; gone: its device was removed or its driver unbound.',
    }),
    in_flight: count.meta({ description: 'Operations that the hardware has now.' }),
    operations: count,
    bytes: count,
    errors: count.meta({ description: 'The sum of errors_by_kind.' }),
    errors_by_kind: z.object({
      read: count.meta({ description: 'Operations whose source could not be read.' }),
      write: count.meta({ description: 'Operations whose destination could not be written.' }),
      aborted: count.meta({ description: "Operations thrown out with another's fault." }),
      lost: count.meta({ description: 'Operations whose end the driver never told.' }),
      timeout: count.meta({ description: 'Requests whose time was over at this channel.' }),
    }),
    recoveries: count.meta({ description: 'Times that it came back.' }),
  })
  .meta({ id: 'Channel', description: 'A DMA channel; counters since the module found it.' });

const refusedSchema = z
  .object({
    driver: z.string(),
    device: z.string(),
    reason: z.enum(REFUSALS).meta({
      description:
        "driver: the kernel module's parameter drivers= does not name it; order: it completes " +
        'copies out of order; alignment: it cannot copy from and to any byte; errors: it reports ' +
        'failed copies as done; bus: its removal would not be noticed; other: the module is newer ' +
        'than this daemon. All but the first hold whatever the parameter says.',
    }),
  })
  .meta({ id: 'RefusedProvider', description: 'A provider of DMA channels that is not used.' });

const speedSchema = z
  .object({
    latency_ns: count.meta({ description: 'What even the smallest copy takes.' }),
    bytes_per_second: count.meta({ description: 'Of a large copy.' }),
  })
  .meta({ id: 'Speed' });

export const enginesSchema = z
  .object({
    dma: z.object({
      available: z.boolean(),
      reason: z.string().meta({ description: 'Why it is available, or why not.' }),
      module_version: z.string().nullable(),
      channels: z.array(channelSchema),
      refused: z.array(refusedSchema).meta({
        description: 'Providers of DMA channels that the kernel module does not use, and why.',
      }),
    }),
    cpu: z.object({
      available: z.boolean(),
      threads: z.int().min(1),
      instruction_set: z.string().meta({ description: 'What large copies use.' }),
      stream_from_bytes: z.int().min(1).meta({
        description: 'The size from which a copy passes the caches by; measured at start.',
      }),
    }),
    auto: z.object({
      dma_from_bytes: z.int().nullable().meta({
        description: 'The size from which an idle host copies by DMA; null: the CPU has all.',
      }),
      both_from_bytes: z.int().nullable().meta({
        description: 'The size from which DMA and the CPU share a copy; null: they share none.',
      }),
      calibration: z
        .object({
          measured_at: z.iso.datetime(),
          device_name: z
            .string()
            .nullable()
            .meta({ description: "Where; null: in the daemon's own memory." }),
          cpu: speedSchema,
          dma: speedSchema.nullable(),
          both: speedSchema.nullable(),
        })
        .nullable()
        .meta({ description: 'What auto goes by; null: nothing has been measured on this host.' }),
    }),
  })
  .meta({ id: 'Engines' });

export interface EnginesParts {
  engine: Engine;
  dma: DmaEngine;
  calibrator: KnownSpeeds;
}

/** What can copy, as clients see it. */
export function enginesDocument({ engine, dma, calibrator }: EnginesParts) {
  const { unavailable } = dma;
  return {
    dma: {
      available: unavailable === undefined,
      reason: unavailable ?? 'a DMA channel is ready',
      module_version: dma.module?.version ?? null,
      channels: dma.channels().map(channelDocument),
      refused: dma.refused(),
    },
    cpu: {
      available: true,
      threads: engine.cpu.threads,
      instruction_set: engine.cpu.instructionSet,
      stream_from_bytes: engine.cpu.streamFrom,
    },
    auto: autoDocument(calibrator, unavailable === undefined),
  };
}

function autoDocument({ calibration, speeds }: KnownSpeeds, available: boolean) {
  // What has not been measured is left to DMA whole.
  const dma = speeds === undefined ? 1 : dmaFrom(speeds);
  const both = speeds && bothFrom(speeds);
  return {
    dma_from_bytes: (available && dma) || null,
    both_from_bytes: (available && both) || null,
    calibration:
      calibration === undefined
        ? null
        : {
            measured_at: calibration.measuredAt,
            device_name: calibration.deviceName,
            cpu: speedDocument(calibration.cpu),
            dma: calibration.dma ? speedDocument(calibration.dma) : null,
            both: calibration.both ? speedDocument(calibration.both) : null,
          },
  };
}

function speedDocument({ latencyNs, bytesPerSecond }: Speed) {
  return { latency_ns: latencyNs, bytes_per_second: bytesPerSecond };
}

function channelDocument({ id, numaNode, inFlight, errors, ...channel }: Channel) {
  return {
    ...channel,
    numa_node: numaNode,
    in_flight: inFlight,
    errors: Object.values(errors).reduce((sum, kind) => sum + kind, 0),
    errors_by_kind: errors,
  };
}
