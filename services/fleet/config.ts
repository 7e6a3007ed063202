// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import { checkPair, checkTls, readSettings } from '../base/read-settings.ts';
import { StartError } from '../base/start-error.ts';
import { type NamedFile, readPems } from '../http/tls.ts';
import type { EtcdOptions } from './etcd/etcd-store.ts';
import { type FleetSettings, PREFIX, settingsSchema } from './settings.ts';

export interface FleetConfig extends Omit<FleetSettings, 'etcd'> {
  etcd: EtcdOptions;
  /** Variables that begin with DMAD_FLEET_ but mean nothing: worth a warning. */
  unknown_variables: string[];
}

/** @throws StartError configuration, naming every wrong value in one line */
export function readFleetConfig(environment: NodeJS.ProcessEnv): FleetConfig {
  const { settings, unknown } = readSettings(environment, settingsSchema, { prefix: PREFIX });
  checkTls(settings, PREFIX);
  const { etcd: urls, ...rest } = settings;
  if (urls === undefined) {
    throw new StartError(
      'configuration',
      `${PREFIX}ETCD is not set: name an etcd, such as http://127.0.0.1:2379; or try it out with "npm run fleet -- --try"`,
    );
  }
  return { ...rest, etcd: etcdOptions(urls, settings), unknown_variables: unknown };
}

function etcdOptions(urls: readonly string[], settings: FleetSettings): EtcdOptions {
  const { etcd_ca, etcd_cert, etcd_key, etcd_user, etcd_password_file } = settings;
  checkPair(settings, ['etcd_cert', 'etcd_key'], PREFIX);
  checkPair(settings, ['etcd_user', 'etcd_password_file'], PREFIX);
  if (etcd_cert !== undefined && etcd_ca === undefined) {
    throw new StartError('configuration', `${PREFIX}ETCD_CERT needs ${PREFIX}ETCD_CA`);
  }
  if (etcd_ca !== undefined && urls.some((url) => url.startsWith('http:'))) {
    throw new StartError(
      'configuration',
      `${PREFIX}ETCD_CA is of no use to http: URLs: ${PREFIX}ETCD needs https: URLs for TLS`,
    );
  }
  const { ca, cert, key } = readPems({
    ca: fileOf('ETCD_CA', etcd_ca),
    cert: fileOf('ETCD_CERT', etcd_cert),
    key: fileOf('ETCD_KEY', etcd_key),
  });
  return {
    urls,
    ...(ca !== undefined && { tls: { ca, cert, key } }),
    ...(etcd_user !== undefined &&
      etcd_password_file !== undefined && {
        user: { name: etcd_user, password: readPassword(etcd_password_file) },
      }),
  };
}

function fileOf(name: string, path: string | undefined): NamedFile | undefined {
  return path === undefined ? undefined : { variable: `${PREFIX}${name}`, path };
}

function readPassword(path: string): string {
  const wrong = (reason: string) =>
    new StartError('configuration', `${PREFIX}ETCD_PASSWORD_FILE ${path}: ${reason}`);
  let password: string;
  try {
    password = readFileSync(path, 'utf8').trim();
  } catch (error) {
    throw wrong((error as Error).message);
  }
  if (password === '') throw wrong('it is empty');
  return password;
}
