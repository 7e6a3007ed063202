// SPDX-License-Identifier: Apache-2.0
import type { FastifyBaseLogger } from 'fastify';
import { StartError } from '../../base/start-error.ts';
import type { Inventory } from '../devices/device.ts';

/** Faults are for devices whose bytes nobody needs. @throws StartError configuration */
export function checkFaultsAllowed(inventory: Inventory, log: FastifyBaseLogger): void {
  const devices = inventory.list();
  const others = [
    ...devices.filter(({ kind }) => kind !== 'emulated').map(({ name }) => name),
    ...inventory.missing.keys(),
  ];
  if (others.length > 0 || devices.length === 0) {
    const why = others.length > 0 ? `${others.join(', ')} is not` : 'there is none';
    throw new StartError(
      'configuration',
      `DMAD_FAULTS is for emulated devices alone, and ${why}: unset it, or name devices such as ` +
        'emulated:dax0.0=256MiB in DMAD_DEVICES',
    );
  }
  log.warn('DMAD_FAULTS: emulated devices fail as POST /faults says: do not rely on this daemon');
}
