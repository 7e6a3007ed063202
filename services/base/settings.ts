// SPDX-License-Identifier: Apache-2.0
import { z } from 'zod';
import { canonicalHost } from './host-address.ts';

/** A setting of a program, which a table in README and `--help` describe. */
export interface Setting {
  /** From its text, which is what the environment has. */
  readonly schema: z.ZodType;
  /** Its default as Markdown. */
  readonly default: string;
  /** What it means, as Markdown. */
  readonly meaning: string;
  /** The file in services/ that acts upon it. */
  readonly usedBy: string;
}

/** "1" and "true" are yes, "0" and "false" no. */
export const flag = z.enum(['0', '1', 'false', 'true']).transform((v) => v === '1' || v === 'true');
export const wholeNumber = (minimum: number, maximum: number) => {
  const error = `must be a whole number from ${minimum} to ${maximum}`;
  return z
    .string()
    .regex(/^[0-9]+$/, error)
    .transform(Number)
    .pipe(z.number().min(minimum, error).max(maximum, error));
};
export const nonEmpty = z.string().min(1, 'must not be empty');
/** A name, which a dot may end, or an address. Compose names hosts after services, with "_" too. */
const HOST = /^(?:[0-9a-z_](?:[0-9a-z_.-]*[0-9a-z_])?\.?|[0-9a-f:.]*:[0-9a-f:.]*)$/i;
const host = z
  .string()
  .regex(HOST, 'must be a name or an address, without scheme, port or brackets');
export const hostNames = z
  .string()
  .transform((list) =>
    list
      .split(',')
      .map((name) => name.trim())
      .filter(Boolean),
  )
  .pipe(z.array(host.transform(canonicalHost)));

/** What each program that serves HTTP can be told in the same words. */
export const SERVER_SETTINGS = {
  host: {
    schema: host.default('127.0.0.1'),
    default: '`127.0.0.1`',
    meaning: 'the name or address to listen on',
    usedBy: 'http/listeners.ts',
  },
  tls_key: {
    schema: nonEmpty.optional(),
    default: 'unset',
    meaning: 'PEM file: the key of that certificate',
    usedBy: 'http/tls.ts',
  },
  tls_client_ca: {
    schema: nonEmpty.optional(),
    default: 'unset',
    meaning: 'PEM file: clients must have a certificate signed by it',
    usedBy: 'http/tls.ts',
  },
  log_level: {
    schema: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
    default: '`info`',
    meaning: '`fatal`, `error`, `warn`, `info`, `debug`, `trace` or `silent`',
    usedBy: 'base/log.ts',
  },
} as const satisfies Record<string, Setting>;

/** The port to listen on. @param usual the port unless another one is set */
export function portSetting(usual: number) {
  return {
    schema: wholeNumber(0, 65_535).default(usual),
    default: `\`${usual}\``,
    meaning: "the TCP port; 0 takes any free one, which the log's line with the URL names",
    usedBy: 'http/listeners.ts',
  } as const satisfies Setting;
}

/** Settings by the names that a configuration file has for them. */
export type SettingTable = Readonly<Record<string, Setting>>;

/** The schema of all settings of a program: from their text to what they mean. */
export function schemaOf<Table extends SettingTable>(table: Table) {
  type Schemas = { [Name in keyof Table]: Table[Name]['schema'] };
  const schemas = Object.entries(table).map(([name, { schema }]) => [name, schema]);
  return z.strictObject(Object.fromEntries(schemas) as Schemas);
}

/** The variable of a setting. @param prefix of the program's variables, such as `DMAD_` */
export function variableOf(name: string, prefix: string): string {
  return `${prefix}${name.toUpperCase()}`;
}

/** README's table of settings. @param prefix of the program's variables */
export function settingsTable(settings: SettingTable, prefix: string): string {
  const rows = Object.entries(settings).map(
    ([name, { default: value, meaning }]) =>
      `| \`${variableOf(name, prefix)}\` | ${value} | ${meaning} |\n`,
  );
  return `| variable | default | meaning |\n|---|---|---|\n${rows.join('')}`;
}

/** What `--help` prints of each setting. @param prefix of the program's variables */
export function helpOn(settings: SettingTable, prefix: string): string {
  return Object.entries(settings)
    .map(
      ([name, { default: value, meaning }]) =>
        `  ${variableOf(name, prefix)} (default: ${plain(value)})\n      ${plain(meaning)}\n`,
    )
    .join('');
}

/** Markdown as plain text. */
function plain(markdown: string): string {
  return markdown.replace(/\[([^\]]+)\]\([^)]*\)/g, '$1').replaceAll('`', '');
}
