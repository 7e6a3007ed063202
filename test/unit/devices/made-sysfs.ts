// SPDX-License-Identifier: Apache-2.0
import type { SysfsTree } from '../../support/sysfs-tree.ts';

export interface MadeDevice {
  name: string;
  /** Of the device-dax; undefined for one that no driver has. */
  driver?: string;
  /** Folders between the devices' root and the device. */
  parents?: string;
  attributes?: Record<string, string>;
}

const BUS = '/sys/bus/dax';

/** Devices as the kernel shows them: a link on the bus, and attributes elsewhere. */
export function daxDevices(...devices: MadeDevice[]): SysfsTree {
  const tree: SysfsTree = {};
  for (const { name, driver, parents = 'platform/hmem.0', attributes = {} } of devices) {
    const directory = `/devices/${parents}/${name}`;
    const up = '../'.repeat(directory.split('/').length - 1);
    tree[`${BUS}/devices/${name}`] = { link: `../../..${directory}` };
    tree[`/sys${directory}/subsystem`] = { link: `${up}bus/dax` };
    if (driver !== undefined) {
      tree[`/sys${directory}/driver`] = { link: `${up}bus/dax/drivers/${driver}` };
    }
    for (const [attribute, text] of Object.entries(attributes)) {
      tree[`/sys${directory}/${attribute}`] = { file: `${text}\n` };
    }
  }
  return tree;
}

/** A region with its attributes. @param bus `nd` for an NVDIMM's, `cxl` for CXL */
export function region(path: string, attributes: Record<string, string>, bus = 'nd'): SysfsTree {
  const directory = `/devices/${path}`;
  const up = '../'.repeat(directory.split('/').length - 1);
  return {
    [`/sys${directory}/subsystem`]: { link: `${up}bus/${bus}` },
    ...Object.fromEntries(
      Object.entries(attributes).map(([attribute, text]) => [
        `/sys${directory}/${attribute}`,
        { file: `${text}\n` },
      ]),
    ),
  };
}
