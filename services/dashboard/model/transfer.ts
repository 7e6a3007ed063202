// SPDX-License-Identifier: Apache-2.0
import type { FleetTransfer, Device as HostsDevice } from '../../client/types.ts';

/**
 * A transfer as the page shows it, of a daemon or of a fleet: a fleet's has a host, by which the names
 * of its devices begin, and perhaps no engine yet.
 */
export type Transfer = Omit<FleetTransfer, 'host'> & Partial<Pick<FleetTransfer, 'host'>>;
/** Whether a transfer goes to another host of a fleet, which pulls it as a replication. */
export function isBetweenHosts({
  host,
  dst_host: to,
}: Pick<Transfer, 'host' | 'dst_host'>): boolean {
  return to !== undefined && to !== host;
}

export type TransferStatus = Transfer['status'];

/** A device; the name of a fleet's begins with its host's. */
export type Device = HostsDevice & { host?: string; stale?: boolean };

/** As it comes from a daemon, or from a fleet, which names the host beside the devices. */
export function adoptTransfer<
  T extends Pick<Transfer, 'host' | 'dst_host' | 'device_name' | 'dst_device_name'>,
>(transfer: T): T {
  const { host, dst_host, device_name: source, dst_device_name: destination } = transfer;
  if (host === undefined) return transfer;
  return {
    ...transfer,
    device_name: onHost(host, source),
    dst_device_name: onHost(dst_host ?? host, destination),
  };
}

export function adoptDevice(device: Device): Device {
  const { host, name } = device;
  return host === undefined ? device : { ...device, name: onHost(host, name) };
}

function onHost(host: string, device: string): string {
  return `${host}/${device}`;
}

/** The host and the name there; a daemon's own device has no host. */
export function splitDevice(name: string): { host: string | undefined; device: string } {
  const slash = name.lastIndexOf('/');
  return slash < 0
    ? { host: undefined, device: name }
    : { host: name.slice(0, slash), device: name.slice(slash + 1) };
}
