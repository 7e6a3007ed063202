// SPDX-License-Identifier: Apache-2.0
import { existsSync } from 'node:fs';
import { fieldProblem } from '../problems/problem.ts';
import { StartError } from '../start-error.ts';
import type { EngineName } from './records.ts';

const KERNEL_MODULE_DEVICE = '/dev/ioat-dma';

export type RequestedEngine = 'auto' | EngineName;

/** Decides which engine copies. */
export class EngineChooser {
  /** Why there is no DMA engine. */
  readonly dmaUnavailable: string;
  readonly #configured: RequestedEngine;

  /**
   * @param configured DMAD_ENGINE: what `auto` may choose from
   * @throws StartError configuration, where DMA is required and there is none
   */
  constructor(configured: RequestedEngine) {
    this.#configured = configured;
    this.dmaUnavailable = existsSync(KERNEL_MODULE_DEVICE)
      ? 'this version of the daemon does not drive the kernel module yet'
      : `there is no ${KERNEL_MODULE_DEVICE}: the kernel module ioat-dma is not loaded`;
    if (configured === 'dma') {
      throw new StartError('configuration', `DMAD_ENGINE: no DMA engine: ${this.dmaUnavailable}`);
    }
  }

  /** @throws Problem engine_unavailable */
  choose(requested: RequestedEngine): { engine: EngineName; reason: string } {
    if (requested === 'dma') {
      const detail = `No DMA engine is available: ${this.dmaUnavailable}. Ask for auto or cpu.`;
      throw fieldProblem('engine_unavailable', '/engine', detail);
    }
    if (requested === 'cpu') return { engine: 'cpu', reason: 'the request asks for it' };
    if (this.#configured === 'cpu') return { engine: 'cpu', reason: 'DMAD_ENGINE asks for it' };
    return { engine: 'cpu', reason: `no DMA engine: ${this.dmaUnavailable}` };
  }
}
