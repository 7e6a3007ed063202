// SPDX-License-Identifier: Apache-2.0
import { readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { FastifyBaseLogger } from 'fastify';
import { z } from 'zod';
import { syncDirectory } from '../../base/sync-directory.ts';
import { retryLater } from '../../http/problems/problem.ts';
import type { DmaEngine } from '../engines/dma.ts';
import type { Engine } from '../engines/engine.ts';
import type { Calibration, KnownSpeeds, Speeds } from '../engines/speeds.ts';
import { type Measured, measureSpeeds, SCRATCH_MIN, type Scratch } from './measure.ts';

const speedSchema = z.object({
  latencyNs: z.number().positive(),
  bytesPerSecond: z.number().positive(),
});

const storedSchema = z.object({
  /** What it was measured on: the hardware, as far as it is known. */
  hardware: z.string(),
  measuredAt: z.iso.datetime(),
  /** The device whose bytes were overwritten; null for memory of our own. */
  deviceName: z.string().nullable(),
  cpu: speedSchema,
  dma: speedSchema.optional(),
  both: speedSchema.optional(),
});

/** A calibration as it is stored. */
type StoredCalibration = z.output<typeof storedSchema>;

export interface CalibratorOptions {
  engine: Engine;
  dma: DmaEngine;
  stateDir: string;
  log: FastifyBaseLogger;
}

/** Measures how fast the engines are on this host, and keeps the result. */
export class Calibrator implements KnownSpeeds {
  readonly #engine: Engine;
  readonly #dma: DmaEngine;
  readonly #path: string;
  readonly #memory: string;
  readonly #log: FastifyBaseLogger;
  #stored: StoredCalibration | undefined;
  #measuring = false;

  /** Reads what an earlier daemon measured. What cannot be read counts as not measured. */
  constructor({ engine, dma, stateDir, log }: CalibratorOptions) {
    this.#engine = engine;
    this.#dma = dma;
    this.#path = join(stateDir, 'calibration.json');
    this.#memory = join(stateDir, 'calibration-memory');
    this.#log = log;
    this.#stored = this.#read();
  }

  /** The last calibration, if it was made on the hardware that is here now. */
  get calibration(): Calibration | undefined {
    return this.#stored?.hardware === this.#hardware() ? this.#stored : undefined;
  }

  /** How fast the engines are; undefined if DMA has not been measured. */
  get speeds(): Speeds | undefined {
    const { cpu, dma, both } = this.calibration ?? {};
    return cpu && dma && both && { cpu, dma, both };
  }

  /**
   * Measures again, which takes about 1.5 s, and stores the result.
   *
   * @param scratch the range that it may overwrite; undefined: memory of the daemon, which DMA does
   *   not reach
   * @throws Problem queue_full while another one measures, or what the copies end with
   */
  async calibrate(scratch?: Scratch): Promise<void> {
    if (this.#measuring) {
      throw retryLater('queue_full', 'The engines are being measured already: retry later.');
    }
    this.#measuring = true;
    try {
      const hardware = this.#hardware();
      const measured = await (scratch === undefined
        ? this.#measureInMemory()
        : measureSpeeds(this.#engine, scratch));
      const measuredAt = new Date().toISOString();
      const deviceName = scratch?.device.name ?? null;
      this.#stored = { hardware, measuredAt, deviceName, ...measured };
      this.#log.info({ calibration: this.#stored }, 'the engines were measured');
      this.#store(this.#stored);
    } finally {
      this.#measuring = false;
    }
  }

  /** In a file that is removed once it is open, and never synced. */
  async #measureInMemory(): Promise<Measured> {
    writeFileSync(this.#memory, '', { mode: 0o600 });
    let handle: number;
    try {
      truncateSync(this.#memory, SCRATCH_MIN);
      const spec = {
        kind: 'emulated',
        size: SCRATCH_MIN,
        align: 0,
        persistence: 'volatile',
      } as const;
      ({ handle } = this.#engine.openDevice(this.#memory, spec));
    } finally {
      rmSync(this.#memory, { force: true });
    }
    try {
      const device = { handle, name: 'memory' };
      const scratch = { device, offset: 0, size: SCRATCH_MIN, flush: false, dma: false };
      return await measureSpeeds(this.#engine, scratch);
    } finally {
      this.#engine.closeDevice(handle);
    }
  }

  /** The processors, and the DMA channels that were found since the start. */
  #hardware(): string {
    const { cpus, model } = this.#engine.cpu;
    return [`${cpus} x ${model || 'CPU'}`, ...this.#dma.hardware].join('; ');
  }

  #read(): StoredCalibration | undefined {
    try {
      return storedSchema.parse(JSON.parse(readFileSync(this.#path, 'utf8')));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
        this.#log.warn({ err: error }, 'an earlier calibration cannot be read, and is ignored');
      }
      return undefined;
    }
  }

  #store(calibration: StoredCalibration): void {
    try {
      const draft = `${this.#path}.new`;
      writeFileSync(draft, `${JSON.stringify(calibration)}\n`, { mode: 0o600, flush: true });
      renameSync(draft, this.#path);
      syncDirectory(dirname(this.#path));
    } catch (error) {
      this.#log.warn(
        { err: error },
        'the calibration could not be stored: it is lost when the daemon ends',
      );
    }
  }
}
