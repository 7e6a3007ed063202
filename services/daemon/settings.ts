// SPDX-License-Identifier: Apache-2.0
import { z } from 'zod';
import { canonicalHost } from '../http/host-name.ts';
import { type DeviceChoice, parseDevices } from './devices/choice.ts';

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
export const host = z
  .string()
  .regex(HOST, 'must be a name or an address, without scheme, port or brackets');
/** What sun_path holds (unix(7)); a longer path would be cut off without a word. */
const MAX_SOCKET_PATH = 107;
const socketPath = nonEmpty.refine(
  (path) => Buffer.byteLength(path) <= MAX_SOCKET_PATH,
  `must have at most ${MAX_SOCKET_PATH} bytes`,
);
export const hostNames = z
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

/**
 * Every setting there is, by the name that a configuration file has for it; the variable is DMAD_ and
 * the same in capitals. README's table and `--help` are made of this one.
 */
export const SETTINGS = {
  host: {
    schema: host.default('127.0.0.1'),
    default: '`127.0.0.1`',
    meaning: 'the name or address to listen on',
    usedBy: 'http/listeners.ts',
  },
  port: {
    schema: wholeNumber(0, 65_535).default(8080),
    default: '`8080`',
    meaning: "the TCP port; 0 takes any free one, which the log's line with the URL names",
    usedBy: 'http/listeners.ts',
  },
  socket: {
    schema: socketPath.optional(),
    default: 'unset',
    meaning: 'a Unix socket to listen on too (mode 0660)',
    usedBy: 'http/listeners.ts',
  },
  socket_group: {
    schema: nonEmpty.optional(),
    default: "the daemon's own",
    meaning: 'name or number of the group that may connect to it',
    usedBy: 'http/socket-group.ts',
  },
  state_dir: {
    schema: nonEmpty.optional(),
    default: '`$XDG_STATE_HOME/dmad`; else `/var/lib/dmad` as root, `~/.local/state/dmad`',
    meaning: 'journal and emulated devices; one daemon at a time (exit code 75)',
    usedBy: 'daemon/app.ts',
  },
  engine: {
    schema: z.enum(['auto', 'dma', 'cpu']).default('auto'),
    default: '`auto`',
    meaning: '`auto` chooses for each transfer; `cpu`; `dma` does not start without a DMA engine',
    usedBy: 'daemon/engines/choice.ts',
  },
  devices: {
    schema: devices.default({ kind: 'auto' }),
    default: '`auto`',
    meaning:
      'every device-dax device, or, if there never was one, an emulated pair (256 MiB each); or a list such as `/dev/dax0.0,emulated:dax9.0=256MiB`. See [Devices that come and go](#devices-that-come-and-go)',
    usedBy: 'daemon/devices/open.ts',
  },
  tokens_file: {
    schema: nonEmpty.optional(),
    default: 'unset',
    meaning: 'who may do what: see Access',
    usedBy: 'http/access/keyring.ts',
  },
  peers_file: {
    schema: nonEmpty.optional(),
    default: 'unset',
    meaning:
      'the daemons that this one may replicate from: see [Replication](#replication-between-hosts)',
    usedBy: 'daemon/replication/peers.ts',
  },
  tls_cert: {
    schema: nonEmpty.optional(),
    default: 'unset',
    meaning:
      'PEM file: TLS instead of HTTP in clear, but for the Unix socket; needs `DMAD_TLS_KEY`',
    usedBy: 'http/tls.ts',
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
  insecure: {
    schema: flag.default(false),
    default: '`0`',
    meaning: '`1` serves real devices, or beyond loopback, without access control',
    usedBy: 'http/access/exposure.ts',
  },
  allowed_hosts: {
    schema: hostNames.default([]),
    default: 'none',
    meaning: "further names in a `Host` header that are this daemon's, separated by commas",
    usedBy: 'http/access/hosts.ts',
  },
  faults: {
    schema: flag.default(false),
    default: '`0`',
    meaning:
      '`1`: emulated devices fail as `POST /faults` says; refused if a device is real. See ' +
      '[Testing a client](#testing-a-client)',
    usedBy: 'daemon/faults/allowed.ts',
  },
  log_level: {
    schema: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
    default: '`info`',
    meaning: '`fatal`, `error`, `warn`, `info`, `debug`, `trace` or `silent`',
    usedBy: 'base/log.ts',
  },
  drain_seconds: {
    schema: wholeNumber(0, 86_400).default(30),
    default: '`30`',
    meaning: 'how long work may go on after SIGTERM',
    usedBy: 'daemon/daemon.ts',
  },
  upload_idle_seconds: {
    schema: wholeNumber(1, 3600).default(10),
    default: '`10`',
    meaning:
      'how long an upload may send nothing (`curl --limit-rate` rests between 64 KiB and 64 KiB); in six times that 64 KiB must come, or its end',
    usedBy: 'daemon/devices/upload-routes.ts',
  },
  download_idle_seconds: {
    schema: wholeNumber(1, 86_400).default(300),
    default: '`300`',
    meaning:
      'how long a client may read nothing of an answer (a download into a pipe that rests, a stream of events) before its connection is closed',
    usedBy: 'http/stalled.ts',
  },
} as const satisfies Record<string, Setting>;

type Schemas = { [Name in keyof typeof SETTINGS]: (typeof SETTINGS)[Name]['schema'] };

/** Settings as text, and as what they mean. */
export const settingsSchema = z.strictObject(
  Object.fromEntries(
    Object.entries(SETTINGS).map(([name, { schema }]) => [name, schema]),
  ) as unknown as Schemas,
);

export type Settings = z.output<typeof settingsSchema>;

/** The variable of a setting. @param prefix of the program's variables */
export function variableOf(name: string, prefix = 'DMAD_'): string {
  return `${prefix}${name.toUpperCase()}`;
}

/** README's table of settings. */
export function settingsTable(
  settings: Record<string, Setting> = SETTINGS,
  prefix?: string,
): string {
  const rows = Object.entries(settings).map(
    ([name, { default: value, meaning }]) =>
      `| \`${variableOf(name, prefix)}\` | ${value} | ${meaning} |\n`,
  );
  return `| variable | default | meaning |\n|---|---|---|\n${rows.join('')}`;
}

/** What `--help` prints. */
export function helpText(): string {
  return [
    'Usage: dmad [--help | --version]\n\n',
    'Copies bytes inside and across device-dax memory, as asked over HTTP. Settings are environment\n',
    'variables; or, in a YAML file that DMAD_CONFIG names, the same names in lower case without\n',
    'DMAD_. The environment wins.\n\n',
    helpOn(SETTINGS),
  ].join('');
}

/** What `--help` prints of each setting. */
export function helpOn(settings: Record<string, Setting>, prefix?: string): string {
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
