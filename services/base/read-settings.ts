// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import { parse as parseYaml } from 'yaml';
import type { z } from 'zod';
import { variableOf } from './settings.ts';
import { StartError } from './start-error.ts';
import './wording.ts';

/** The variables of a program. */
export interface Variables {
  /** Of all of them, such as `DMAD_`. */
  prefix: string;
  /** Variables with that prefix that other programs read. */
  ofOthers?: RegExp;
}

/**
 * Reads settings: the environment, then the file that the variable CONFIG names (YAML, the same
 * names in lower case without the prefix), then the defaults.
 *
 * @returns what the schema makes of them, and variables with the prefix that mean nothing
 * @throws StartError configuration, naming every wrong value in one line
 */
export function readSettings<Schema extends z.ZodObject>(
  environment: NodeJS.ProcessEnv,
  schema: Schema,
  { prefix, ofOthers }: Variables,
): { settings: z.output<Schema>; unknown: string[] } {
  const { [`${prefix}CONFIG`]: file, ...rest } = environment;
  const fromFile = file === undefined ? {} : readConfigFile(file, prefix);
  const fromEnvironment: Record<string, string> = {};
  const unknown: string[] = [];
  for (const [variable, value] of Object.entries(rest)) {
    if (!variable.startsWith(prefix) || value === undefined) continue;
    const name = variable.slice(prefix.length).toLowerCase();
    if (Object.hasOwn(schema.shape, name)) fromEnvironment[name] = value;
    else if (!ofOthers?.test(variable)) unknown.push(variable);
  }
  const result = schema.safeParse({ ...fromFile, ...fromEnvironment });
  if (result.success) return { settings: result.data, unknown };
  throw new StartError('configuration', describe(result.error, file, prefix));
}

function readConfigFile(path: string, prefix: string): Record<string, unknown> {
  let content: unknown;
  try {
    content = parseYaml(readFileSync(path, 'utf8')) ?? {};
  } catch (error) {
    const [line] = (error as Error).message.split('\n', 1);
    throw new StartError('configuration', `${prefix}CONFIG: cannot read ${path}: ${line}`);
  }
  if (typeof content !== 'object' || content === null || Array.isArray(content)) {
    throw new StartError(
      'configuration',
      `${prefix}CONFIG: ${path} must be a mapping of names to values`,
    );
  }
  // The environment knows only text, and both are read by the same schema.
  return Object.fromEntries(
    Object.entries(content).map(([name, value]) => [
      name,
      Array.isArray(value) ? value.join(',') : typeof value === 'object' ? value : String(value),
    ]),
  );
}

function describe(error: z.ZodError, file: string | undefined, prefix: string): string {
  const parts = error.issues.map((issue) => {
    if (issue.code === 'unrecognized_keys') {
      return `${prefix}CONFIG: ${file} has unknown names: ${issue.keys.join(', ')}`;
    }
    return `${variableOf(String(issue.path[0]), prefix)}: ${issue.message}`;
  });
  return parts.join('; ');
}

/** A pair of settings that mean nothing without each other. @throws StartError configuration */
export function checkPair(
  settings: Readonly<Record<string, unknown>>,
  [first, second]: readonly [string, string],
  prefix: string,
): void {
  if ((settings[first] === undefined) === (settings[second] === undefined)) return;
  const names = [first, second].map((name) => variableOf(name, prefix));
  throw new StartError('configuration', `${names.join(' and ')} need each other`);
}

/** What would look like protection and be none is refused, not ignored. @throws StartError configuration */
export function checkTls(
  settings: Readonly<Partial<Record<'tls_cert' | 'tls_key' | 'tls_client_ca', string | undefined>>>,
  prefix: string,
): void {
  checkPair(settings, ['tls_cert', 'tls_key'], prefix);
  if (settings.tls_client_ca !== undefined && settings.tls_cert === undefined) {
    const [ca, ...pair] = ['tls_client_ca', 'tls_cert', 'tls_key'].map((name) =>
      variableOf(name, prefix),
    );
    throw new StartError('configuration', `${ca} needs ${pair.join(' and ')}`);
  }
}
