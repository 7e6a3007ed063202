// SPDX-License-Identifier: Apache-2.0
import { afterEach, describe, expect, test } from '@jest/globals';
import { type DaxDevice, discoverDaxDevices } from '../../../services/daemon/devices/sysfs.ts';
import { makeSysfs, recordedSysfs, type SysfsTree } from '../../support/sysfs-tree.ts';
import { daxDevices, region } from './made-sysfs.ts';

const made: (() => void)[] = [];
afterEach(() => {
  for (const remove of made.splice(0)) remove();
});

function discover(tree: SysfsTree): DaxDevice[] {
  const { root, remove } = makeSysfs(tree);
  made.push(remove);
  return discoverDaxDevices(root);
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** What every recorded machine has: two NVDIMMs of 1 GiB, less what their own records take. */
const RECORDED: Omit<DaxDevice, 'name'> = {
  uuid: expect.stringMatching(UUID) as unknown as string,
  uuidOffset: 0,
  resource: expect.any(Number) as unknown as number,
  instance: expect.any(Number) as unknown as number,
  driver: 'device_dax',
  size: 1_054_867_456,
  align: 2_097_152,
  numaNode: 0,
  persistenceDomain: 'memory_controller',
  badBlocks: [],
};

describe('discoverDaxDevices', () => {
  test.each(['5.10', '5.10-class', '6.1', '6.12', '7.3'])(
    'finds both devices of Linux %s',
    (kernel) => {
      expect(discover(recordedSysfs(kernel))).toEqual([
        { name: 'dax0.0', ...RECORDED },
        { name: 'dax1.0', ...RECORDED },
      ]);
    },
  );

  test.each(['6.1', '7.3'])('sees what Linux %s has made system RAM of', (kernel) => {
    expect(discover(recordedSysfs(`${kernel}-system-ram`))).toEqual([
      { name: 'dax0.0', ...RECORDED },
      { name: 'dax1.0', ...RECORDED, driver: 'kmem' },
    ]);
  });

  test('does not take a platform that says nothing for a volatile one', () => {
    expect(discover(recordedSysfs('7.3-no-persistence-domain'))).toEqual([
      { name: 'dax0.0', ...RECORDED, persistenceDomain: 'unknown' },
      { name: 'dax1.0', ...RECORDED, persistenceDomain: 'unknown' },
    ]);
  });

  test('reads bad blocks where the rest of the tree is a real one', () => {
    const tree = recordedSysfs('7.3');
    // The region begins at 0x100000000 and the device 0x1200000 further on.
    const path = '/sys/devices/platform/ACPI0012:00/ndbus0/region0/badblocks';
    expect(tree).toHaveProperty([path]);
    tree[path] = { file: `0 8\n${0x1200000 / 512 + 16} 8\n` };
    expect(discover(tree)[0]?.badBlocks).toEqual([{ offset: 8192, size: 4096 }]);
  });

  describe('what a device is known by', () => {
    const [UUID_A, UUID_B] = [
      '9fb5dd70-c631-4a13-becb-7fd18b56ae49',
      'bfb29b10-119c-495d-ba82-0010311def6d',
    ];

    test.each(['5.10', '5.10-class', '6.1', '6.12', '7.3'])(
      "is its namespace's uuid, and where its memory begins, on Linux %s",
      (kernel) => {
        const [first, second] = discover(recordedSysfs(kernel));
        expect(first).toMatchObject({ uuid: expect.stringMatching(UUID), resource: 0x1_0120_0000 });
        expect(second).toMatchObject({
          uuid: expect.stringMatching(UUID),
          resource: 0x1_4120_0000,
        });
        expect(first?.uuid).not.toBe(second?.uuid);
      },
    );

    test('of an NVDIMM is its own uuid, not that of another namespace of the region', () => {
      const at = 'platform/ACPI0012:00/ndbus0/region0';
      const tree = {
        ...daxDevices({ name: 'dax0.0', parents: `${at}/dax0.0` }),
        ...region(`${at}/dax0.0`, { uuid: UUID_A }),
        ...region(`${at}/dax0.1`, { uuid: UUID_B }),
        ...region(at, { uuid: UUID_B }),
      };
      expect(discover(tree)[0]?.uuid).toBe(UUID_A);
    });

    test("of CXL memory is its region's uuid, and where it lies in the region", () => {
      const at = 'platform/ACPI0017:00/root0/decoder0.0/region0';
      const tree = {
        ...daxDevices({
          name: 'dax0.1',
          parents: `${at}/dax_region0`,
          attributes: { resource: '0x140000000' },
        }),
        ...region(at, { resource: '0x100000000', uuid: UUID_A.toUpperCase() }, 'cxl'),
      };
      expect(discover(tree)[0]).toMatchObject({
        uuid: UUID_A,
        uuidOffset: 0x4000_0000,
        resource: 0x1_4000_0000,
      });
    });

    test.each(['', 'not a uuid', '00000000-0000-0000-0000-000000000000'])(
      'is no uuid where the kernel says %p',
      (uuid) => {
        const at = 'platform/ACPI0012:00/ndbus0/region0';
        const tree = {
          ...daxDevices({ name: 'dax0.0', parents: `${at}/dax0.0` }),
          ...region(`${at}/dax0.0`, { uuid }),
        };
        expect(discover(tree)[0]?.uuid).toBeNull();
      },
    );

    test('is not known where the kernel hides it', () => {
      const tree = recordedSysfs('7.3');
      for (const path of Object.keys(tree)) {
        if (/\/(uuid|resource)$/.test(path)) tree[path] = { error: 'EACCES' };
      }
      expect(discover(tree)).toMatchObject([
        { uuid: null, uuidOffset: null, resource: null, size: 1_054_867_456 },
        { uuid: null, uuidOffset: null, resource: null, size: 1_054_867_456 },
      ]);
    });
  });

  test('finds nothing where the kernel has no dax bus', () => {
    expect(discover({ '/sys/kernel/notes': { file: '' } })).toEqual([]);
    expect(discoverDaxDevices('/nowhere/at/all')).toEqual([]);
  });

  test('leaves out what vanishes while it looks', () => {
    const tree = daxDevices({ name: 'dax0.0' });
    tree['/sys/bus/dax/devices/dax1.0'] = { link: '../../../devices/nowhere' };
    expect(discover(tree).map(({ name }) => name)).toEqual(['dax0.0']);
  });

  test('orders by number, not by letter', () => {
    const names = ['dax10.0', 'dax2.0', 'dax1.10', 'dax1.9'];
    const found = discover(daxDevices(...names.map((name) => ({ name }))));
    expect(found.map(({ name }) => name)).toEqual(['dax1.9', 'dax1.10', 'dax2.0', 'dax10.0']);
  });

  test('tells one without a driver, and without attributes', () => {
    expect(discover(daxDevices({ name: 'dax3.0' }))).toEqual([
      {
        name: 'dax3.0',
        instance: expect.any(Number),
        uuid: null,
        uuidOffset: null,
        resource: null,
        driver: null,
        size: 0,
        align: 0,
        numaNode: null,
        persistenceDomain: 'volatile',
        badBlocks: [],
      },
    ]);
  });

  test('tells attributes that cannot be read like those that are not there', () => {
    const tree = daxDevices({
      name: 'dax3.0',
      driver: 'device_dax',
      attributes: { align: '4096' },
    });
    tree['/sys/devices/platform/hmem.0/dax3.0/size'] = { error: 'ENXIO' };
    expect(discover(tree)).toMatchObject([{ size: 0, align: 4096 }]);
  });

  test.each([
    ['-1', null],
    ['0', 0],
    ['3', 3],
  ])('NUMA node %s is %p', (text, numaNode) => {
    const found = discover(daxDevices({ name: 'dax0.0', attributes: { numa_node: text } }));
    expect(found[0]?.numaNode).toBe(numaNode);
  });

  describe('persistence domain', () => {
    const at = 'platform/ACPI0012:00/ndbus0/region4';
    const nvdimm = (attributes: Record<string, string>) =>
      discover({
        ...daxDevices({ name: 'dax4.0', parents: `${at}/dax4.0` }),
        ...region(at, attributes),
      })[0]?.persistenceDomain;

    test('of an NVDIMM is what its region says', () => {
      expect(nvdimm({ persistence_domain: 'cpu_cache' })).toBe('cpu_cache');
      expect(nvdimm({ persistence_domain: 'memory_controller' })).toBe('memory_controller');
    });

    test('of an NVDIMM is unknown where the region says nothing, or something new', () => {
      expect(nvdimm({})).toBe('unknown');
      expect(nvdimm({ persistence_domain: 'moon' })).toBe('unknown');
    });

    test('of a volatile region is volatile', () => {
      expect(nvdimm({ devtype: 'nd_volatile' })).toBe('volatile');
    });

    test('of CXL memory is volatile, though it has a region too', () => {
      const path = 'platform/ACPI0017:00/root0/decoder0.0/region0';
      const tree = {
        ...daxDevices({ name: 'dax0.0', parents: `${path}/dax_region0` }),
        ...region(path, { resource: '0x1000' }, 'cxl'),
      };
      expect(discover(tree)[0]?.persistenceDomain).toBe('volatile');
    });

    test('of each device is that of its region', () => {
      const parents = 'platform/ACPI0012:00/ndbus0';
      const tree = {
        ...daxDevices(
          { name: 'dax0.0', parents: `${parents}/region0/dax0.0` },
          { name: 'dax1.0', parents: `${parents}/region1/dax1.0` },
        ),
        ...region(`${parents}/region0`, { persistence_domain: 'cpu_cache' }),
        ...region(`${parents}/region1`, { persistence_domain: 'memory_controller' }),
      };
      expect(discover(tree).map(({ persistenceDomain }) => persistenceDomain)).toEqual([
        'cpu_cache',
        'memory_controller',
      ]);
    });
  });

  describe('bad blocks', () => {
    const at = 'platform/ACPI0012:00/ndbus0/region0';
    const REGION = 0x1_0000_0000;
    const DEVICE = REGION + 0x20_0000;
    const SIZE = 0x40_0000;
    const badBlocks = (
      lines: string,
      { deviceStart = `0x${DEVICE.toString(16)}`, regionStart = `0x${REGION.toString(16)}` } = {},
    ) =>
      discover({
        ...daxDevices({
          name: 'dax0.0',
          parents: `${at}/dax0.0`,
          attributes: { size: String(SIZE), resource: deviceStart },
        }),
        ...region(at, { resource: regionStart, badblocks: lines }),
      })[0]?.badBlocks;
    const sector = (offset: number) => (DEVICE - REGION + offset) / 512;

    test('are sectors of 512 bytes from where the region begins', () => {
      expect(badBlocks(`${sector(0)} 1\n${sector(4096)} 16`)).toEqual([
        { offset: 0, size: 512 },
        { offset: 4096, size: 8192 },
      ]);
    });

    test('are cut to the device', () => {
      const lines = [
        `0 ${sector(1024)}`, // from before it into it
        `${sector(SIZE - 512)} 100`, // over its end
      ];
      expect(badBlocks(lines.join('\n'))).toEqual([
        { offset: 0, size: 1024 },
        { offset: SIZE - 512, size: 512 },
      ]);
      expect(badBlocks(`0 ${sector(SIZE) + 1}`)).toEqual([{ offset: 0, size: SIZE }]);
    });

    test('beside the device are none of its', () => {
      const lines = ['0 8', `${sector(0) - 1} 1`, `${sector(SIZE)} 8`, ''];
      expect(badBlocks(lines.join('\n'))).toEqual([]);
    });

    test('are none where nothing is listed, wherever the device lies', () => {
      expect(badBlocks('')).toEqual([]);
      expect(badBlocks('', { deviceStart: '', regionStart: '' })).toEqual([]);
    });

    test('are not known where some are listed, but not where the device lies', () => {
      expect(badBlocks('0 8', { deviceStart: '' })).toBeUndefined();
      expect(badBlocks('0 8', { regionStart: '' })).toBeUndefined();
    });
  });
});
