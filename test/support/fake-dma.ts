// SPDX-License-Identifier: Apache-2.0
import { constants } from 'node:os';
import { pino } from 'pino';
import { check } from '../../services/base/native/shim.ts';
import {
  type ChoiceBasis,
  EngineChooser,
  type RequestedEngine,
} from '../../services/daemon/engines/choice.ts';
import { DmaEngine } from '../../services/daemon/engines/dma.ts';
import type { DmaInfo, DmaPort } from '../../services/daemon/engines/dma-module.ts';
import type { Channel, RefusedProvider } from '../../services/daemon/engines/records.ts';

const { ENOENT, ENODEV } = constants.errno;

export function makeChannel(members: Partial<Channel> = {}): Channel {
  return {
    id: 0,
    name: 'dma0chan0',
    driver: 'ioatdma',
    state: 'ready',
    numaNode: null,
    inFlight: 0,
    operations: 0,
    bytes: 0,
    errors: { read: 0, write: 0, aborted: 0, lost: 0, timeout: 0 },
    recoveries: 0,
    ...members,
  };
}

/** A kernel module whose behaviour a test sets. */
export class FakeDmaPort implements DmaPort {
  channels: Channel[] = [];
  refused: RefusedProvider[] = [];
  /** What opening it ends with: 0, or a negative errno. */
  status = -ENOENT;
  opened: string | undefined;
  /** What attaching a device ends with, by handle; 0 where nothing is said. */
  readonly attach = new Map<number, number>();
  attached: number[] = [];

  openDma(path: string): DmaInfo {
    check(`open ${path}`, this.status);
    this.opened = path;
    return this.dmaInfo();
  }

  dmaInfo(): DmaInfo {
    check('dma_shim_dma_info', this.opened === undefined ? -ENODEV : 0);
    const channels = this.channels.filter(({ state }) => state === 'ready').length;
    return { version: '1.2.3', abi: 1, channels, channelLimit: 64, refused: this.refused };
  }

  dmaChannels(limit: number): Channel[] {
    return this.channels.filter(({ id }) => id < limit);
  }

  attachDma(device: number): void {
    check('dma_shim_dma_attach', this.attach.get(device) ?? 0);
    this.attached.push(device);
  }
}

/** A DMA engine that never is there. */
export function noDma(): DmaEngine {
  return makeDma(new FakeDmaPort());
}

/** A module that has these channels. */
export function readyPort(...channels: Channel[]): FakeDmaPort {
  const port = new FakeDmaPort();
  port.status = 0;
  port.channels = channels.length > 0 ? channels : [makeChannel()];
  return port;
}

export function makeDma(port: DmaPort, enabled = true): DmaEngine {
  return new DmaEngine({ port, log: pino({ level: 'silent' }), enabled });
}

/** @param basis what `auto` goes by; nothing, where it is left out */
export function makeChooser(
  configured: RequestedEngine,
  dma: DmaEngine,
  basis: ChoiceBasis = { speeds: undefined, pending: { cpu: 0, dma: 0 } },
): EngineChooser {
  return new EngineChooser(configured, dma, () => basis);
}
