// SPDX-License-Identifier: Apache-2.0
import type { FastifyBaseLogger } from 'fastify';
import { ShimError } from '../../base/native/shim.ts';
import type { DmaInfo, DmaPort } from './dma-module.ts';
import type { Channel, RefusedProvider } from './records.ts';

export const MODULE_DEVICE = '/dev/ioat-dma';

export interface DmaOptions {
  port: DmaPort;
  log: FastifyBaseLogger;
  /** False if the configuration wants none. */
  enabled: boolean;
  /** The kernel module's device. */
  path?: string;
}

/** A device that the engine has opened. */
export interface OpenedDevice {
  name: string;
  /** The engine's name for it, which is never given to another. */
  handle: number;
}

/** The kernel module's DMA channels, which come and go, as the daemon sees them. */
export class DmaEngine {
  readonly #port: DmaPort;
  readonly #log: FastifyBaseLogger;
  readonly #path: string;
  readonly #enabled: boolean;
  #module: DmaInfo | undefined;
  /** Why it is not open. */
  #closed: string;
  /** Devices that it will never reach, by handle, and why. */
  readonly #unreachable = new Map<number, string>();
  #names: string[] = [];
  #seen = '';
  #hardware: readonly string[] = [];

  constructor({ port, log, enabled, path = MODULE_DEVICE }: DmaOptions) {
    this.#port = port;
    this.#log = log;
    this.#path = path;
    this.#enabled = enabled;
    this.#closed = enabled ? `${path} was not looked for yet` : 'DMAD_ENGINE is cpu';
    this.refresh();
  }

  /** Looks whether the module has been loaded, and which channels it has; logs what changed. */
  refresh(): void {
    if (!this.#enabled) return;
    if (this.#module === undefined) this.#open();
    const channels = this.channels();
    const states = channels.map(({ name, state }) => `${name} ${state}`).join(', ');
    if (states === this.#seen) return;
    this.#seen = states;
    this.#hardware = channels.map(({ name, driver }) => `${driver} ${name}`).sort();
    this.#log.info({ channels: channels.map(({ name, state }) => ({ name, state })) }, 'channels');
  }

  /** Of the module; undefined if it is not loaded. `version` and `abi` do not change. */
  get module(): DmaInfo | undefined {
    return this.#module;
  }

  /** Providers of channels that the module does not use. */
  refused(): RefusedProvider[] {
    return this.#module === undefined ? [] : this.#port.dmaInfo().refused;
  }

  /** Drivers and names of the channels that were found, whatever their state, in order. */
  get hardware(): readonly string[] {
    return this.#hardware;
  }

  /** Why nothing can be copied by DMA now; undefined if it can. */
  get unavailable(): string | undefined {
    if (this.#module === undefined) return this.#closed;
    if (this.#port.dmaInfo().channels > 0) return undefined;
    const channels = this.channels();
    if (channels.length === 0) return withoutChannels(this.refused());
    return `no DMA channel takes work: ${channels.map(({ name, state }) => `${name} is ${state}`).join(', ')}`;
  }

  /** Why DMA cannot reach a device; undefined if it can. */
  whyUnreachable({ handle, name }: OpenedDevice): string | undefined {
    const known = this.#unreachable.get(handle);
    if (known !== undefined) return known;
    try {
      this.#port.attachDma(handle);
      return undefined;
    } catch (error) {
      if (!(error instanceof ShimError)) throw error;
      if (error.code !== 'ENOTSUP') return `${name} cannot be named to it: ${error.code}`;
      const reason = `${name} is no device-dax device`;
      this.#unreachable.set(handle, reason);
      return reason;
    }
  }

  /** All that the module knows, those that have gone included; no two have the same name. */
  channels(): Channel[] {
    if (this.#module === undefined) return [];
    const byName = new Map<string, Channel>();
    for (const channel of this.#port.dmaChannels(this.#module.channelLimit)) {
      this.#names[channel.id] = channel.name;
      // One that came back may have another place, and leave the old one behind.
      if (channel.state !== 'gone' || !byName.has(channel.name)) {
        byName.set(channel.name, channel);
      }
    }
    return [...byName.values()];
  }

  /** The names of channels, by their ids. */
  names(ids: readonly number[]): string[] {
    if (ids.some((id) => this.#names[id] === undefined)) this.channels();
    return ids.map((id) => this.#names[id] ?? `channel ${id}`);
  }

  #open(): void {
    try {
      this.#module = this.#port.openDma(this.#path);
      this.#log.info({ module: this.#module.version }, 'the kernel module answers');
    } catch (error) {
      if (!(error instanceof ShimError)) throw error;
      const reason = closedReason(error.code, this.#path);
      // Once, not at every look.
      if (error.code !== 'ENOENT' && reason !== this.#closed) this.#log.warn(reason);
      this.#closed = reason;
    }
  }
}

function withoutChannels(refused: readonly RefusedProvider[]): string {
  if (refused.length === 0) return 'the kernel has no DMA channel for copies';
  const providers = refused.map(({ driver, device, reason }) => `${driver} ${device} (${reason})`);
  return `the kernel has no DMA channel for copies that the module uses; it refuses ${providers.join(', ')}`;
}

function closedReason(code: string, path: string): string {
  switch (code) {
    case 'ENOENT':
      return `there is no ${path}: the kernel module ioat-dma is not loaded`;
    case 'EPROTONOSUPPORT':
      return `${path} is a kernel module of another version: install the one that comes with this daemon`;
    default:
      return `${path} cannot be opened: ${code}`;
  }
}
