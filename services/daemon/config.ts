// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { isAbsolute, resolve } from 'node:path';
import { parse as parseYaml } from 'yaml';
import type { z } from 'zod';
import { StartError } from '../base/start-error.ts';
import { defaultStateDir } from '../base/state-dir.ts';
import { type Settings, settingsSchema, variableOf } from './settings.ts';
import '../base/wording.ts';

const DAEMON_PREFIX = 'DMAD_';
/** Variables of dmactl and the fleet's gateway, which a shell may have beside the daemon's. */
const OF_OTHERS = /^DMAD_(?:URL$|TOKEN$|FLEET_)/;

export interface Config extends Omit<Settings, 'state_dir'> {
  state_dir: string;
  /** Variables that begin with DMAD_ but mean nothing: worth a warning. */
  unknown_variables: string[];
}

/**
 * Reads the configuration: the environment, then the file named by DMAD_CONFIG (YAML, the same
 * names in lower case without the prefix), then the defaults.
 *
 * @throws StartError configuration, naming every wrong value in one line
 */
export function readConfig(environment: NodeJS.ProcessEnv): Config {
  const { settings, unknown } = readSettings(environment, settingsSchema, DAEMON_PREFIX);
  checkTls(settings);
  if (settings.socket_group !== undefined && settings.socket === undefined) {
    throw new StartError('configuration', 'DMAD_SOCKET_GROUP needs DMAD_SOCKET');
  }
  return {
    ...settings,
    state_dir: resolve(
      settings.state_dir ?? defaultStateDir(environment, process.getuid?.() === 0, homeDirectory),
    ),
    unknown_variables: unknown,
  };
}

/**
 * Settings from the environment and from the file that the variable CONFIG names.
 *
 * @param prefix of the program's variables, such as `DMAD_`
 * @returns what the schema makes of them, and variables with that prefix that mean nothing
 * @throws StartError configuration, naming every wrong value in one line
 */
export function readSettings<Schema extends z.ZodObject>(
  environment: NodeJS.ProcessEnv,
  schema: Schema,
  prefix: string,
): { settings: z.output<Schema>; unknown: string[] } {
  const { [`${prefix}CONFIG`]: file, ...rest } = environment;
  const fromFile = file === undefined ? {} : readConfigFile(file, prefix);
  const fromEnvironment: Record<string, string> = {};
  const unknown: string[] = [];
  for (const [variable, value] of Object.entries(rest)) {
    if (!variable.startsWith(prefix) || value === undefined) continue;
    const name = variable.slice(prefix.length).toLowerCase();
    if (Object.hasOwn(schema.shape, name)) fromEnvironment[name] = value;
    else if (prefix !== DAEMON_PREFIX || !OF_OTHERS.test(variable)) unknown.push(variable);
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

/** @throws StartError for a user that has none */
function homeDirectory(): string {
  const home = attemptHome();
  if (home !== undefined && isAbsolute(home)) return home;
  throw new StartError(
    'configuration',
    `the user with id ${process.getuid?.()} has no home directory to keep state in: set DMAD_STATE_DIR`,
  );
}

function attemptHome(): string | undefined {
  try {
    return homedir();
  } catch {
    // Without HOME, a user id that /etc/passwd does not have.
    return undefined;
  }
}

/** What would look like protection and be none is refused, not ignored. */
export function checkTls(
  {
    tls_cert,
    tls_key,
    tls_client_ca,
  }: Partial<Pick<Settings, 'tls_cert' | 'tls_key' | 'tls_client_ca'>>,
  prefix = DAEMON_PREFIX,
): void {
  const pair = [`${prefix}TLS_CERT`, `${prefix}TLS_KEY`] as const;
  if ((tls_cert === undefined) !== (tls_key === undefined)) {
    throw new StartError('configuration', `${pair.join(' and ')} need each other`);
  }
  if (tls_client_ca !== undefined && tls_cert === undefined) {
    throw new StartError('configuration', `${prefix}TLS_CLIENT_CA needs ${pair.join(' and ')}`);
  }
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
