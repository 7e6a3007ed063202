// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import { StartError } from './base/start-error.ts';
import { type DeviceChoice, parseDevices } from './devices/choice.ts';
import { canonicalHost } from './http/host-name.ts';
import './base/wording.ts';

/** "1" and "true" are yes, "0" and "false" no. */
const flag = z.enum(['0', '1', 'false', 'true']).transform((v) => v === '1' || v === 'true');
const wholeNumber = (minimum: number, maximum: number) => {
  const error = `must be a whole number from ${minimum} to ${maximum}`;
  return z
    .string()
    .regex(/^[0-9]+$/, error)
    .transform(Number)
    .pipe(z.number().min(minimum, error).max(maximum, error));
};
const nonEmpty = z.string().min(1, 'must not be empty');
/** A name, which a dot may end, or an address. Compose names hosts after services, with "_" too. */
const HOST = /^(?:[0-9a-z_](?:[0-9a-z_.-]*[0-9a-z_])?\.?|[0-9a-f:.]*:[0-9a-f:.]*)$/i;
const host = z
  .string()
  .regex(HOST, 'must be a name or an address, without scheme, port or brackets');
/** What sun_path holds (unix(7)); a longer path would be cut off without a word. */
const MAX_SOCKET_PATH = 107;
const socketPath = nonEmpty.refine(
  (path) => Buffer.byteLength(path) <= MAX_SOCKET_PATH,
  `must have at most ${MAX_SOCKET_PATH} bytes`,
);
const hostNames = z
  .string()
  .transform((list) =>
    list
      .split(',')
      .map((name) => name.trim())
      .filter(Boolean),
  )
  .pipe(z.array(host.transform(canonicalHost)));
const devices = z.string().transform((text, context): DeviceChoice => {
  try {
    return parseDevices(text);
  } catch (error) {
    context.addIssue({ code: 'custom', message: (error as Error).message });
    return z.NEVER;
  }
});

/** Each variable without its DMAD_ prefix, as text; the HTTP contract's table is the source. */
const settingsSchema = z.strictObject({
  host: host.default('127.0.0.1'),
  port: wholeNumber(0, 65_535).default(8080),
  socket: socketPath.optional(),
  socket_group: nonEmpty.optional(),
  state_dir: nonEmpty.optional(),
  engine: z.enum(['auto', 'dma', 'cpu']).default('auto'),
  devices: devices.default({ kind: 'auto' }),
  tokens_file: nonEmpty.optional(),
  tls_cert: nonEmpty.optional(),
  tls_key: nonEmpty.optional(),
  tls_client_ca: nonEmpty.optional(),
  insecure: flag.default(false),
  allowed_hosts: hostNames.default([]),
  log_level: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
  drain_seconds: wholeNumber(0, 86_400).default(30),
  upload_idle_seconds: wholeNumber(1, 3600).default(10),
  download_idle_seconds: wholeNumber(1, 86_400).default(300),
});

export type Settings = z.output<typeof settingsSchema>;
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
  const { DMAD_CONFIG: file, ...rest } = environment;
  const fromFile = file === undefined ? {} : readConfigFile(file);
  const fromEnvironment: Record<string, string> = {};
  const unknown: string[] = [];
  for (const [variable, value] of Object.entries(rest)) {
    if (!variable.startsWith('DMAD_') || value === undefined) continue;
    const name = variable.slice('DMAD_'.length).toLowerCase();
    if (Object.hasOwn(settingsSchema.shape, name)) fromEnvironment[name] = value;
    else unknown.push(variable);
  }
  const result = settingsSchema.safeParse({ ...fromFile, ...fromEnvironment });
  if (!result.success) throw new StartError('configuration', describe(result.error, file));
  const settings = result.data;
  checkTls(settings);
  if (settings.socket_group !== undefined && settings.socket === undefined) {
    throw new StartError('configuration', 'DMAD_SOCKET_GROUP needs DMAD_SOCKET');
  }
  return {
    ...settings,
    state_dir: resolve(settings.state_dir ?? defaultStateDir(environment)),
    unknown_variables: unknown,
  };
}

function readConfigFile(path: string): Record<string, unknown> {
  let content: unknown;
  try {
    content = parseYaml(readFileSync(path, 'utf8')) ?? {};
  } catch (error) {
    const [line] = (error as Error).message.split('\n', 1);
    throw new StartError('configuration', `DMAD_CONFIG: cannot read ${path}: ${line}`);
  }
  if (typeof content !== 'object' || content === null || Array.isArray(content)) {
    throw new StartError(
      'configuration',
      `DMAD_CONFIG: ${path} must be a mapping of names to values`,
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

function defaultStateDir(environment: NodeJS.ProcessEnv): string {
  if (environment.XDG_STATE_HOME) return join(environment.XDG_STATE_HOME, 'dmad');
  if (process.getuid?.() === 0) return '/var/lib/dmad';
  return join(homeDirectory(), '.local', 'state', 'dmad');
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
function checkTls({ tls_cert, tls_key, tls_client_ca }: Settings): void {
  if ((tls_cert === undefined) !== (tls_key === undefined)) {
    throw new StartError('configuration', 'DMAD_TLS_CERT and DMAD_TLS_KEY need each other');
  }
  if (tls_client_ca !== undefined && tls_cert === undefined) {
    throw new StartError(
      'configuration',
      'DMAD_TLS_CLIENT_CA needs DMAD_TLS_CERT and DMAD_TLS_KEY',
    );
  }
}

function describe(error: z.ZodError, file: string | undefined): string {
  const parts = error.issues.map((issue) => {
    if (issue.code === 'unrecognized_keys') {
      return `DMAD_CONFIG: ${file} has unknown names: ${issue.keys.join(', ')}`;
    }
    return `DMAD_${String(issue.path[0]).toUpperCase()}: ${issue.message}`;
  });
  return parts.join('; ');
}
