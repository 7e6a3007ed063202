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

const keptSchema = z.object({
  /** What it was measured on: the hardware, as far as it is known. */
  hardware: z.string(),
  measuredAt: z.iso.datetime(),
  /** The device whose bytes were overwritten; null for memory of our own. */
  deviceName: z.string().nullable(),
  cpu: speedSchema,
  dma: speedSchema.optional(),
  both: speedSchema.optional(),
});

/** What was measured, as it is kept. */
type Kept = z.output<typeof keptSchema>;

export interface CalibratorOptions {
  engine: Engine;
  dma: DmaEngine;
  stateDir: string;
  log: FastifyBaseLogger;
}

/** Knows how fast the engines are here, as last measured, and measures it again. */
export class Calibrator implements KnownSpeeds {
  readonly #engine: Engine;
  readonly #dma: DmaEngine;
  readonly #path: string;
  readonly #memory: string;
  readonly #log: FastifyBaseLogger;
  #kept: Kept | undefined;
  #measuring = false;

  /** Reads what an earlier daemon found. What cannot be read counts as nothing found. */
  constructor({ engine, dma, stateDir, log }: CalibratorOptions) {
    this.#engine = engine;
    this.#dma = dma;
    this.#path = join(stateDir, 'calibration.json');
    this.#memory = join(stateDir, 'calibration-memory');
    this.#log = log;
    this.#kept = this.#read();
  }

  /** The last one, if it was made on the hardware that is here now. */
  get calibration(): Calibration | undefined {
    return this.#kept?.hardware === this.#hardware() ? this.#kept : undefined;
  }

  /** How fast the engines are; undefined if DMA has not been measured. */
  get speeds(): Speeds | undefined {
    const { cpu, dma, both } = this.calibration ?? {};
    return cpu && dma && both && { cpu, dma, both };
  }

  /**
   * Measures anew, in some 1.5 s, and keeps what was found.
   *
   * @param scratch whose bytes it may overwrite; undefined: memory of its own, which DMA does not
   *   reach
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
        ? this.#inMemory()
        : measureSpeeds(this.#engine, scratch));
      const measuredAt = new Date().toISOString();
      const deviceName = scratch?.device.name ?? null;
      this.#kept = { hardware, measuredAt, deviceName, ...measured };
      this.#log.info({ calibration: this.#kept }, 'the engines were measured');
      this.#keep(this.#kept);
    } finally {
      this.#measuring = false;
    }
  }

  /** A file that has no name any more once it is open, and that is never synced. */
  async #inMemory(): Promise<Measured> {
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

  #read(): Kept | undefined {
    try {
      return keptSchema.parse(JSON.parse(readFileSync(this.#path, 'utf8')));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
        this.#log.warn({ err: error }, 'an earlier calibration cannot be read: it is left aside');
      }
      return undefined;
    }
  }

  #keep(calibration: Kept): void {
    try {
      const draft = `${this.#path}.new`;
      writeFileSync(draft, `${JSON.stringify(calibration)}\n`, { mode: 0o600, flush: true });
      renameSync(draft, this.#path);
      syncDirectory(dirname(this.#path));
    } catch (error) {
      this.#log.warn(
        { err: error },
        'the calibration holds until the daemon ends: it was not kept',
      );
    }
  }
}
