// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import { checkPair, checkTls, readSettings } from '../base/read-settings.ts';
import { StartError } from '../base/start-error.ts';
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
  const read = (name: string, path: string) => {
    try {
      return readFileSync(path);
    } catch (error) {
      throw new StartError('configuration', `${PREFIX}${name}: ${(error as Error).message}`);
    }
  };
  const optional = (name: string, path: string | undefined) =>
    path === undefined ? undefined : read(name, path);
  return {
    urls,
    ...(etcd_ca !== undefined && {
      tls: {
        ca: read('ETCD_CA', etcd_ca),
        cert: optional('ETCD_CERT', etcd_cert),
        key: optional('ETCD_KEY', etcd_key),
      },
    }),
    ...(etcd_user !== undefined &&
      etcd_password_file !== undefined && {
        user: {
          name: etcd_user,
          password: read('ETCD_PASSWORD_FILE', etcd_password_file).toString('utf8').trim(),
        },
      }),
  };
}
