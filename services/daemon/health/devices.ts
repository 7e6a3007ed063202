// SPDX-License-Identifier: Apache-2.0
import type { Inventory } from '../devices/device.ts';

/**
 * What is missing of the devices: it makes the daemon unready if none is left, and else only degraded,
 * since copies between the others go on.
 */
export function deviceReadiness(inventory: Inventory): {
  waitingFor: string[];
  degraded: string[];
} {
  const devices = inventory.list();
  const gone = devices.filter(({ state }) => state === 'gone');
  const missing = new Map([
    ...gone.map(({ name, stateReason }): [string, string | null] => [name, stateReason]),
    ...inventory.missing,
  ]);
  if (gone.length < devices.length) {
    const degraded = [...missing].map(([name, reason]) => `device ${name}: ${reason}`);
    return { waitingFor: [], degraded };
  }
  const names = [...missing.keys()];
  const waitingFor = names.length > 0 ? names.map((name) => `device ${name}`) : ['a device'];
  return { waitingFor, degraded: [] };
}
