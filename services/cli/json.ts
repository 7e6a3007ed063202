// SPDX-License-Identifier: Apache-2.0
// What --json prints, for each command. generate.ts writes it to openapi/dmactl.schema.json; dmactl
// itself does not load it.
import { z } from 'zod';
import { crc32cSchema } from '../base/crc32c.ts';
import { deviceSchema, streamSchema } from '../daemon/devices/schema.ts';
import { enginesSchema } from '../daemon/engines/schema.ts';
import { replicationListSchema, replicationSchema } from '../daemon/replication/schema.ts';
import {
  dryRunSchema as daemonsPlanSchema,
  transferSchema as daemonsTransferSchema,
} from '../daemon/transfers/schema.ts';
import { hostSchema } from '../fleet/hosts/schema.ts';

// A fleet's transfers between hosts have no engine, as have those that their hosts do not have yet.
const engine = daemonsTransferSchema.shape.engine.nullable();
const transferSchema = daemonsTransferSchema.extend({ engine });
const dryRunSchema = daemonsPlanSchema.extend({ engine });
const bytes = z.int().min(0);
const finding = z.object({
  subject: z.string(),
  level: z.enum(['ok', 'warning', 'problem', 'unknown']),
  message: z.string(),
  remedy: z.string().optional(),
});
const counts = z.object({ ok: bytes, warning: bytes, problem: bytes, unknown: bytes });
const figure = z.object({
  work: z.string(),
  bytes,
  runs: bytes,
  median_seconds: z.number(),
  bytes_per_second: bytes,
});
const range = { device_name: z.string(), offset: bytes, size: bytes, crc32c: crc32cSchema };
const transfer = z.object({ transfer: transferSchema });
const replication = z.object({ replication: replicationSchema });
const planOrTransfer = z.union([transfer, z.object({ plan: dryRunSchema })]);

/** What each command prints if it succeeds; of `watch` and `top`, each line. */
const RESULTS = {
  copy: planOrTransfer,
  fill: planOrTransfer,
  compare: z.union([
    ...planOrTransfer.options,
    transfer.extend({
      equal: z.boolean(),
      first_difference: transferSchema.shape.comparison.unwrap().shape.first_difference,
    }),
  ]),
  batch: z.union([
    z.object({ transfers: z.array(transferSchema) }),
    z.object({ plans: z.array(dryRunSchema) }),
  ]),
  replicate: replication,
  put: z.object({ ...range, bytes_sent: bytes }),
  get: z.object({ ...range, bytes_received: bytes }),
  checksum: z.object(range),
  devices: z.object({ devices: z.array(deviceSchema) }),
  engines: z.object({ engines: enginesSchema }),
  calibrate: z.object({ engines: enginesSchema }),
  transfers: z.object({
    transfers: z.array(
      z.union([transferSchema, transferSchema.omit({ segments: true, timings: true })]),
    ),
  }),
  show: transfer,
  change: transfer,
  cancel: transfer,
  wait: z.object({ transfers: z.array(transferSchema) }),
  watch: transfer.extend({ event: z.string() }),
  top: z.object({
    devices: z.array(deviceSchema),
    engines: enginesSchema.nullable(),
    streams: z.array(streamSchema).nullable(),
    transfers: z.array(transferSchema.extend({ rate: bytes })),
    queued: bytes,
    rate: bytes,
  }),
  'replications list': replicationListSchema.pick({ replications: true }),
  'replications show': replication,
  'replications change': replication,
  'replications cancel': replication,
  'hosts list': z.object({ hosts: z.array(hostSchema) }),
  'hosts add': z.object({ host: hostSchema }),
  'hosts remove': z.object({ name: z.string() }),
  doctor: z.object({ findings: z.array(finding), summary: counts }),
  bench: z.object({ figures: z.array(figure) }),
  'token add': z.object({ name: z.string(), secret: z.string(), file: z.string() }),
  'token list': z.object({
    tokens: z.array(
      z.object({
        name: z.string(),
        scopes: z.array(z.string()),
        devices: z.array(z.looseObject({ name: z.string(), access: z.string() })).nullable(),
        limits: z.looseObject({}),
      }),
    ),
  }),
  'token remove': z.object({ name: z.string(), file: z.string() }),
  completion: z.object({ shell: z.enum(['bash', 'zsh', 'fish']), script: z.string() }),
};

/** What every command prints if it fails. */
const failure = z.object({
  error: z.object({
    exit_code: z.int().min(1),
    code: z.string(),
    status: z.int().nullable(),
    message: z.string(),
    errors: z.array(z.object({ pointer: z.string(), detail: z.string() })).optional(),
    transfer: transferSchema.optional(),
    transfers: z.array(transferSchema).optional(),
    replication: replicationSchema.optional(),
    request_id: z.string().optional(),
    bytes_written: bytes.optional(),
  }),
});

const version = z.literal(1).meta({
  description: 'Raised if a member changes its meaning or goes; members may be added at any time.',
});

/** One line of output, whatever the command. */
export function outputSchema(): unknown {
  const results = Object.entries(RESULTS).map(([command, result]) =>
    z.object({ schema_version: version, command: z.literal(command) }).and(result),
  );
  const failed = z.object({ schema_version: version, command: z.string() }).and(failure);
  return z.toJSONSchema(z.union([failed, ...results]), {
    io: 'output',
    reused: 'ref',
    override: ({ jsonSchema }) => {
      // Members may come.
      if (jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties;
    },
  });
}
