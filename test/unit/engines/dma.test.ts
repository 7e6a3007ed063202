// SPDX-License-Identifier: Apache-2.0
import { constants } from 'node:os';
import { describe, expect, test } from '@jest/globals';
import { SegmentList } from '../../../services/base/segments.ts';
import { StartError } from '../../../services/base/start-error.ts';
import type { EngineChooser } from '../../../services/daemon/engines/choice.ts';
import {
  FakeDmaPort,
  makeChannel,
  makeChooser,
  makeDma,
  noDma,
  readyPort,
} from '../../support/fake-dma.ts';
import { makeDevice } from '../transfers/make-transfer.ts';

const { EACCES, EOPNOTSUPP, EPROTONOSUPPORT, ENXIO } = constants.errno;
const source = makeDevice({ name: 'dax0.0', handle: 1 });
const destination = makeDevice({ name: 'dax1.0', handle: 2 });

describe('DmaEngine', () => {
  test('is not there where the module is not loaded, and is once it is', () => {
    const port = new FakeDmaPort();
    const dma = makeDma(port);
    expect(dma.unavailable).toContain('/dev/ioat-dma');
    expect(dma.unavailable).toContain('not loaded');
    expect(dma.module).toBeUndefined();
    expect(dma.channels()).toEqual([]);
    port.status = 0;
    port.channels = [makeChannel()];
    dma.refresh();
    expect(dma.unavailable).toBeUndefined();
    expect(port.opened).toBe('/dev/ioat-dma');
    expect(dma.module).toMatchObject({ version: '1.2.3', abi: 1 });
  });

  test('names the providers that the module refuses', () => {
    const port = new FakeDmaPort();
    const refused = { driver: 'idxd', device: '0000:6a:01.0', reason: 'order' } as const;
    port.refused = [refused];
    const dma = makeDma(port);
    expect(dma.refused()).toEqual([]);
    port.status = 0;
    dma.refresh();
    expect(dma.refused()).toEqual([refused]);
    expect(dma.unavailable).toBe(
      'the kernel has no DMA channel for copies that the module uses; it refuses idxd 0000:6a:01.0 (order)',
    );
  });

  test.each([
    [-EACCES, /cannot be opened: EACCES/],
    [-EPROTONOSUPPORT, /another version/],
  ])('says why the module cannot be used (%d)', (status, reason) => {
    const port = new FakeDmaPort();
    port.status = status;
    expect(makeDma(port).unavailable).toMatch(reason);
  });

  test('does not look at the module where the CPU is to copy', () => {
    const port = readyPort();
    const dma = makeDma(port, false);
    dma.refresh();
    expect(port.opened).toBeUndefined();
    expect(dma.unavailable).toContain('DMAD_ENGINE');
  });

  test('follows channels as they go and come back', () => {
    const port = readyPort(makeChannel(), makeChannel({ id: 1, name: 'dma0chan1' }));
    const dma = makeDma(port);
    port.channels[0] = makeChannel({ state: 'recovering' });
    expect(dma.unavailable).toBeUndefined();
    port.channels[1] = makeChannel({ id: 1, name: 'dma0chan1', state: 'set_aside' });
    expect(dma.unavailable).toMatch(/dma0chan0 is recovering, dma0chan1 is set_aside/);
    port.channels = [];
    expect(dma.unavailable).toMatch(/no DMA channel/);
    // The names are known even of channels that have gone since.
    expect(dma.names([1, 0, 9])).toEqual(['dma0chan1', 'dma0chan0', 'channel 9']);
  });

  test('tells a channel once, though its old place is still there', () => {
    const back = makeChannel({ id: 2, bytes: 7 });
    const dma = makeDma(
      readyPort(makeChannel({ state: 'gone' }), back, makeChannel({ id: 5, state: 'gone' })),
    );
    expect(dma.channels()).toEqual([back]);
  });

  test('asks once about a device that it can never reach, and again about others', () => {
    const port = readyPort();
    const dma = makeDma(port);
    port.attach.set(1, -EOPNOTSUPP).set(2, -ENXIO);
    expect(dma.whyUnreachable(source)).toMatch(/dax0.0 is no device-dax/);
    expect(dma.whyUnreachable(destination)).toMatch(/dax1.0 .*ENXIO/);
    port.attach.clear();
    expect(dma.whyUnreachable(source)).toMatch(/dax0.0/);
    expect(dma.whyUnreachable(destination)).toBeUndefined();
    expect(port.attached).toEqual([2]);
  });
});

