// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from '@jest/globals';
import type { FastifyBaseLogger } from 'fastify';
import { isLoopback } from '../../../../services/base/host-address.ts';
import { readConfig } from '../../../../services/daemon/config.ts';
import { Inventory } from '../../../../services/daemon/devices/device.ts';
import { checkExposure } from '../../../../services/http/access/exposure.ts';
import { makeDevice } from '../../transfers/make-transfer.ts';

test.each([
  ['127.0.0.1', true],
  ['127.255.0.9', true],
  ['::1', true],
  ['0:0:0:0:0:0:0:1', true],
  ['localhost', true],
  ['126.0.0.1', false],
  ['128.0.0.1', false],
  ['0.0.0.0', false],
  ['::', false],
  ['::2', false],
  ['127.0.0.1.example', false],
  ['localhost.example', false],
  ['127.1', false],
  ['0x7f.0.0.1', false],
  ['', false],
])('%p is loopback: %p', (address, expected) => {
  expect(isLoopback(address)).toBe(expected);
});

describe('checkExposure', () => {
  const emulated = makeDevice();
  const real = makeDevice({ name: 'dax1.0', kind: 'devdax' });

  function check(host: string, devices: (typeof real)[], insecure: boolean) {
    const warnings: string[] = [];
    const log = { warn: (text: string) => warnings.push(text) } as unknown as FastifyBaseLogger;
    const environment = { DMAD_HOST: host, ...(insecure && { DMAD_INSECURE: '1' }) };
    checkExposure(readConfig(environment), new Inventory(devices), log);
    return warnings;
  }

  test('emulated devices on loopback need nothing', () => {
    expect(check('127.0.0.1', [emulated], false)).toEqual([]);
    expect(check('::1', [emulated], true)).toEqual([]);
  });

  test.each([
    ['0.0.0.0', [emulated], 'beyond loopback'],
    ['127.0.0.1', [emulated, real], 'real devices'],
    ['example.org', [real], 'real devices (dax1.0) and'],
  ])('%s is refused, or warned of where it is wanted', (host, devices, reason) => {
    expect(() => check(host, devices, false)).toThrow(
      expect.objectContaining({ exitCode: 78, message: expect.stringContaining(reason) }),
    );
    expect(check(host, devices, true)).toEqual([expect.stringContaining(reason)]);
  });
});
