// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { deviceNameOf } from '../../../services/base/device-name.ts';
import { parseDevices } from '../../../services/daemon/devices/choice.ts';
import { runs } from '../../support/depth.ts';

describe('parseDevices', () => {
  test('reads auto', () => {
    expect(parseDevices('auto')).toEqual({ kind: 'auto' });
    expect(parseDevices(' auto ')).toEqual({ kind: 'auto' });
  });

  test('reads back any list that is written as the contract has it', () => {
    const number = fc.nat(300);
    const device = fc
      .record({
        region: number,
        instance: number,
        pages: fc.option(fc.integer({ min: 1, max: 2 ** 30 })),
      })
      .map(({ region, instance, pages }) =>
        pages === null
          ? { kind: 'devdax' as const, name: `dax${region}.${instance}` }
          : { kind: 'emulated' as const, name: `dax${region}.${instance}`, size: pages * 4096 },
      );
    const spelled = fc.record({ path: fc.boolean(), unit: fc.boolean(), space: fc.boolean() });
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.tuple(device, spelled), {
          selector: ([{ name }]) => name,
          minLength: 1,
          maxLength: 20,
        }),
        (entries) => {
          const text = entries
            .map(([given, { path, unit, space }]) => {
              const name = path ? `/dev/${given.name}` : given.name;
              const pad = space ? ' ' : '';
              if (given.kind === 'devdax') return `${pad}${name}${pad}`;
              const size = unit ? `${given.size / 1024}KiB` : String(given.size);
              return `${pad}emulated:${name}=${size}`;
            })
            .join(',');
          expect(parseDevices(text)).toEqual({ kind: 'list', devices: entries.map(([d]) => d) });
        },
      ),
      { numRuns: runs(300) },
    );
  });

  test.each([
    ['', /is no device/],
    ['dax0.0,', /is no device/],
    ['AUTO', /is no device/],
    ['dax0', /is no device/],
    ['dax0.0.0', /is no device/],
    ['dax-1.0', /is no device/],
    ['/dev/mem', /is no device/],
    ['/dev/../dev/dax0.0', /is no device/],
    ['../dax0.0', /is no device/],
    ['/dev/dax0.0\n', undefined],
    ['auto,dax0.0', /is no device/],
    ['emulated:dax0.0', /is no device/],
    ['emulated:dax0.0=', /is no device/],
    ['emulated:../x=4KiB', /is no device/],
    ['emulated:dax0.0=0', /multiple of 4 KiB/],
    ['emulated:dax0.0=4095', /multiple of 4 KiB/],
    ['emulated:dax0.0=1MB', /multiple of 4 KiB/],
    ['emulated:dax0.0=-4096', /multiple of 4 KiB/],
    ['emulated:dax0.0=9007199254740992', /multiple of 4 KiB/],
    ['dax0.0,/dev/dax0.0', /twice/],
    ['dax0.0,emulated:dax0.0=4KiB', /twice/],
    [Array.from({ length: 257 }, (_, i) => `dax${i}.0`).join(','), /more than 256/],
  ])('%p is refused, or understood', (text, message) => {
    if (message === undefined) expect(parseDevices(text)).toMatchObject({ kind: 'list' });
    else expect(() => parseDevices(text)).toThrow(message);
  });

  test('takes 256 devices', () => {
    const text = Array.from({ length: 256 }, (_, i) => `dax${i}.0`).join(',');
    expect(parseDevices(text)).toMatchObject({ kind: 'list' });
  });
});

test('deviceNameOf takes off /dev/ once', () => {
  expect(deviceNameOf('/dev/dax0.0')).toBe('dax0.0');
  expect(deviceNameOf('dax0.0')).toBe('dax0.0');
  expect(deviceNameOf('/dev//dev/dax0.0')).toBe('/dev/dax0.0');
});
