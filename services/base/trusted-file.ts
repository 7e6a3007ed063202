// SPDX-License-Identifier: Apache-2.0
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { parseDocument } from 'yaml';
import type { z } from 'zod';
import './wording.ts';

const WRITABLE_BY_OTHERS = 0o022;

/**
 * Reads a file that decides what may be done, or with whom: a user who can write it could decide
 * that, so its owner alone may be able to.
 *
 * @param maxSize in bytes
 * @throws Error saying in one line what is wrong
 */
export function readTrustedFile(path: string, maxSize: number): string {
  const fd = openSync(path, 'r');
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile()) throw new Error('it is no regular file');
    if (stats.size > maxSize) throw new Error(`it is larger than ${maxSize} bytes`);
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

/** @throws Error saying in one line what is wrong and where; it never quotes the text */
export function parseYaml<Schema extends z.ZodType>(
  text: string,
  schema: Schema,
): z.output<Schema> {
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
  const result = schema.safeParse(content);
  if (result.success) return result.data;
  throw new Error(result.error.issues.slice(0, 8).map(describe).join('; '));
}

function describe(issue: z.core.$ZodIssue): string {
  const at = issue.path.join('.') || 'the file';
  if (issue.code === 'unrecognized_keys') return `${at}: unknown: ${issue.keys.join(', ')}`;
  return `${at}: ${issue.message}`;
}
