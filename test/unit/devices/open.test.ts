// SPDX-License-Identifier: Apache-2.0
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { FastifyBaseLogger } from 'fastify';
import { ShimError } from '../../../services/base/native/shim.ts';
import { StartError } from '../../../services/base/start-error.ts';
import { parseDevices } from '../../../services/daemon/devices/choice.ts';
import type { Inventory } from '../../../services/daemon/devices/device.ts';
import { openDevices } from '../../../services/daemon/devices/open.ts';
import { SeenDevices } from '../../../services/daemon/devices/seen.ts';
import type { Engine } from '../../../services/daemon/engines/engine.ts';
import type { DeviceSpec, OpenedDevice } from '../../../services/daemon/engines/opened-devices.ts';
import { makeSysfs, recordedSysfs, type SysfsTree } from '../../support/sysfs-tree.ts';
import { daxDevices } from './made-sysfs.ts';

const MIB = 2 ** 20;
const EAGAIN = -11;
const EACCES = -13;
const ENOENT = -2;

/** An engine that opens any device, or fails as a test says. */
class FakeEngine {
  readonly opened: { path: string; spec: DeviceSpec }[] = [];
  failure: number | undefined;

  openDevice(path: string, spec: DeviceSpec): OpenedDevice {
    if (this.failure !== undefined) throw new ShimError(`open ${path}`, this.failure);
    this.opened.push({ path, spec });
    return {
      handle: this.opened.length - 1,
      size: spec.size,
      persistence: spec.persistence,
      flushBasis: spec.kind === 'emulated' ? 'msync' : 'clwb',
    };
  }
}

