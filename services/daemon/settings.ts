// SPDX-License-Identifier: Apache-2.0
import { z } from 'zod';
import {
  flag,
  helpOn,
  hostNames,
  nonEmpty,
  portSetting,
  SERVER_SETTINGS,
  type Setting,
  schemaOf,
  wholeNumber,
} from '../base/settings.ts';
import { type DeviceChoice, parseDevices } from './devices/choice.ts';

/** Of the daemon's variables. */
export const PREFIX = 'DMAD_';

/** What sun_path holds (unix(7)); a longer path would be cut off without a word. */
const MAX_SOCKET_PATH = 107;
const socketPath = nonEmpty.refine(
  (path) => Buffer.byteLength(path) <= MAX_SOCKET_PATH,
  `must have at most ${MAX_SOCKET_PATH} bytes`,
);
const devices = z.string().transform((text, context): DeviceChoice => {
  try {
    return parseDevices(text);
  } catch (error) {
    context.addIssue({ code: 'custom', message: (error as Error).message });
    return z.NEVER;
  }
});

/**
 * Every setting there is, by the name that a configuration file has for it; the variable is DMAD_ and
 * the same in capitals. README's table and `--help` are made of this one.
 */
export const SETTINGS = {
  host: SERVER_SETTINGS.host,
  port: portSetting(8080),
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
  tls_key: SERVER_SETTINGS.tls_key,
  tls_client_ca: SERVER_SETTINGS.tls_client_ca,
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
  log_level: SERVER_SETTINGS.log_level,
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

/** Settings as text, and as what they mean. */
export const settingsSchema = schemaOf(SETTINGS);

export type Settings = z.output<typeof settingsSchema>;

/** What `--help` prints. */
export function helpText(): string {
  return [
    'Usage: dmad [--help | --version]\n\n',
    'Copies bytes inside and across device-dax memory, as asked over HTTP. Settings are environment\n',
    'variables; or, in a YAML file that DMAD_CONFIG names, the same names in lower case without\n',
    'DMAD_. The environment wins.\n\n',
    helpOn(SETTINGS, PREFIX),
  ].join('');
}
