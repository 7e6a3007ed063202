// SPDX-License-Identifier: Apache-2.0
import { DmadError } from './error.ts';

/** A device of a fleet's host, such as hosta/dax0.0; a daemon's own have no host, or begin with /dev/. */
const ON_HOST = /^([^/]+)\/([^/]+)$/;

/** The path of a device, which may be one of a fleet's host. */
export function devicePath(name: string): string {
  const [, host, device] = ON_HOST.exec(name) ?? [];
  if (host === undefined || device === undefined) return `/devices/${encodeURIComponent(name)}`;
  return `/hosts/${encodeURIComponent(host)}/devices/${encodeURIComponent(device)}`;
}

/** A request whose devices may be those of a fleet's hosts, as the fleet takes it. */
export function onItsHost<
  Request extends { device_name: string; dst_device_name?: string | undefined },
>(request: Request): Request & { host?: string; dst_host?: string } {
  const [, host, device] = ON_HOST.exec(request.device_name) ?? [];
  const { dst_device_name: destination } = request;
  const [, other, written] = ON_HOST.exec(destination ?? '') ?? [];
  if (destination !== undefined && (host === undefined) !== (other === undefined)) {
    const message = `Name the hosts of both ${request.device_name} and ${destination}, or of neither.`;
    throw new DmadError({ code: 'invalid_request', status: 400, message });
  }
  if (host === undefined || device === undefined) return request;
  return {
    ...{ ...request, host, device_name: device },
    ...(written !== undefined && { dst_device_name: written }),
    ...(other !== undefined && other !== host && { dst_host: other }),
  };
}

/** A filter whose device may be one of a fleet's host, as the fleet takes it. */
export function filterOnHost<Filter extends { device_name?: string | undefined }>(
  filter: Filter,
): Filter & { host?: string } {
  const [, host, device] = ON_HOST.exec(filter.device_name ?? '') ?? [];
  if (host === undefined || device === undefined) return filter;
  return { ...filter, host, device_name: device };
}
