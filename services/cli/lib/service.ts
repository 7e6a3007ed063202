// SPDX-License-Identifier: Apache-2.0
import type { Version } from '../../client/node.ts';

/** What answers at a URL: a host's daemon, or the gateway of a fleet. */
export type Service = 'daemon' | 'gateway';

/** The gateway's version, if it is one that has answered. */
export function gatewayVersion(answer: Version): string | undefined {
  return (answer as { fleet?: string }).fleet;
}

export function serviceOf(answer: Version): Service {
  return gatewayVersion(answer) === undefined ? 'daemon' : 'gateway';
}
