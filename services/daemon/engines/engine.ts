// SPDX-License-Identifier: Apache-2.0

import { constants } from 'node:os';
import { type Context, check, loadShim, type Shim, ShimError } from '../../base/native/shim.ts';
import { type EngineName, PERSISTENCE, type Persistence } from '../../base/vocabulary.ts';
import { JobBatch } from './batch.ts';
import { CompletionStream, failedCompletion } from './completions.ts';
import { DmaModule, type DmaPort } from './dma-module.ts';
import { type JobListener, JobsInFlight } from './jobs-in-flight.ts';
import { type DeviceSpec, type OpenedDevice, OpenedDevices } from './opened-devices.ts';
import {
  COMPLETION_SIZE,
  type Completion,
  CPU_INFO_SIZE,
  cString,
  decodeCompletion,
  encodeJob,
  encodeSegments,
  JOB_SIZE,
  type Job,
  OPTIONS_SIZE,
  readU64,
  SEGMENT_SIZE,
  STORAGE_SIZE,
  SUBMIT_COMPLETED,
} from './records.ts';

/** The CPU engine as it runs here, as it found best by measuring. */
export interface CpuInfo {
  threads: number;
  /** Whose time the daemon may use, by its affinity and its control groups. */
  cpus: number;
  /** The processor's name. */
  model: string;
  /** What large copies use. */
  instructionSet: string;
  /** Bytes in a job from which it is large. */
  streamFrom: number;
}

/** What a file system does for what is synced to it; see dma_shim_storage(). */
export interface Storage {
  /** Whether it survives a loss of power: `backing_store`, `volatile` or `unknown`. */
  persistence: Persistence;
  /** What that rests on, such as `ext4` or `overlay on tmpfs`. */
  basis: string;
}

/** How long brief jobs may take in a turn of the event loop, in milliseconds: all others wait. */
const TURN_MS = 2;

/**
 * The native engine: devices that are open, and jobs in flight between them. No call waits for
 * bytes to move, but for a few hundred kilobytes; completions arrive in batches on one socket, or
 * from the call itself if a job was brief.
 */
export class Engine {
  readonly shimVersion: string;
  readonly cpu: CpuInfo;
  /** The kernel module behind the DMA engine. */
  readonly dmaPort: DmaPort;
  readonly #shim: Shim;
  readonly #context: Context;
  readonly #completions: CompletionStream;
  readonly #devices: OpenedDevices;
  readonly #jobs = new JobsInFlight();
  readonly #batch: JobBatch;
  /** Completions that are still to be delivered, in this turn of the event loop or the next. */
  readonly #ends: Completion[] = [];
  #turn: NodeJS.Immediate | undefined;
  /** What jobs with memory have taken of this turn, in milliseconds. */
  #taken = 0;
  #closed = false;

