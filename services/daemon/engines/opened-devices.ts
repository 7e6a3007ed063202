// SPDX-License-Identifier: Apache-2.0

import { constants } from 'node:os';
import { type Context, check, type Shim } from '../../base/native/shim.ts';
import {
  FLUSH_BASES,
  type FlushBasis,
  PERSISTENCE,
  type Persistence,
} from '../../base/vocabulary.ts';
import {
  DEVICE_KINDS,
  type DeviceKind,
  INFO_SIZE,
  type Job,
  MAX_BAD_RANGES,
  RANGE_SIZE,
  readU64,
  SOCKET,
  SPEC_SIZE,
  writeU64,
} from './records.ts';

export interface DeviceSpec {
  kind: DeviceKind;
  /** Bytes; for an emulated device the size that its file must have. */
  size: number;
  /** Of the mapping, in bytes; 0 for an emulated device. */
  align: number;
  /** Ignored for an emulated device: the file system decides. */
  persistence: Persistence;
}

export interface OpenedDevice {
  /** The engine's name for it, which is never given to another. */
  handle: number;
  size: number;
  persistence: Persistence;
  flushBasis: FlushBasis;
}

/** Devices that the shim has open. It gives its handles again once they are free; ours never. */
export class OpenedDevices {
  readonly #shim: Shim;
  readonly #context: () => Context;
  readonly #shimHandles = new Map<number, number>();
  #last = 0;

  /** @param context of the shim, as long as that is open */
  constructor(shim: Shim, context: () => Context) {
    this.#shim = shim;
    this.#context = context;
  }

  /** @throws ShimError EWOULDBLOCK if another process has the device, or what open(2) says */
  open(path: string, spec: DeviceSpec): OpenedDevice {
    const record = Buffer.alloc(SPEC_SIZE);
    writeU64(record, 0, spec.size);
    writeU64(record, 8, spec.align);
    record.writeUInt32LE(DEVICE_KINDS[spec.kind], 16);
    record.writeUInt32LE(PERSISTENCE.indexOf(spec.persistence), 20);
    const info = Buffer.alloc(INFO_SIZE);
    const found = check(`open ${path}`, this.#shim.deviceOpen(this.#context(), path, record, info));
    const handle = ++this.#last;
    this.#shimHandles.set(handle, found);
    return {
      handle,
      size: readU64(info, 0),
      persistence: PERSISTENCE[info.readUInt32LE(8)] ?? 'volatile',
      flushBasis: FLUSH_BASES[info.readUInt32LE(12)] ?? 'none',
    };
  }

  /** Ranges that the kernel has found bad since it was opened, without a read. */
  badRanges(device: number): { offset: number; size: number }[] {
    const handle = this.#shimHandles.get(device);
    if (handle === undefined) return [];
    const out = Buffer.alloc(MAX_BAD_RANGES * RANGE_SIZE);
    const count = check(
      'dma_shim_device_bad',
      this.#shim.deviceBad(this.#context(), handle, out, MAX_BAD_RANGES),
    );
    return Array.from({ length: count }, (_, index) => ({
      offset: readU64(out, index * RANGE_SIZE),
      size: readU64(out, index * RANGE_SIZE + 8),
    }));
  }

  /** Lets a device go. @returns false while a job in flight names it: try again later */
  close(device: number): boolean {
    const handle = this.#shimHandles.get(device);
    if (handle === undefined) return true;
    const status = this.#shim.deviceClose(this.#context(), handle);
    if (status === -constants.errno.EBUSY) return false;
    check('dma_shim_device_close', status);
    this.#shimHandles.delete(device);
    return true;
  }

  /** A job with the shim's handles for its devices; undefined if one of them is closed. */
  forShim(job: Job): Job | undefined {
    const source = this.shimHandleOf(job.source);
    const destination = this.shimHandleOf(job.destination);
    if (source === undefined || destination === undefined) return undefined;
    return { ...job, source, destination };
  }

  /** The shim's handle for a device of ours, or for what is none; undefined if it is closed. */
  shimHandleOf(device: number): number | undefined {
    return device >= SOCKET ? device : this.#shimHandles.get(device);
  }
}
