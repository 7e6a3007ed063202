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

/** Of the gateway's variables. */
export const PREFIX = 'DMAD_FLEET_';

const etcdUrls = z
  .string()
  .transform((list) => list.split(',').map((url) => url.trim().replace(/\/+$/, '')))
  .pipe(
    z
      .array(z.url({ protocol: /^https?$/, error: 'must be URLs such as http://etcd1:2379' }))
      .min(1)
      .refine(
        (urls) => new Set(urls.map((url) => new URL(url).protocol)).size === 1,
        'must be all http or all https',
      ),
  );

/** Every setting of the gateway, by the name that a configuration file has for it. */
export const SETTINGS = {
  host: SERVER_SETTINGS.host,
  port: portSetting(8090),
  etcd: {
    schema: etcdUrls.optional(),
    default: 'required',
    meaning:
      'URLs of the members of an etcd cluster, 3.4 or later, separated by commas; with TLS ' +
      'by name, for gRPC offers IP addresses as server names, of which Node.js warns (DEP0123)',
    usedBy: 'fleet/config.ts',
  },
  etcd_ca: {
    schema: nonEmpty.optional(),
    default: "the system's",
    meaning: "PEM file: what signed etcd's certificates",
    usedBy: 'fleet/config.ts',
  },
  etcd_cert: {
    schema: nonEmpty.optional(),
    default: 'unset',
    meaning: "PEM file: the gateway's own certificate for etcd; needs `DMAD_FLEET_ETCD_KEY`",
    usedBy: 'fleet/config.ts',
  },
  etcd_key: {
    schema: nonEmpty.optional(),
    default: 'unset',
    meaning: 'PEM file: the key of that certificate',
    usedBy: 'fleet/config.ts',
  },
  etcd_user: {
    schema: nonEmpty.optional(),
    default: 'unset',
    meaning: 'a user of etcd; needs `DMAD_FLEET_ETCD_PASSWORD_FILE`',
    usedBy: 'fleet/config.ts',
  },
  etcd_password_file: {
    schema: nonEmpty.optional(),
    default: 'unset',
    meaning: "a file with that user's password",
    usedBy: 'fleet/config.ts',
  },
  etcd_prefix: {
    schema: z
      .string()
      .regex(/^[\x21-\x7e]*\/$/, 'must end with "/"')
      .default('dmad/'),
    default: '`dmad/`',
    meaning: 'what all keys in etcd begin with: gateways with the same prefix are one fleet',
    usedBy: 'fleet/app.ts',
  },
  host_token_file: {
    schema: nonEmpty.optional(),
    default: 'unset',
    meaning:
      "a file with the token that every host's daemon knows the fleet by: scopes `transfers:read`, `transfers:write`, and `content:read` and `content:write` for content",
    usedBy: 'fleet/app.ts',
  },
  tokens_file: {
    schema: nonEmpty.optional(),
    default: 'unset',
    meaning: "who may do what: as the daemon's, with `hosts` beside `devices`",
    usedBy: 'fleet/app.ts',
  },
  tls_cert: {
    schema: nonEmpty.optional(),
    default: 'unset',
    meaning: 'PEM file: TLS instead of HTTP in clear; needs `DMAD_FLEET_TLS_KEY`',
    usedBy: 'fleet/app.ts',
  },
  tls_key: SERVER_SETTINGS.tls_key,
  tls_client_ca: SERVER_SETTINGS.tls_client_ca,
  insecure: {
    schema: flag.default(false),
    default: '`0`',
    meaning: '`1` serves beyond loopback without access control',
    usedBy: 'fleet/app.ts',
  },
  allowed_hosts: {
    schema: hostNames.default([]),
    default: 'none',
    meaning: "further names in a `Host` header that are this gateway's, separated by commas",
    usedBy: 'fleet/app.ts',
  },
  log_level: SERVER_SETTINGS.log_level,
  download_idle_seconds: {
    schema: wholeNumber(1, 86_400).default(300),
    default: '`300`',
    meaning: 'how long a client may read nothing of an answer before its connection is closed',
    usedBy: 'fleet/app.ts',
  },
} as const satisfies Record<string, Setting>;

export const settingsSchema = schemaOf(SETTINGS);

export type FleetSettings = z.output<typeof settingsSchema>;

/** What `--help` prints. */
export function helpText(): string {
  return [
    'Usage: npm run fleet [-- --help | --version | --try]\n\n',
    '--try runs a whole fleet on this machine, with emulated devices, and says what to try.\n\n',
    "One address for many hosts: a gateway that hands transfers to the hosts' daemons, and keeps what\n",
    'it promised in etcd. Settings are environment variables; or, in a YAML file that\n',
    'DMAD_FLEET_CONFIG names, the same names in lower case without DMAD_FLEET_. The environment wins.\n\n',
    helpOn(SETTINGS, PREFIX),
  ].join('');
}
