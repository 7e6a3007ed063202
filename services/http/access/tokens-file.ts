// SPDX-License-Identifier: Apache-2.0
import { z } from 'zod';
import { byteCount } from '../../base/byte-count.ts';
import { deviceNameOf } from '../../base/device-name.ts';
import { hostNameSchema } from '../../base/host-name.ts';
import { peerNameSchema } from '../../base/peer-name.ts';
import { parseYaml, readTrustedFile } from '../../base/trusted-file.ts';
import { ANONYMOUS } from './client.ts';
import { FLEET_SCOPES, SCOPES } from './scopes.ts';

/** Room for a thousand tokens with devices. In bytes. */
const MAX_FILE_SIZE = 2 ** 20;
/** Each request that brings a token is held against every one of them. */
const MAX_TOKENS = 1024;
const MAX_DEVICES = 1024;
const MAX_RANGES = 1024;
const MAX_HOSTS = 1024;
const MAX_PEERS = 1024;

const rangeSchema = z
  .strictObject({ offset: byteCount(0), size: byteCount(1) })
  .refine(({ offset, size }) => Number.isSafeInteger(offset + size), 'ends beyond 2^53-1');

/** One token, as the file has it; what each field means is in the HTTP contract, under Access. */
export const tokenSchema = z.strictObject({
  name: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, 'must be 1 to 63 letters, digits, ".", "_" or "-"')
    .refine((name) => name !== ANONYMOUS, 'is the name of those who have no token'),
  sha256: z
    .string('must be 64 hex digits, in quotes')
    .regex(/^[0-9a-fA-F]{64}$/, 'must be 64 hex digits, in quotes')
    .toLowerCase(),
  scopes: z.array(z.enum(SCOPES)).min(1),
  devices: z
    .array(
      z.strictObject({
        name: z.string().min(1).transform(deviceNameOf),
        uuid: z.guid('must be a uuid, as GET /devices shows it').toLowerCase().optional(),
        resource: byteCount(0).optional(),
        ranges: z.array(rangeSchema).max(MAX_RANGES).optional(),
        access: z.enum(['ro', 'rw']),
      }),
    )
    .max(MAX_DEVICES)
    .optional(),
  peers: z.array(peerNameSchema).max(MAX_PEERS).optional(),
  limits: z
    .strictObject({
      transfers_in_flight: z.int().min(1).optional(),
      bytes_per_second: byteCount(1).optional(),
    })
    .default({}),
});

/** The same of a fleet: its devices are those of each host that it may use. */
export const fleetTokenSchema = tokenSchema.omit({ peers: true }).extend({
  scopes: z.array(z.enum(FLEET_SCOPES)).min(1),
  hosts: z.array(hostNameSchema).min(1).max(MAX_HOSTS).optional(),
  limits: tokenSchema.shape.limits.refine(
    ({ bytes_per_second }) => bytes_per_second === undefined,
    "bytes_per_second is for a daemon's tokens: a fleet limits transfers_in_flight",
  ),
});

export type Token = z.output<typeof fleetTokenSchema> & Pick<z.output<typeof tokenSchema>, 'peers'>;
export type TokenSchema = typeof tokenSchema | typeof fleetTokenSchema;

const fileSchemaOf = (schema: TokenSchema) =>
  z.strictObject({
    tokens: z
      .array(schema as typeof fleetTokenSchema)
      .max(MAX_TOKENS)
      .superRefine((tokens, context) => {
        for (const field of ['name', 'sha256'] as const) {
          const seen = new Set<string>();
          for (const [index, { [field]: value }] of tokens.entries()) {
            const message = `is another token's ${field} already`;
            if (seen.has(value))
              context.addIssue({ code: 'custom', path: [index, field], message });
            seen.add(value);
          }
        }
      }),
  });

/**
 * Reads the tokens file, which is YAML.
 *
 * @throws Error saying in one line what is wrong and where; it never quotes what the file holds
 */
export function readTokensFile(path: string, schema?: TokenSchema): Token[] {
  return parseTokens(readTrustedFile(path, MAX_FILE_SIZE), schema);
}

/** @param text of a tokens file. @throws Error as {@link readTokensFile} does */
export function parseTokens(text: string, schema: TokenSchema = tokenSchema): Token[] {
  return parseYaml(text, fileSchemaOf(schema)).tokens;
}