describe('openDevices', () => {
  let stateDir: string;
  let engine: FakeEngine;
  let warnings: unknown[];
  const removals: (() => void)[] = [];

  beforeEach(() => {
    stateDir = mkdtempSync(join(tmpdir(), 'dmad-open-'));
    removals.push(() => rmSync(stateDir, { recursive: true, force: true }));
    engine = new FakeEngine();
    warnings = [];
  });
  afterEach(() => {
    for (const remove of removals.splice(0)) remove();
  });

  function open(choice: string, tree: SysfsTree = {}, standIns = true): Inventory {
    const { root, remove } = makeSysfs(tree);
    removals.push(remove);
    const given = { warn: (...line: unknown[]) => warnings.push(line) };
    const log = given as unknown as FastifyBaseLogger;
    const seen = new SeenDevices(stateDir, log);
    const options = { choice: parseDevices(choice), stateDir, seen, standIns, log };
    return openDevices(engine as unknown as Engine, { ...options, sysfsRoot: root });
  }

  const online = (inventory: Inventory) =>
    inventory.list().map(({ name, kind }) => `${name} ${kind}`);

  function failure(choice: string, tree?: SysfsTree): StartError {
    try {
      open(choice, tree);
    } catch (error) {
      expect(error).toBeInstanceOf(StartError);
      expect((error as StartError).message).not.toContain('\n');
      return error as StartError;
    }
    throw new Error('nothing was thrown');
  }

  test('auto takes the devices that are there, as they are', () => {
    const inventory = open('auto', recordedSysfs('6.12'));
    expect(inventory.list().map(({ name, kind }) => [name, kind])).toEqual([
      ['dax0.0', 'devdax'],
      ['dax1.0', 'devdax'],
    ]);
    expect(engine.opened[0]).toEqual({
      path: '/dev/dax0.0',
      spec: {
        kind: 'devdax',
        size: 1_054_867_456,
        align: 2_097_152,
        persistence: 'memory_controller',
      },
    });
    expect(inventory.get('dax1.0')).toMatchObject({
      path: '/dev/dax1.0',
      handle: 1,
      persistenceDomain: 'memory_controller',
      flushBasis: 'clwb',
      state: 'online',
      stateReason: null,
    });
    expect(warnings).toEqual([]);
  });

  test('auto leaves system RAM alone, and says so', () => {
    const inventory = open('auto', recordedSysfs('7.3-system-ram'));
    expect(inventory.list().map(({ name }) => name)).toEqual(['dax0.0']);
    expect(engine.opened.map(({ path }) => path)).toEqual(['/dev/dax0.0']);
    expect(JSON.stringify(warnings)).toMatch(/dax1\.0.*system RAM/);
  });

  test('auto leaves alone what has no driver, another one, or no bytes', () => {
    const attributes = { size: '2097152', align: '4096' };
    const tree = daxDevices(
      { name: 'dax0.0', attributes },
      { name: 'dax1.0', driver: 'vfio_dax', attributes },
      { name: 'dax2.0', driver: 'device_dax', attributes: { size: '0' } },
      { name: 'dax3.0', driver: 'device_dax', attributes },
    );
    expect(
      open('auto', tree)
        .list()
        .map(({ name }) => name),
    ).toEqual(['dax3.0']);
    expect(warnings).toHaveLength(3);
  });

  test('does not touch a device whose bad blocks cannot be told', () => {
    const tree = recordedSysfs('7.3');
    const region = '/sys/devices/platform/ACPI0012:00/ndbus0/region0';
    tree[`${region}/badblocks`] = { file: '8 8\n' };
    // As users other than root see it.
    tree[`${region}/resource`] = { error: 'EACCES' };
    expect(
      open('auto', tree)
        .list()
        .map(({ name }) => name),
    ).toEqual(['dax1.0']);
    expect(open('dax0.0', tree).missing.get('dax0.0')).toContain('bad blocks');
  });

  test('auto emulates a pair of 256 MiB, sparse, where there is nothing usable', () => {
    for (const tree of [{}, daxDevices({ name: 'dax0.0', driver: 'kmem' })]) {
      const inventory = open('auto', tree);
      expect(inventory.list()).toMatchObject([
        { name: 'dax0.0', kind: 'emulated', size: 256 * MIB, numaNode: null, badBlocks: [] },
        { name: 'dax1.0', kind: 'emulated', size: 256 * MIB },
      ]);
      expect(JSON.stringify(warnings)).toContain('emulating');
    }
    const file = statSync(join(stateDir, 'devices', 'dax0.0'));
    expect(file.size).toBe(256 * MIB);
    expect(file.blocks).toBe(0);
    expect(file.mode & 0o777).toBe(0o600);
  });

  test('takes a platform that says nothing for one whose caches must be written back', () => {
    const inventory = open('auto', recordedSysfs('7.3-no-persistence-domain'));
    expect(engine.opened[0]?.spec.persistence).toBe('memory_controller');
    expect(inventory.get('dax0.0').persistenceDomain).toBe('unknown');
  });

  test('a list takes just those that it names, in its order', () => {
    const inventory = open('dax1.0,emulated:dax9.0=1MiB', recordedSysfs('7.3'));
    expect(inventory.list().map(({ name, kind }) => `${name} ${kind}`)).toEqual([
      'dax1.0 devdax',
      'dax9.0 emulated',
    ]);
  });

  test.each([
    ['dax1.0', recordedSysfs('7.3-system-ram'), /system RAM/],
    ['/dev/dax7.0', recordedSysfs('7.3'), /no device-dax device has that name.*dax0\.0, dax1\.0/],
    ['dax0.0', daxDevices({ name: 'dax0.0' }), /no driver/],
    ['dax0.0', {}, /there is: none/],
  ])('a list with %s waits for it, and says why it is not there', (choice, tree, reason) => {
    const inventory = open(`${choice},emulated:dax9.0=1MiB`, tree);
    expect(online(inventory)).toEqual(['dax9.0 emulated']);
    const name = choice.replace('/dev/', '');
    expect([...inventory.missing]).toEqual([[name, expect.stringMatching(reason)]]);
    expect(JSON.stringify(warnings)).toContain(`"device":"${name}"`);
    expect(() => inventory.named(choice, '/device_name')).toThrow(
      expect.objectContaining({ code: 'device_gone' }),
    );
  });

  test('a device whose node udev has not made yet is waited for', () => {
    engine.failure = ENOENT;
    const inventory = open('auto', recordedSysfs('7.3'));
    expect([...inventory.missing.keys()]).toEqual(['dax0.0', 'dax1.0']);
  });

  test('auto never lets files stand in once there were real devices', () => {
    expect(online(open('auto', recordedSysfs('7.3')))).toEqual(['dax0.0 devdax', 'dax1.0 devdax']);
    const later = open('auto', {});
    expect(online(later)).toEqual([]);
    expect([...later.missing.keys()]).toEqual(['dax0.0', 'dax1.0']);
    expect(later.missing.get('dax0.0')).toContain(join(stateDir, 'seen-devices'));
    const tree = daxDevices({
      ...{ name: 'dax1.0', driver: 'device_dax' },
      attributes: { size: '2097152', align: '4096' },
    });
    const one = open('auto', tree);
    expect(online(one)).toEqual(['dax1.0 devdax']);
    expect([...one.missing.keys()]).toEqual(['dax0.0']);
    // Nor what the file says that is no device.
    writeFileSync(join(stateDir, 'seen-devices'), 'dax3.0\n../../etc\n\n');
    expect([...open('auto', {}).missing.keys()]).toEqual(['dax3.0']);
    expect(existsSync(join(stateDir, 'devices'))).toBe(false);
  });

  test('auto lets no files stand in if it may not, and waits for any device', () => {
    const inventory = open('auto', {}, false);
    expect([online(inventory), inventory.missing.size]).toEqual([[], 0]);
    expect(JSON.stringify(warnings)).toContain('DMAD_DEVICES=emulated:');
  });

  test('tells a device that another process has from one that cannot be opened', () => {
    engine.failure = EAGAIN;
    expect(failure('emulated:dax0.0=1MiB')).toMatchObject({ exitCode: 75 });
    engine.failure = EACCES;
    const error = failure('dax0.0', recordedSysfs('7.3'));
    expect(error.exitCode).toBe(78);
    expect(error.message).toMatch(/\/dev\/dax0\.0.*EACCES/);
  });

  test('an emulated device grows, but does not shrink', () => {
    open('emulated:dax0.0=1MiB');
    const path = join(stateDir, 'devices', 'dax0.0');
    open('emulated:dax0.0=2MiB');
    expect(statSync(path).size).toBe(2 * MIB);
    const error = failure('emulated:dax0.0=1MiB');
    expect(error.exitCode).toBe(78);
    expect(error.message).toContain(String(2 * MIB));
    expect(statSync(path).size).toBe(2 * MIB);
  });

  test('an emulated device keeps its bytes', () => {
    open('emulated:dax0.0=1MiB');
    const path = join(stateDir, 'devices', 'dax0.0');
    truncateSync(path, 0);
    truncateSync(path, MIB);
    const { ino } = statSync(path);
    open('emulated:dax0.0=1MiB');
    expect(statSync(path).ino).toBe(ino);
  });

  test('nothing is made beside what is asked for', () => {
    open('emulated:dax4.1=4KiB');
    expect(readdirSync(join(stateDir, 'devices'))).toEqual(['dax4.1']);
  });
});

describe('Inventory', () => {
  test('knows a device by its name and by its path, and by nothing else', () => {
    const stateDir = mkdtempSync(join(tmpdir(), 'dmad-open-'));
    try {
      const inventory = openDevices(new FakeEngine() as unknown as Engine, {
        choice: parseDevices('emulated:dax0.0=4KiB'),
        ...{ stateDir, standIns: true, log: {} as FastifyBaseLogger },
        seen: new SeenDevices(stateDir, {} as FastifyBaseLogger),
      });
      const device = inventory.get('dax0.0');
      expect(inventory.find('/dev/dax0.0')).toBe(device);
      const others = ['dax0', '/dev/../dev/dax0.0', '/dev//dax0.0', ' dax0.0', 'DAX0.0', ''];
      for (const other of [...others, 'constructor', '__proto__', device.path]) {
        expect(inventory.find(other)).toBeUndefined();
        expect(() => inventory.get(other)).toThrow(expect.objectContaining({ code: 'not_found' }));
      }
    } finally {
      rmSync(stateDir, { recursive: true, force: true });
    }
  });
});
