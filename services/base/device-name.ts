// SPDX-License-Identifier: Apache-2.0

/** What the kernel calls device-dax devices: region and instance. */
const NAME = /^dax[0-9]+\.[0-9]+$/;

/** The name by which a device is known, for `/dev/dax0.0` and `dax0.0` alike. */
export function deviceNameOf(nameOrPath: string): string {
  return nameOrPath.startsWith('/dev/') ? nameOrPath.slice('/dev/'.length) : nameOrPath;
}

export function isDeviceName(text: string): boolean {
  return NAME.test(text);
}