  /** @throws ShimError if threads or memory are short */
  constructor() {
    this.#shim = loadShim();
    this.shimVersion = this.#shim.version();
    const out: [Context] = [null];
    check('dma_shim_open', this.#shim.open(Buffer.alloc(OPTIONS_SIZE), out));
    this.#context = out[0];
    this.cpu = this.#readCpuInfo();
    const fd = check('dma_shim_completion_fd', this.#shim.completionFd(this.#context));
    this.#completions = new CompletionStream(fd, (completion) => this.#jobs.deliver(completion));
    this.#devices = new OpenedDevices(this.#shim, () => this.#live());
    this.#batch = new JobBatch(this.#shim, this.#devices);
    this.dmaPort = new DmaModule(this.#shim, () => this.#live(), this.#devices);
  }

  /** Bytes that it is to copy and has not copied yet, by the last reports. */
  get pending(): Readonly<Record<EngineName, number>> {
    return this.#jobs.pending;
  }

  /**
   * Takes a lock that other processes see.
   *
   * @returns a descriptor that holds it until it is closed
   * @throws ShimError
   */
  lockFile(path: string): number {
    return check(`lock ${path}`, this.#shim.lockFile(path));
  }

  /** Who connected to a Unix socket. @param fd the descriptor of a connection. @throws ShimError */
  peerUid(fd: number): number {
    return check('peer of a Unix socket', this.#shim.peerUid(fd));
  }

  /**
   * Whether a connection takes bytes now, or has some; if not, that is up to its other end.
   *
   * @param fd of a connection; of one that is closed it says no
   */
  socketReady(fd: number, what: 'sends' | 'receives'): boolean {
    return this.#shim.socketReady(fd, what === 'receives' ? 1 : 0) === 1;
  }

  /** Whether a thread is at a job now: what that has received, the device may not have taken yet. */
  isRunning(tag: number): boolean {
    return !this.#closed && this.#shim.isRunning(this.#context, tag) === 1;
  }

  /** What the file system of a file or directory does. @throws ShimError what open(2) says */
  storageOf(path: string): Storage {
    const out = Buffer.alloc(STORAGE_SIZE);
    check(`storage of ${path}`, this.#shim.storage(path, out));
    return {
      persistence: PERSISTENCE[out.readUInt32LE(0)] ?? 'unknown',
      basis: cString(out.subarray(8)),
    };
  }

  /** @throws ShimError EWOULDBLOCK if another process has the device, or what open(2) says */
  openDevice(path: string, spec: DeviceSpec): OpenedDevice {
    return this.#devices.open(path, spec);
  }

  /** Ranges of a device that the kernel has found bad since it was opened, without a read. */
  badRanges(device: number): { offset: number; size: number }[] {
    return this.#devices.badRanges(device);
  }

  /** Lets a device go. @returns false while a job in flight names it: try again later */
  closeDevice(device: number): boolean {
    // One that waits for a socket may do so for long.
    for (const tag of this.#jobs.streamsOf(device)) this.cancel(tag);
    return !this.#batch.names(device) && this.#devices.close(device);
  }

  /**
   * Starts a job: at once if it has memory of its own or a socket, else at the end of this turn of
   * the event loop. The listener's `done` is called exactly once, later. A job that the shim refuses touches
   * nothing and ends with the shim's error; one whose device is closed ends as if that had gone.
   *
   * @returns the tag by which to cancel it
   * @throws ShimError if the engine is closed
   */
  submit(job: Job, listener: JobListener): number {
    const context = this.#live();
    const tag = this.#jobs.add(job, listener);
    if (job.memory === undefined && job.descriptor === undefined) this.#addToBatch(tag, job);
    else this.#submitAtOnce(context, tag, job);
    return tag;
  }

  /** Submits a job and waits for its end. @throws ShimError if the engine is closed */
  run(job: Job): Promise<Completion> {
    return new Promise((resolve) => this.submit(job, { done: resolve }));
  }

  /**
   * The same for a job that may last: the signal cancels it.
   *
   * @param progress is called with the number of bytes done so far, also at the end
   * @param submitted is called with its tag
   */
  runUntil(
    job: Job,
    signal: AbortSignal,
    progress: (bytesDone: number) => void,
    submitted: (tag: number) => void = () => {},
  ): Promise<Completion> {
    return new Promise((resolve) => {
      const cancel = () => this.cancel(tag);
      const tag = this.submit(job, {
        progress,
        done: (completion) => {
          signal.removeEventListener('abort', cancel);
          progress(completion.bytesDone);
          resolve(completion);
        },
      });
      submitted(tag);
      if (signal.aborted) cancel();
      else signal.addEventListener('abort', cancel);
    });
  }

  /** Stops a job at its next piece boundary; its `done` still comes. Nothing if it is over. */
  cancel(tag: number): void {
    if (this.#closed) return;
    if (this.#batch.remove(tag))
      this.#deliverSoon(failedCompletion(tag, -constants.errno.ECANCELED));
    else this.#shim.cancel(this.#context, tag);
  }

  /**
   * Changes how long a job may take; see {@link Job.timeoutMs}. Nothing if it is over.
   *
   * @param timeoutMs from now on; undefined: no time of its own
   */
  setTimeout(tag: number, timeoutMs: number | undefined): void {
    if (this.#closed || this.#batch.setTimeout(tag, timeoutMs)) return;
    this.#shim.setTimeout(this.#context, tag, timeoutMs ?? 0);
  }

  /** Cancels what is in flight, and waits, off the event loop's turn, for its pieces to end. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearImmediate(this.#turn);
    this.#shim.close(this.#context);
    this.#completions.close();
    this.#jobs.clear();
  }

  /** Freed at the end: a client may go on reading for longer than the daemon lives. */
  #live(): Context {
    if (this.#closed) throw new ShimError('the engine is closed', -constants.errno.ECANCELED);
    return this.#context;
  }

  #submitAtOnce(context: Context, tag: number, job: Job): void {
    const known = this.#devices.forShim(job);
    if (known === undefined) {
      this.#deliverSoon(failedCompletion(tag, -constants.errno.ENXIO));
      return;
    }
    const record = Buffer.alloc(JOB_SIZE);
    const segments = new Uint32Array((job.segments.length * SEGMENT_SIZE) / 4);
    encodeJob(record, tag, known);
    encodeSegments(segments, job.segments);
    const over = this.#taken < TURN_MS ? Buffer.alloc(COMPLETION_SIZE) : null;
    const began = performance.now();
    const status = this.#shim.submit(context, record, segments, job.memory ?? null, over);
    this.#taken += performance.now() - began;
    // The next turn has its own time, even if nothing ends in it.
    this.#takeTurn();
    if (over !== null && status === SUBMIT_COMPLETED) this.#deliverSoon(decodeCompletion(over, 0));
    else if (status < 0) this.#deliverSoon(failedCompletion(tag, status));
  }

  #addToBatch(tag: number, job: Job): void {
    if (!this.#batch.takes(job)) this.#sendBatch();
    this.#batch.add(tag, job);
    this.#takeTurn();
  }

  #sendBatch(): void {
    for (const end of this.#batch.send(this.#context)) this.#deliverSoon(end);
  }

  #deliverSoon(end: Completion): void {
    this.#ends.push(end);
    this.#takeTurn();
  }

  /** Sends what there is, and delivers completions, at the end of this turn of the event loop. */
  #takeTurn(): void {
    this.#turn ??= setImmediate(() => this.#sendAndDeliver());
  }

  /**
   * What ends at once lets others begin that waited for it, and end at once too: they need no turn each,
   * but must not take all of the daemon's time either.
   */
  #sendAndDeliver(): void {
    // What comes from here on takes another turn, unless this one still delivers it.
    this.#turn = undefined;
    this.#taken = 0;
    const until = performance.now() + TURN_MS;
    do {
      if (this.#batch.size > 0) this.#sendBatch();
      for (let end = this.#ends.shift(); end !== undefined; end = this.#ends.shift()) {
        this.#jobs.deliver(end);
      }
      if (this.#closed) return;
    } while (this.#batch.size > 0 && performance.now() < until);
  }

  #readCpuInfo(): CpuInfo {
    const info = Buffer.alloc(CPU_INFO_SIZE);
    this.#shim.cpuInfo(this.#context, info);
    return {
      threads: info.readUInt32LE(0),
      cpus: info.readUInt32LE(4),
      instructionSet: cString(info.subarray(8, 32)),
      streamFrom: readU64(info, 32),
      model: cString(info.subarray(40)),
    };
  }
}
