// SPDX-License-Identifier: Apache-2.0
import { type OnReadOpts, Socket, type SocketConstructorOpts } from 'node:net';
import { constants } from 'node:os';
import type { DmaPort } from './dma.ts';
import {
  CHANNEL_INFO_SIZE,
  type Channel,
  COMPLETION_SIZE,
  type Completion,
  CPU_INFO_SIZE,
  cString,
  DEVICE_KINDS,
  type DeviceKind,
  DMA_INFO_SIZE,
  decodeChannel,
  decodeCompletion,
  encodeJob,
  encodeSegments,
  FLUSH_BASES,
  type FlushBasis,
  INFO_SIZE,
  JOB_SIZE,
  type Job,
  MAX_SEGMENTS,
  MEMORY,
  NO_DMA,
  OPTIONS_SIZE,
  PERSISTENCE,
  type Persistence,
  readU64,
  SEGMENT_SIZE,
  SPEC_SIZE,
  writeU64,
} from './records.ts';
import { type Context, check, loadShim, type Shim, ShimError } from './shim.ts';

/** Room for the completions of a busy tick in one read. */
const READ_SIZE = COMPLETION_SIZE * 1024;

export interface DeviceSpec {
  kind: DeviceKind;
  /** Bytes; for an emulated device the size that its file must have. */
  size: number;
  /** Of the mapping, in bytes; 0 for an emulated device. */
  align: number;
  /** Ignored for an emulated device, where the file system decides. */
  persistence: Persistence;
}

export interface OpenedDevice {
  /** The engine's name for it, which is never given to another. */
  handle: number;
  size: number;
  persistence: Persistence;
  flushBasis: FlushBasis;
}

/** The CPU engine as it runs here, as it found best by measuring. */
export interface CpuInfo {
  threads: number;
  /** What large copies use. */
  instructionSet: string;
  /** Bytes in a job from which it is large. */
  streamFrom: number;
}

/** The kernel module behind the DMA engine. */
export interface DmaInfo {
  version: string;
  /** Of its interface. */
  abi: number;
  /** Channels that take work now. */
  channels: number;
  /** Ids of channels are below this. */
  channelLimit: number;
}

/** What hears of a job. */
export interface JobListener {
  progress?(bytesDone: number): void;
  done(completion: Completion): void;
}

/**
 * The native engine: devices that are open, and jobs in flight between them. No call waits for
 * bytes to move; completions arrive in batches on one socket.
 */
export class Engine implements DmaPort {
  readonly shimVersion: string;
  readonly cpu: CpuInfo;
  readonly #shim: Shim;
  readonly #context: Context;
  readonly #completions: Socket;
  /** The shim's handles, which it gives again once they are free, by ours. */
  readonly #devices = new Map<number, number>();
  readonly #inFlight = new Map<number, { job: Job; listener: JobListener }>();
  readonly #jobRecord = Buffer.alloc(JOB_SIZE);
  readonly #segmentRecords = new Uint32Array((MAX_SEGMENTS * SEGMENT_SIZE) / 4);
  /** The first part of a record whose rest has not arrived yet. */
  #partial = Buffer.alloc(0);
  #lastTag = 0;
  #lastDevice = 0;
  #closed = false;

