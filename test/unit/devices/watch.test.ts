// SPDX-License-Identifier: Apache-2.0
import {
  mkdtempSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { ShimError } from '../../../services/base/native/shim.ts';
import { parseDevices } from '../../../services/daemon/devices/choice.ts';
import type { Device, Inventory } from '../../../services/daemon/devices/device.ts';
import { openDevices } from '../../../services/daemon/devices/open.ts';
import { SeenDevices } from '../../../services/daemon/devices/seen.ts';
import { DeviceWatch } from '../../../services/daemon/devices/watch.ts';
import type { Engine } from '../../../services/daemon/engines/engine.ts';
import type { DeviceSpec, OpenedDevice } from '../../../services/daemon/engines/opened-devices.ts';
import { deviceReadiness } from '../../../services/daemon/health/devices.ts';
import { makeSysfs } from '../../support/sysfs-tree.ts';
import { daxDevices, region } from './made-sysfs.ts';

const SIZE = 2 ** 21;
const NAMES = ['dax0.0', 'dax1.0', 'dax3.0'];

/** Opens any device; a handle is never given twice. */
class FakeEngine {
  #last = 0;
  readonly open = new Map<number, string>();
  readonly busy = new Set<number>();
  failure = 0;

  openDevice(path: string, spec: DeviceSpec): OpenedDevice {
    if (this.failure !== 0) throw new ShimError(`open ${path}`, this.failure);
    const handle = ++this.#last;
    this.open.set(handle, path);
    return { handle, size: spec.size, persistence: spec.persistence, flushBasis: 'clwb' };
  }

  /** What the kernel told of. */
  bad: { offset: number; size: number }[] = [];
  badRanges(): { offset: number; size: number }[] {
    return this.bad;
  }

  closeDevice(handle: number): boolean {
    if (this.busy.has(handle)) return false;
    this.open.delete(handle);
    return true;
  }
}

/** A sysfs with the devices of NAMES, each in its own NVDIMM region, that can be changed. */
class Sysfs {
  readonly root: string;
  readonly remove: () => void;

  constructor() {
    const attributes = { size: String(SIZE), align: '4096', resource: '0x1000' };
    const { root, remove } = makeSysfs(
      Object.assign(
        {},
        ...NAMES.flatMap((name, n) => [
          daxDevices({ name, driver: 'device_dax', parents: `region${n}`, attributes }),
          region(`region${n}`, { resource: '0x1000', badblocks: '' }),
        ]),
      ),
    );
    this.root = root;
    this.remove = remove;
  }

  hide(name: string): void {
    renameSync(this.#link(name), join(this.root, name));
  }

  show(name: string): void {
    renameSync(join(this.root, name), this.#link(name));
  }

  /** Another driver, or the same one anew: the link has another inode. */
  bind(name: string, driver: string): void {
    const link = join(this.#link(name), 'driver');
    symlinkSync(`../../../bus/dax/drivers/${driver}`, `${link}-new`);
    renameSync(`${link}-new`, link);
  }

  unbind(name: string): void {
    unlinkSync(join(this.#link(name), 'driver'));
  }

  set(name: string, attribute: string, text: string): void {
    writeFileSync(join(this.#link(name), attribute), text);
  }

  setBadBlocks(name: string, text: string): void {
    writeFileSync(join(dirname(realpathSync(this.#link(name))), 'badblocks'), text);
  }

  #link(name: string): string {
    return join(this.root, 'bus/dax/devices', name);
  }
}

describe('DeviceWatch', () => {
  let stateDir: string;
  let sysfs: Sysfs;
  let engine: FakeEngine;
  let inventory: Inventory;
  let watch: DeviceWatch;

  beforeEach(() => {
    stateDir = mkdtempSync(join(tmpdir(), 'dmad-watch-'));
    sysfs = new Sysfs();
    sysfs.hide('dax3.0');
    engine = new FakeEngine();
  });
  afterEach(() => {
    sysfs.remove();
    rmSync(stateDir, { recursive: true, force: true });
  });

  function start(choice = 'auto', standIns = true): void {
    const options = {
      engine: engine as unknown as Engine,
      choice: parseDevices(choice),
      sysfsRoot: sysfs.root,
      log: pino({ level: 'silent' }),
    };
    const seen = new SeenDevices(stateDir, options.log);
    inventory = openDevices(options.engine, { ...options, stateDir, seen, standIns });
    watch = new DeviceWatch({ ...options, seen, inventory });
  }

  const device = (name: string): Device => inventory.get(name);
  const states = () => inventory.list().map(({ name, state }) => `${name} ${state}`);

  test('leaves alone what stays as it is', () => {
    start();
    const before = inventory.list();
    watch.scan();
    watch.scan();
    expect(inventory.list()).toEqual(before);
    expect(engine.open.size).toBe(2);
  });

  test('notices one that goes, and takes it up as another one when it is back', () => {
    start();
    const old = device('dax1.0');
    sysfs.hide('dax1.0');
    watch.scan();
    expect(device('dax1.0')).toBe(old);
    expect(states()).toEqual(['dax0.0 online', 'dax1.0 gone']);
    expect(engine.open.has(old.handle)).toBe(false);
    watch.scan();
    expect(states()).toEqual(['dax0.0 online', 'dax1.0 gone']);
    sysfs.show('dax1.0');
    watch.scan();
    expect(states()).toEqual(['dax0.0 online', 'dax1.0 online']);
    expect(device('dax1.0').handle).not.toBe(old.handle);
    expect(old.state).toBe('gone');
  });

  test.each<[string, () => void]>([
    ['its driver is unbound', () => sysfs.unbind('dax0.0')],
    ['it was made system RAM', () => sysfs.bind('dax0.0', 'kmem')],
  ])('takes one for gone where %s', (_why, change) => {
    start();
    change();
    watch.scan();
    expect(states()).toEqual(['dax0.0 gone', 'dax1.0 online']);
  });

  test.each<[string, () => void]>([
    ['bound anew', () => sysfs.bind('dax0.0', 'device_dax')],
    ['given another size', () => sysfs.set('dax0.0', 'size', String(2 * SIZE))],
  ])('takes one that was %s for another, whatever jobs still name the old one', (_what, change) => {
    start();
    const old = device('dax0.0');
    engine.busy.add(old.handle);
    change();
    watch.scan();
    expect(old.state).toBe('gone');
    expect(device('dax0.0').state).toBe('online');
    expect(engine.open.size).toBe(3);
    engine.busy.clear();
    watch.scan();
    expect(engine.open.size).toBe(2);
    expect(engine.open.has(old.handle)).toBe(false);
  });

  test('tries again where a device cannot be opened yet', () => {
    start();
    sysfs.hide('dax0.0');
    watch.scan();
    sysfs.show('dax0.0');
    engine.failure = -constants.errno.EAGAIN;
    watch.scan();
    watch.scan();
    expect(device('dax0.0').state).toBe('gone');
    engine.failure = 0;
    watch.scan();
    expect(device('dax0.0').state).toBe('online');
  });

  test('opens new devices if none were chosen, but none that must not be touched', () => {
    start();
    sysfs.show('dax3.0');
    sysfs.bind('dax3.0', 'kmem');
    watch.scan();
    expect(inventory.find('dax3.0')).toBeUndefined();
    sysfs.bind('dax3.0', 'device_dax');
    watch.scan();
    expect(device('dax3.0').state).toBe('online');
  });

  test.each([
    ['/dev/dax0.0', 'devdax'],
    ['emulated:dax0.0=1MiB', 'emulated'],
  ])('takes up no device but %s where that is chosen', (choice, kind) => {
    start(choice);
    sysfs.show('dax3.0');
    watch.scan();
    expect(inventory.list().map((each) => each.kind)).toEqual([kind]);
  });

  test('opens no new device while all devices are emulated', () => {
    for (const name of ['dax0.0', 'dax1.0']) sysfs.hide(name);
    start();
    expect(device('dax0.0').kind).toBe('emulated');
    for (const name of NAMES) sysfs.show(name);
    watch.scan();
    expect(inventory.list().map(({ kind }) => kind)).toEqual(['emulated', 'emulated']);
    expect(deviceReadiness(inventory).degraded).toEqual(
      NAMES.map(
        (name) => `device ${name}: it has come, but files stand in for devices until a restart`,
      ),
    );
  });

  test('serves one that comes after the daemon, if it is named or any will do', () => {
    for (const choice of ['dax1.0', 'auto']) {
      for (const name of ['dax0.0', 'dax1.0']) sysfs.hide(name);
      rmSync(join(stateDir, 'seen-devices'), { force: true });
      start(choice, false);
      expect(deviceReadiness(inventory)).toEqual({
        ...{ waitingFor: [choice === 'auto' ? 'a device' : 'device dax1.0'], degraded: [] },
      });
      watch.scan();
      expect(states()).toEqual([]);
      for (const name of ['dax0.0', 'dax1.0']) sysfs.show(name);
      watch.scan();
      expect(states()).toEqual(
        choice === 'auto' ? ['dax0.0 online', 'dax1.0 online'] : ['dax1.0 online'],
      );
      expect(deviceReadiness(inventory)).toEqual({ waitingFor: [], degraded: [] });
    }
    // Another boot, at which they come late again.
    for (const name of ['dax0.0', 'dax1.0']) sysfs.hide(name);
    start();
    expect([...inventory.missing.keys()].sort()).toEqual(['dax0.0', 'dax1.0']);
    sysfs.show('dax1.0');
    sysfs.unbind('dax1.0');
    watch.scan();
    expect(inventory.missing.get('dax1.0')).toContain('no driver');
    sysfs.bind('dax1.0', 'device_dax');
    watch.scan();
    expect(states()).toEqual(['dax1.0 online']);
    expect(deviceReadiness(inventory)).toEqual({
      ...{
        waitingFor: [],
        degraded: [expect.stringMatching(/^device dax0\.0: it was served before/)],
      },
    });
  });

  test('the daemon is degraded while one of several is gone, and waits when all are', () => {
    start();
    sysfs.hide('dax0.0');
    watch.scan();
    expect(deviceReadiness(inventory)).toEqual({
      ...{ waitingFor: [], degraded: ['device dax0.0: it was removed'] },
    });
    sysfs.hide('dax1.0');
    watch.scan();
    expect(deviceReadiness(inventory)).toEqual({
      ...{ waitingFor: ['device dax0.0', 'device dax1.0'], degraded: [] },
    });
  });

  test('reads bad blocks again', () => {
    start();
    expect(device('dax0.0').badBlocks).toEqual([]);
    sysfs.setBadBlocks('dax0.0', '8 8\n');
    watch.scan();
    expect(device('dax0.0').badBlocks).toEqual([{ offset: 4096, size: 4096 }]);
    sysfs.setBadBlocks('dax0.0', '\n');
    watch.scan();
    expect(device('dax0.0')).toMatchObject({ badBlocks: [], state: 'online' });
  });

  test('takes memory that was found bad unread for bad blocks, once', () => {
    start();
    sysfs.setBadBlocks('dax0.0', '8 8\n');
    engine.bad = [
      { offset: 4096, size: 4096 },
      { offset: 65536, size: 4096 },
    ];
    watch.scan();
    expect(device('dax0.0').badBlocks).toEqual(engine.bad);
  });

  test('notices a file that stands in for a device vanish, or be cut short, and come back', () => {
    start('emulated:dax0.0=1MiB,emulated:dax1.0=1MiB');
    watch.scan();
    expect(states()).toEqual(['dax0.0 online', 'dax1.0 online']);
    const { path } = device('dax0.0');
    unlinkSync(path);
    truncateSync(device('dax1.0').path, 4096);
    watch.scan();
    expect(states()).toEqual(['dax0.0 gone', 'dax1.0 gone']);
    expect(device('dax0.0').stateReason).toBe('its file was removed');
    expect(device('dax1.0').stateReason).toBe('its file was cut short to 4096 bytes');
    writeFileSync(path, Buffer.alloc(4096));
    watch.scan();
    expect(states()).toEqual(['dax0.0 gone', 'dax1.0 gone']);
    truncateSync(path, 2 ** 20);
    watch.scan();
    expect(states()).toEqual(['dax0.0 online', 'dax1.0 gone']);
    const cut = device('dax1.0');
    truncateSync(cut.path, 2 ** 20);
    watch.scan();
    expect(states()).toEqual(['dax0.0 online', 'dax1.0 online']);
    expect(device('dax1.0').handle).not.toBe(cut.handle);
    expect(device('dax1.0').stateReason).toBeNull();
  });

  test('takes no link for the file that stands in for a device', () => {
    start('emulated:dax0.0=1MiB');
    const { path } = device('dax0.0');
    const elsewhere = join(stateDir, 'precious');
    writeFileSync(elsewhere, Buffer.alloc(2 ** 20));
    unlinkSync(path);
    symlinkSync(elsewhere, path);
    watch.scan();
    watch.scan();
    expect(device('dax0.0')).toMatchObject({
      ...{ state: 'gone', stateReason: 'its file was replaced' },
    });
  });
});
