// SPDX-License-Identifier: Apache-2.0
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { parseDocument } from 'yaml';
import { z } from 'zod';
import { byteCount } from '../base/byte-count.ts';
import { deviceNameOf } from '../base/device-name.ts';
import '../base/wording.ts';
import { ANONYMOUS } from './client.ts';
import { SCOPES } from './scopes.ts';

const WRITABLE_BY_OTHERS = 0o022;
/** Room for a thousand tokens with devices. In bytes. */
const MAX_FILE_SIZE = 2 ** 20;
/** Each request that brings a token is held against every one of them. */
const MAX_TOKENS = 1024;
const MAX_DEVICES = 1024;
const MAX_RANGES = 1024;

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
  limits: z
    .strictObject({
      transfers_in_flight: z.int().min(1).optional(),
      bytes_per_second: byteCount(1).optional(),
    })
    .default({}),
});
export type Token = z.output<typeof tokenSchema>;

const fileSchema = z.strictObject({
  tokens: z
    .array(tokenSchema)
    .max(MAX_TOKENS)
    .superRefine((tokens, context) => {
      for (const field of ['name', 'sha256'] as const) {
        const seen = new Set<string>();
        for (const [index, { [field]: value }] of tokens.entries()) {
          const message = `is another token's ${field} already`;
          if (seen.has(value)) context.addIssue({ code: 'custom', path: [index, field], message });
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
export function readTokensFile(path: string): Token[] {
  return parseTokens(readSafely(path));
}

/** @param text of a tokens file. @throws Error as {@link readTokensFile} does */
export function parseTokens(text: string): Token[] {
  const document = parseDocument(text, { prettyErrors: true });
  const [error] = [...document.errors, ...document.warnings];
  if (error !== undefined) {
    // Not its message, which quotes the line.
    const [at] = error.linePos ?? [];
    throw new Error(`it is not valid YAML (line ${at?.line}, column ${at?.col})`);
  }
  let content: unknown;
  try {
    content = document.toJS();
  } catch {
    throw new Error('it has too many YAML aliases, or some that stand for nothing');
  }
  const result = fileSchema.safeParse(content);
  if (result.success) return result.data.tokens;
  throw new Error(result.error.issues.slice(0, 8).map(describe).join('; '));
}

/** A user who can write the file can make tokens, so its owner alone may be able to. */
function readSafely(path: string): string {
  const fd = openSync(path, 'r');
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile()) throw new Error('it is no regular file');
    if (stats.size > MAX_FILE_SIZE) throw new Error(`it is larger than ${MAX_FILE_SIZE} bytes`);
    if ((stats.mode & WRITABLE_BY_OTHERS) !== 0) {
      throw new Error('it must be writable by its owner alone (chmod go-w)');
    }
    if (stats.uid !== 0 && stats.uid !== process.getuid?.()) {
      throw new Error("it must be root's, or of the user that the daemon runs as (chown)");
    }
    return readFileSync(fd, 'utf8');
  } finally {
    closeSync(fd);
  }
}

function describe(issue: z.core.$ZodIssue): string {
  const at = issue.path.join('.') || 'the file';
  if (issue.code === 'unrecognized_keys') return `${at}: unknown: ${issue.keys.join(', ')}`;
  return `${at}: ${issue.message}`;
}