  /** @throws ShimError where threads or memory are short */
  constructor() {
    this.#shim = loadShim();
    this.shimVersion = this.#shim.version();
    const out: [Context] = [null];
    check('dma_shim_open', this.#shim.open(Buffer.alloc(OPTIONS_SIZE), out));
    this.#context = out[0];
    this.cpu = this.#readCpuInfo();
    const options: SocketConstructorOpts & { onread: OnReadOpts } = {
      fd: check('dma_shim_completion_fd', this.#shim.completionFd(this.#context)),
      readable: true,
      writable: false,
      onread: {
        buffer: Buffer.alloc(READ_SIZE),
        callback: (size, bytes) => {
          this.#receive(Buffer.from(bytes.buffer, bytes.byteOffset, size));
          return true;
        },
      },
    };
    this.#completions = new Socket(options);
  }

  /** Takes a lock that other processes see, until this process ends. @throws ShimError */
  lockFile(path: string): void {
    check(`lock ${path}`, this.#shim.lockFile(path));
  }

  /** Who connected to a Unix socket. @param fd the descriptor of a connection. @throws ShimError */
  peerUid(fd: number): number {
    return check('peer of a Unix socket', this.#shim.peerUid(fd));
  }

  /** @throws ShimError EWOULDBLOCK where another process has the device, or what open(2) says */
  openDevice(path: string, spec: DeviceSpec): OpenedDevice {
    const record = Buffer.alloc(SPEC_SIZE);
    writeU64(record, 0, spec.size);
    writeU64(record, 8, spec.align);
    record.writeUInt32LE(DEVICE_KINDS[spec.kind], 16);
    record.writeUInt32LE(PERSISTENCE.indexOf(spec.persistence), 20);
    const info = Buffer.alloc(INFO_SIZE);
    const found = check(`open ${path}`, this.#shim.deviceOpen(this.#context, path, record, info));
    const handle = ++this.#lastDevice;
    this.#devices.set(handle, found);
    return {
      handle,
      size: readU64(info, 0),
      persistence: PERSISTENCE[info.readUInt32LE(8)] ?? 'volatile',
      flushBasis: FLUSH_BASES[info.readUInt32LE(12)] ?? 'none',
    };
  }

  /** Lets a device go. @returns false while a job in flight names it: try again later */
  closeDevice(device: number): boolean {
    const handle = this.#devices.get(device);
    if (handle === undefined) return true;
    const status = this.#shim.deviceClose(this.#live(), handle);
    if (status === -constants.errno.EBUSY) return false;
    check('dma_shim_device_close', status);
    this.#devices.delete(device);
    return true;
  }

  openDma(path: string): DmaInfo {
    const info = Buffer.alloc(DMA_INFO_SIZE);
    check(`open ${path}`, this.#shim.dmaOpen(this.#live(), path, info));
    return decodeDmaInfo(info);
  }

  dmaInfo(): DmaInfo {
    const info = Buffer.alloc(DMA_INFO_SIZE);
    check('dma_shim_dma_info', this.#shim.dmaInfo(this.#live(), info));
    return decodeDmaInfo(info);
  }

  dmaChannels(limit: number): Channel[] {
    const channels: Channel[] = [];
    const info = Buffer.alloc(CHANNEL_INFO_SIZE);
    for (let id = 0; id < limit; id++) {
      const status = this.#shim.dmaChannel(this.#live(), id, info);
      if (status === -constants.errno.ENOENT) continue;
      check('dma_shim_dma_channel', status);
      channels.push(decodeChannel(info, id));
    }
    return channels;
  }

  attachDma(device: number): void {
    const handle = this.#devices.get(device);
    const gone = -constants.errno.ENXIO;
    check(
      'dma_shim_dma_attach',
      handle === undefined ? gone : this.#shim.dmaAttach(this.#live(), handle),
    );
  }

  /**
   * Starts a job. The listener's `done` is called exactly once, later, unless this throws. A job
   * that names a device which was closed ends as one whose device has gone.
   *   * @returns the tag by which to cancel it
   * @throws ShimError where the shim refuses the job; then nothing was touched
   */
  submit(job: Job, listener: JobListener): number {
    const context = this.#live();
    const tag = ++this.#lastTag;
    const source = this.#handleOf(job.source);
    const destination = this.#handleOf(job.destination);
    if (source === undefined || destination === undefined) {
      queueMicrotask(() => listener.done(goneCompletion(tag)));
      return tag;
    }
    encodeJob(this.#jobRecord, tag, { ...job, source, destination });
    encodeSegments(this.#segmentRecords, job.segments);
    const memory = job.memory ?? null;
    check(
      'dma_shim_submit',
      this.#shim.submit(context, this.#jobRecord, this.#segmentRecords, memory),
    );
    // Holds the job's memory for as long as the shim may touch it.
    this.#inFlight.set(tag, { job, listener });
    return tag;
  }

  /** Submits a job and waits for its end. @throws ShimError where the shim refuses the job */
  run(job: Job): Promise<Completion> {
    return new Promise((resolve) => this.submit(job, { done: resolve }));
  }

  /** Stops a job at its next piece boundary; its `done` still comes. Nothing where it is over. */
  cancel(tag: number): void {
    if (!this.#closed) this.#shim.cancel(this.#context, tag);
  }

  /** Cancels what is in flight, and waits, off the event loop's turn, for its pieces to end. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#shim.close(this.#context);
    this.#completions.destroy();
    this.#inFlight.clear();
  }

  /** Freed at the end: a client may go on reading for longer than the daemon lives. */
  #live(): Context {
    if (this.#closed) throw new ShimError('the engine is closed', -constants.errno.ECANCELED);
    return this.#context;
  }

  /** The shim's handle for a device of ours, or for what is none. */
  #handleOf(device: number): number | undefined {
    return device >= MEMORY ? device : this.#devices.get(device);
  }

  #readCpuInfo(): CpuInfo {
    const info = Buffer.alloc(CPU_INFO_SIZE);
    this.#shim.cpuInfo(this.#context, info);
    return {
      threads: info.readUInt32LE(0),
      instructionSet: cString(info.subarray(8, 32)),
      streamFrom: readU64(info, 32),
    };
  }

  #receive(bytes: Buffer): void {
    const whole = this.#partial.length > 0 ? Buffer.concat([this.#partial, bytes]) : bytes;
    let offset = 0;
    for (; offset + COMPLETION_SIZE <= whole.length; offset += COMPLETION_SIZE) {
      this.#deliver(decodeCompletion(whole, offset));
    }
    this.#partial = Buffer.from(whole.subarray(offset));
  }

  #deliver(completion: Completion): void {
    const entry = this.#inFlight.get(completion.tag);
    if (entry === undefined) return;
    if (completion.done) {
      this.#inFlight.delete(completion.tag);
      entry.listener.done(completion);
    } else {
      entry.listener.progress?.(completion.bytesDone);
    }
  }
}

function decodeDmaInfo(info: Buffer): DmaInfo {
  const version = info.readUInt32LE(0);
  return {
    version: [version >>> 16, (version >>> 8) & 0xff, version & 0xff].join('.'),
    abi: info.readUInt32LE(4),
    channels: info.readUInt32LE(8),
    channelLimit: info.readUInt32LE(12),
  };
}

/** How a job ends that names a device which has gone before it could start. */
function goneCompletion(tag: number): Completion {
  const now = Number(process.hrtime.bigint());
  return {
    tag,
    done: true,
    status: -constants.errno.ENXIO,
    bytesDone: 0,
    startedNs: now,
    finishedNs: now,
    copyNs: 0,
    flushNs: 0,
    verifyNs: 0,
    segment: 0,
    sourceCrc: 0,
    destinationCrc: 0,
    dma: NO_DMA,
  };
}