const copy = {
  ...{ operation: 'copy' as const, source, destination },
  segments: SegmentList.of({ src_offset: 0, dst_offset: 0, size: 2 ** 30 }),
  bytes: 2 ** 30,
  verify: false,
};

describe('EngineChooser', () => {
  const choose = (chooser: EngineChooser, requested: 'auto' | 'cpu' | 'dma') =>
    chooser.choose({ requestedEngine: requested, ...copy });

  test('takes DMA where there is some, and says why', () => {
    const chooser = makeChooser('auto', makeDma(readyPort()));
    expect(choose(chooser, 'auto')).toEqual({
      engine: 'dma',
      reason: expect.stringContaining('a DMA channel is ready'),
      cpuBytes: 0,
    });
  });

  test.each([
    ['auto', 'auto', 'dma'],
    ['auto', 'dma', 'dma'],
    ['auto', 'cpu', 'cpu'],
    ['dma', 'auto', 'dma'],
    ['dma', 'cpu', 'cpu'],
    ['cpu', 'auto', 'cpu'],
    ['cpu', 'cpu', 'cpu'],
  ] as const)('with DMAD_ENGINE=%s, %s is %s', (configured, requested, engine) => {
    const chooser = makeChooser(configured, makeDma(readyPort(), configured !== 'cpu'));
    const choice = choose(chooser, requested);
    expect(choice.engine).toBe(engine);
    expect(choice.reason).toMatch(/\w/);
  });

  test('takes the CPU where there is no DMA engine, and says why not', () => {
    const choice = choose(makeChooser('auto', noDma()), 'auto');
    expect(choice).toEqual({
      engine: 'cpu',
      reason: expect.stringContaining('not loaded'),
      cpuBytes: 0,
    });
  });

  test.each([
    ['auto', false],
    ['cpu', true],
  ] as const)('refuses DMA where there is none (DMAD_ENGINE=%s)', (configured, loaded) => {
    const dma = makeDma(loaded ? readyPort() : new FakeDmaPort(), configured !== 'cpu');
    expect(() => choose(makeChooser(configured, dma), 'dma')).toThrow(
      expect.objectContaining({ code: 'engine_unavailable' }),
    );
  });

  test('does not fall back where DMA is required', () => {
    const port = readyPort();
    const chooser = makeChooser('dma', makeDma(port));
    port.channels = [];
    expect(() => choose(chooser, 'auto')).toThrow(
      expect.objectContaining({ code: 'engine_unavailable' }),
    );
    expect(choose(chooser, 'cpu').engine).toBe('cpu');
  });

  test('does not start where DMA is required and there is none', () => {
    expect(() => makeChooser('dma', noDma())).toThrow(StartError);
    expect(() => makeChooser('dma', makeDma(readyPort(makeChannel({ state: 'gone' }))))).toThrow(
      /DMAD_ENGINE/,
    );
  });

  test('takes the CPU for a device that DMA cannot reach', () => {
    const port = readyPort();
    port.attach.set(2, -EOPNOTSUPP);
    const chooser = makeChooser('auto', makeDma(port));
    expect(choose(chooser, 'auto')).toEqual({
      engine: 'cpu',
      reason: expect.stringContaining('dax1.0'),
      cpuBytes: 0,
    });
  });
});
