// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from '@jest/globals';
import { daxIdentity, isLegacyIdentity } from '../../../services/daemon/devices/identity.ts';
import { type DaxDevice, discoverDaxDevices } from '../../../services/daemon/devices/sysfs.ts';
import { makeSysfs, recordedSysfs, type SysfsTree } from '../../support/sysfs-tree.ts';
import { daxDevices, region } from './made-sysfs.ts';

const BOOT = '6f1c8b1e-9f2c-4b7e-8f4e-0d1f6b1a2c3d';
const OTHER_BOOT = 'e7c1d7a0-3a83-4c1b-9a53-2f6f4b3c9d10';

function discover(tree: SysfsTree): DaxDevice[] {
  const { root, remove } = makeSysfs(tree);
  try {
    return discoverDaxDevices(root);
  } finally {
    remove();
  }
}

/** The identity of each device in a tree, by its name. */
function identities(tree: SysfsTree, bootId = BOOT): Record<string, string> {
  return Object.fromEntries(
    discover(tree).map((device) => [device.name, daxIdentity(device, bootId)]),
  );
}

/** The tree as it would be had the kernel found two regions in the other order. */
function swapRegions(tree: SysfsTree): SysfsTree {
  const regions = /\/(region)([01])\/(?=.*\/(uuid|resource)$)/;
  return Object.fromEntries(
    Object.entries(tree).map(([path, entry]) => {
      const other = path
        .replace(regions, (_, name, number) => `/${name}${1 - Number(number)}/`)
        .replace(/\/dax([01])\.(?=.*\/(uuid|resource)$)/g, (_, number) => `/dax${1 - number}.`);
      return [path, tree[other] ?? entry];
    }),
  );
}

describe('daxIdentity', () => {
  test.each(['5.10', '5.10-class', '6.1', '6.12', '7.3', '7.3-no-persistence-domain'])(
    'stays the same over a restart of Linux %s, and tells equal devices apart',
    (kernel) => {
      const before = identities(recordedSysfs(kernel));
      expect(identities(recordedSysfs(kernel), OTHER_BOOT)).toEqual(before);
      expect(before['dax0.0']).not.toBe(before['dax1.0']);
    },
  );

  test.each(['5.10', '5.10-class', '7.3'])(
    'goes with the memory when Linux %s finds two equal regions in the other order',
    (kernel) => {
      const before = identities(recordedSysfs(kernel));
      const swapped = identities(swapRegions(recordedSysfs(kernel)), OTHER_BOOT);
      expect(swapped).toEqual({ 'dax0.0': before['dax1.0'], 'dax1.0': before['dax0.0'] });
    },
  );

  test('goes with the memory of equal regions without a uuid, too', () => {
    const tree = recordedSysfs('7.3');
    for (const path of Object.keys(tree)) if (path.endsWith('/uuid')) tree[path] = { file: '\n' };
    const before = identities(tree);
    expect(before['dax0.0']).not.toBe(before['dax1.0']);
    const swapped = identities(swapRegions(tree), OTHER_BOOT);
    expect(swapped).toEqual({ 'dax0.0': before['dax1.0'], 'dax1.0': before['dax0.0'] });
  });

  test('is another one in a namespace that was destroyed and made anew with the same size', () => {
    const [before] = discover(recordedSysfs('7.3'));
    const [after] = discover(recordedSysfs('7.3-recreated'));
    const { name, size, align, resource } = before as DaxDevice;
    expect(after).toMatchObject({ name, size, align, resource });
    const identity = daxIdentity(before as DaxDevice, BOOT);
    expect(daxIdentity(after as DaxDevice, BOOT)).not.toBe(identity);
  });

  test('of CXL memory tells the devices of one region apart', () => {
    const at = 'platform/ACPI0017:00/root0/decoder0.0/region0';
    const parents = `${at}/dax_region0`;
    const device = (name: string, resource: string) => ({
      ...{ name, parents },
      attributes: { size: '1073741824', align: '2097152', resource },
    });
    const made = (regionStart: string, first: string, second: string) => ({
      ...daxDevices(device('dax0.0', first), device('dax0.1', second)),
      ...region(at, { resource: regionStart, uuid: '9fb5dd70-c631-4a13-becb-7fd18b56ae49' }, 'cxl'),
    });
    const before = identities(made('0x100000000', '0x100000000', '0x140000000'));
    expect(before['dax0.0']).not.toBe(before['dax0.1']);
    // The uuid goes with the memory, wherever the host maps it.
    expect(identities(made('0x200000000', '0x200000000', '0x240000000'))).toEqual(before);
  });

  test('where nothing is known lasts until the next boot, or until the device is bound anew', () => {
    const attributes = { size: '4096', align: '4096' };
    const [found] = discover(daxDevices({ name: 'dax0.0', attributes })) as [DaxDevice];
    const identity = daxIdentity(found, BOOT);
    expect(daxIdentity({ ...found }, BOOT)).toBe(identity);
    expect(daxIdentity(found, OTHER_BOOT)).not.toBe(identity);
    expect(daxIdentity({ ...found, instance: found.instance + 1 }, BOOT)).not.toBe(identity);
    // Nor is anything certain if the boot is not known.
    expect(daxIdentity(found, undefined)).not.toBe(daxIdentity(found, undefined));
  });

  test('is never taken for what older daemons kept', () => {
    expect(isLegacyIdentity('devdax', '1054867456 2097152')).toBe(true);
    expect(isLegacyIdentity('emulated', '123456 1790000000000000000')).toBe(false);
    for (const identity of Object.values(identities(recordedSysfs('7.3')))) {
      expect(isLegacyIdentity('devdax', identity)).toBe(false);
    }
  });
});
