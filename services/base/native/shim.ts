// SPDX-License-Identifier: Apache-2.0
import { fileURLToPath } from 'node:url';
import { getSystemErrorName } from 'node:util';
import koffi from 'koffi';
import { StartError } from '../start-error.ts';

/** The ABI of native-shim/include/dma_shim.h that this is written for. */
export const SHIM_ABI = 16;

/** The library that `npm ci` builds, seen from dist/services/base/native/ and dist/services/bundle/chunks/. */
const LIBRARY = fileURLToPath(
  new URL('../../../../native-shim/build/libdma_shim.so', import.meta.url),
);

/** A pointer to a struct dma_shim. */
export type Context = unknown;

/** A pointer to a struct dma_shim_writer. */
export type Writer = unknown;

/**
 * The shim's functions as its header declares them. Structs go as Buffers: koffi passes those
 * several times faster than objects, and anonymous types need no registration.
 */
export interface Shim {
  version(): string;
  /** Has what takes {@link open} long begin on a thread. */
  prepare(): void;
  open(options: Buffer, out: [Context]): number;
  close(context: Context): void;
  completionFd(context: Context): number;
  deviceOpen(context: Context, path: string, spec: Buffer, info: Buffer): number;
  deviceClose(context: Context, device: number): number;
  deviceBad(context: Context, device: number, out: Buffer, room: number): number;
  submit(
    context: Context,
    job: Buffer,
    segments: Uint32Array,
    memory: Buffer | null,
    over: Buffer | null,
  ): number;
  submitBatch(
    context: Context,
    jobs: Buffer,
    count: number,
    segments: Uint32Array,
    errors: Int32Array,
    over: Buffer,
  ): number;
  /** @param tag as a BigInt or number */
  cancel(context: Context, tag: number): number;
  setTimeout(context: Context, tag: number, timeoutMs: number): number;
  cpuInfo(context: Context, out: Buffer): void;
  dmaOpen(context: Context, path: string, info: Buffer): number;
  dmaInfo(context: Context, out: Buffer): number;
  dmaChannel(context: Context, channel: number, out: Buffer): number;
  dmaAttach(context: Context, device: number): number;
  sha256(bytes: Uint8Array, size: number, block: number, digests: Buffer): number;
  lockFile(path: string): number;
  peerUid(fd: number): number;
  socketReady(fd: number, receives: number): number;
  isRunning(context: Context, tag: number): number;
  writerOpen(fd: number, capacity: number, out: [Writer]): number;
  writerPut(writer: Writer, bytes: Buffer, size: number, limit: number): number;
  writerState(writer: Writer, out: Buffer): void;
  writerDrain(writer: Writer, timeoutMs: number): number;
  notify(path: string, message: string): number;
  groupId(name: string): number;
  leaveTerminal(): void;
  storage(path: string, out: Buffer): number;
}

const loaded = new Map<string, Shim>();

/** @throws StartError if the library is missing, or is not this daemon's */
export function loadShim(path = LIBRARY): Shim {
  try {
    const shim = loaded.get(path) ?? bind(path);
    loaded.set(path, shim);
    return shim;
  } catch (error) {
    const why = (error as Error).message;
    const remedy =
      'build it with "make -C native-shim", which npm ci does unless ignore-scripts is set';
    throw new StartError(
      'configuration',
      `cannot load the native library ${path}: ${why}; ${remedy}`,
    );
  }
}

/** @throws Error from the loader, or if the library has another ABI */
function bind(path: string): Shim {
  const library = koffi.load(path);
  const abi = library.func('dma_shim_abi', 'uint32_t', [])();
  if (abi !== SHIM_ABI) throw new Error(`it has ABI ${abi}, this daemon needs ${SHIM_ABI}`);
  return {
    version: library.func('dma_shim_version', 'str', []),
    prepare: library.func('dma_shim_prepare', 'void', []),
    open: library.func('dma_shim_open', 'int', ['void *', koffi.out(koffi.pointer('void *'))]),
    close: library.func('dma_shim_close', 'void', ['void *']),
    completionFd: library.func('dma_shim_completion_fd', 'int', ['void *']),
    deviceOpen: library.func('dma_shim_device_open', 'int', ['void *', 'str', 'void *', 'void *']),
    deviceBad: library.func('dma_shim_device_bad', 'int', [
      ...['void *', 'uint32_t', 'void *', 'uint32_t'],
    ]),
    deviceClose: library.func('dma_shim_device_close', 'int', ['void *', 'uint32_t']),
    submit: library.func('dma_shim_submit', 'int', Array(5).fill('void *')),
    submitBatch: library.func('dma_shim_submit_batch', 'int', [
      ...['void *', 'void *', 'uint32_t', 'void *', 'void *', 'void *'],
    ]),
    cancel: library.func('dma_shim_cancel', 'int', ['void *', 'uint64_t']),
    setTimeout: library.func('dma_shim_set_timeout', 'int', ['void *', 'uint64_t', 'uint32_t']),
    cpuInfo: library.func('dma_shim_cpu_info', 'void', ['void *', 'void *']),
    dmaOpen: library.func('dma_shim_dma_open', 'int', ['void *', 'str', 'void *']),
    dmaInfo: library.func('dma_shim_dma_info', 'int', ['void *', 'void *']),
    dmaChannel: library.func('dma_shim_dma_channel', 'int', ['void *', 'uint32_t', 'void *']),
    dmaAttach: library.func('dma_shim_dma_attach', 'int', ['void *', 'uint32_t']),
    peerUid: library.func('dma_shim_peer_uid', 'int64_t', ['int']),
    isRunning: library.func('dma_shim_is_running', 'int', ['void *', 'uint64_t']),
    socketReady: library.func('dma_shim_socket_ready', 'int', ['int', 'uint32_t']),
    sha256: library.func('dma_shim_sha256', 'int', ['void *', 'uint64_t', 'uint64_t', 'void *']),
    storage: library.func('dma_shim_storage', 'int', ['str', 'void *']),
    lockFile: library.func('dma_shim_lock_file', 'int', ['str']),
    writerOpen: library.func('dma_shim_writer_open', 'int', [
      ...['int', 'uint32_t', koffi.out(koffi.pointer('void *'))],
    ]),
    writerPut: library.func('dma_shim_writer_put', 'int', [
      ...['void *', 'void *', 'uint32_t', 'uint32_t'],
    ]),
    writerState: library.func('dma_shim_writer_state', 'void', ['void *', 'void *']),
    writerDrain: library.func('dma_shim_writer_drain', 'int', ['void *', 'uint32_t']),
    notify: library.func('dma_shim_notify', 'int', ['str', 'str']),
    groupId: library.func('dma_shim_group_id', 'int64_t', ['str']),
    leaveTerminal: library.func('dma_shim_leave_terminal', 'void', []),
  };
}

/** A function of the shim that returned a negative errno. */
export class ShimError extends Error {
  override readonly name = 'ShimError';
  /** Such as "EINVAL". */
  readonly code: string;

  constructor(what: string, status: number) {
    const code = getSystemErrorName(status);
    super(`${what}: ${code}`);
    this.code = code;
  }
}

/** @throws ShimError if `status` is negative */
export function check(what: string, status: number): number {
  if (status < 0) throw new ShimError(what, status);
  return status;
}
