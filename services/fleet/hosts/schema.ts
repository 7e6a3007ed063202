// SPDX-License-Identifier: Apache-2.0
import { z } from 'zod';
import { hostNameSchema } from '../../base/host-name.ts';
import { deviceSchema } from '../../daemon/devices/schema.ts';

const MAX_CA = 2 ** 16;
const MAX_URL = 2048;

export const hostParams = z.object({
  host: hostNameSchema.meta({ description: 'The name of a host of the fleet.' }),
});

/** How a host's daemon is reached. */
export const hostRequestSchema = z
  .strictObject(
    {
      url: z
        .url({ protocol: /^https?$/, error: 'must be a URL such as https://hosta:8080' })
        .max(MAX_URL, `must have at most ${MAX_URL} characters`)
        .refine((url) => !/[?#@]/.test(url), 'must have no user, query or fragment')
        .overwrite((url) => url.replace(/\/+$/, ''))
        .meta({ description: "Of the host's daemon; a path in it is a prefix." }),
      ca: z
        .string()
        .max(MAX_CA)
        .regex(/^-----BEGIN CERTIFICATE-----/, 'must be PEM, from its first line on')
        .optional()
        .meta({
          description: "PEM: what signed the daemon's certificate; the system's if absent.",
        }),
    },
    { error: ({ code }) => (code === 'invalid_type' ? 'must be a JSON object' : undefined) },
  )
  .meta({ id: 'FleetHostRequest' });

export type HostConfig = z.output<typeof hostRequestSchema>;

export const HOST_STATES = ['ready', 'degraded', 'unreachable'] as const;
export type HostState = (typeof HOST_STATES)[number];

/** What a gateway saw of a host; kept in etcd, so that it outlives gateways and absences. */
export const seenSchema = z.object({
  state: z.enum(HOST_STATES),
  since: z.iso.datetime(),
  reason: z.string().nullable(),
  devices: z.array(deviceSchema),
  /** Whether it copies by DMA. */
  dma: z.boolean(),
});
export type Seen = z.output<typeof seenSchema>;

export const hostSchema = z
  .object({
    name: hostNameSchema,
    url: z.string(),
    state: z.enum(HOST_STATES).meta({
      description:
        'ready: it takes transfers. degraded: it answers, and takes none, or something is missing. ' +
        'unreachable: it does not answer; what was accepted for it waits.',
    }),
    since: z.iso.datetime().nullable().meta({ description: 'Since when it is in that state.' }),
    reason: z.string().nullable().meta({ description: 'Why it is not ready.' }),
    devices: z.array(z.string()).meta({ description: 'Names, as they were seen last.' }),
    dma: z.boolean().meta({ description: 'Whether it copies by DMA.' }),
    transfers: z.int().min(0).meta({ description: 'Accepted for it, and not ended.' }),
    stale: z.boolean().optional().meta({
      description: 'true: etcd is away, and this is what the gateway knew last.',
    }),
  })
  .meta({ id: 'FleetHost' });

export const hostListSchema = z
  .object({ hosts: z.array(hostSchema) })
  .meta({ id: 'FleetHostList' });

export const fleetDeviceListSchema = z
  .object({
    devices: z.array(
      deviceSchema
        .extend({
          host: hostNameSchema,
          stale: z.boolean().optional().meta({
            description:
              'true: its host or etcd is away, and this is how the device was seen last.',
          }),
        })
        .meta({ id: 'FleetDevice' }),
    ),
  })
  .meta({ id: 'FleetDeviceList' });
