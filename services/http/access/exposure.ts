// SPDX-License-Identifier: Apache-2.0
import type { FastifyBaseLogger } from 'fastify';
import { isLoopback } from '../../base/host-address.ts';
import { StartError } from '../../base/start-error.ts';

/** The settings that it depends on; see config.ts. */
export interface ExposureSettings {
  host: string;
  tokens_file?: string | undefined;
  tls_cert?: string | undefined;
  insecure: boolean;
}

export interface ServedDevices {
  list(): readonly { kind: string; name: string }[];
  /** Those that are waited for, by name. */
  readonly missing: ReadonlyMap<string, unknown>;
}

/**
 * Refuses to serve without tokens what is worth protecting: real devices over TCP, or anything
 * beyond loopback. DMAD_INSECURE=1 takes the responsibility. Warns of tokens that travel in clear.
 *
 * @param prefix of the settings' variables
 * @throws StartError configuration
 */
export function checkExposure(
  config: ExposureSettings,
  inventory: ServedDevices,
  log: FastifyBaseLogger,
  prefix = 'DMAD_',
): void {
  if (config.tokens_file !== undefined) {
    if (config.tls_cert === undefined && !isLoopback(config.host)) {
      log.warn(
        `tokens and bytes go over the network in clear: set ${prefix}TLS_CERT and ${prefix}TLS_KEY`,
      );
    }
    return;
  }
  const real = [
    ...inventory.list().flatMap(({ kind, name }) => (kind === 'devdax' ? [name] : [])),
    ...inventory.missing.keys(),
  ];
  const reasons = [
    ...(real.length > 0 ? [`real devices (${real.join(', ')})`] : []),
    ...(isLoopback(config.host) ? [] : [`a listener beyond loopback (${config.host})`]),
  ];
  if (reasons.length === 0) return;
  const what = reasons.join(' and ');
  if (!config.insecure) {
    throw new StartError(
      'configuration',
      `${what}: over TCP that needs ${prefix}TOKENS_FILE (npm run token makes one); ` +
        `${prefix}INSECURE=1 serves whoever can connect`,
    );
  }
  log.warn(`${prefix}INSECURE: whoever can connect can read and write: ${what}`);
}
