// SPDX-License-Identifier: Apache-2.0
import { constants } from 'node:os';
import { type Context, check, type Shim } from '../../base/native/shim.ts';
import type { OpenedDevices } from './opened-devices.ts';
import {
  CHANNEL_INFO_SIZE,
  type Channel,
  DMA_INFO_SIZE,
  decodeChannel,
  decodeRefused,
  type RefusedProvider,
} from './records.ts';

/** The kernel module behind the DMA engine. */
export interface DmaInfo {
  version: string;
  /** Of its interface. */
  abi: number;
  /** Channels that take work now. */
  channels: number;
  /** Ids of channels are below this. */
  channelLimit: number;
  /** Providers of channels that it does not use now. */
  refused: RefusedProvider[];
}

/** What is asked of the kernel module. */
export interface DmaPort {
  /** @throws ShimError */
  openDma(path: string): DmaInfo;
  /** @throws ShimError ENODEV if it is not open */
  dmaInfo(): DmaInfo;
  /** Those that the module knows, gone ones included. */
  dmaChannels(limit: number): Channel[];
  /** Makes a device known to the module; does nothing if it is. @throws ShimError */
  attachDma(device: number): void;
}

/** The kernel module, by way of the shim. */
export class DmaModule implements DmaPort {
  readonly #shim: Shim;
  readonly #context: () => Context;
  readonly #devices: OpenedDevices;

  /** @param context of the shim, as long as that is open */
  constructor(shim: Shim, context: () => Context, devices: OpenedDevices) {
    this.#shim = shim;
    this.#context = context;
    this.#devices = devices;
  }

  openDma(path: string): DmaInfo {
    const info = Buffer.alloc(DMA_INFO_SIZE);
    check(`open ${path}`, this.#shim.dmaOpen(this.#context(), path, info));
    return decodeDmaInfo(info);
  }

  dmaInfo(): DmaInfo {
    const info = Buffer.alloc(DMA_INFO_SIZE);
    check('dma_shim_dma_info', this.#shim.dmaInfo(this.#context(), info));
    return decodeDmaInfo(info);
  }

  dmaChannels(limit: number): Channel[] {
    const channels: Channel[] = [];
    const info = Buffer.alloc(CHANNEL_INFO_SIZE);
    for (let id = 0; id < limit; id++) {
      const status = this.#shim.dmaChannel(this.#context(), id, info);
      if (status === -constants.errno.ENOENT) continue;
      check('dma_shim_dma_channel', status);
      channels.push(decodeChannel(info, id));
    }
    return channels;
  }

  attachDma(device: number): void {
    const handle = this.#devices.shimHandleOf(device);
    const gone = -constants.errno.ENXIO;
    check(
      'dma_shim_dma_attach',
      handle === undefined ? gone : this.#shim.dmaAttach(this.#context(), handle),
    );
  }
}

function decodeDmaInfo(info: Buffer): DmaInfo {
  const version = info.readUInt32LE(0);
  return {
    version: [version >>> 16, (version >>> 8) & 0xff, version & 0xff].join('.'),
    abi: info.readUInt32LE(4),
    channels: info.readUInt32LE(8),
    channelLimit: info.readUInt32LE(12),
    refused: decodeRefused(info),
  };
}
