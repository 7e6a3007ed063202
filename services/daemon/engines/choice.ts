// SPDX-License-Identifier: Apache-2.0
import type { Device } from '../devices/device.ts';
import { fieldProblem } from '../problems/problem.ts';
import { StartError } from '../start-error.ts';
import type { DmaEngine } from './dma.ts';
import type { EngineName } from './records.ts';

export type RequestedEngine = 'auto' | EngineName;

export interface EngineChoice {
  engine: EngineName;
  reason: string;
}

/** Decides which engine copies. */
export class EngineChooser {
  readonly #configured: RequestedEngine;
  readonly #dma: DmaEngine;

  /**
   * @param configured DMAD_ENGINE: what `auto` may choose from
   * @throws StartError configuration, where DMA is required and there is none
   */
  constructor(configured: RequestedEngine, dma: DmaEngine) {
    this.#configured = configured;
    this.#dma = dma;
    if (configured === 'dma' && dma.unavailable !== undefined) {
      throw new StartError('configuration', `DMAD_ENGINE: no DMA engine: ${dma.unavailable}`);
    }
  }

  /** Whether `auto` must not fall back on the CPU. */
  get dmaRequired(): boolean {
    return this.#configured === 'dma';
  }

  /** @throws Problem engine_unavailable */
  choose(requested: RequestedEngine, source: Device, destination: Device): EngineChoice {
    if (requested === 'cpu') return { engine: 'cpu', reason: 'the request asks for it' };
    const unavailable = this.#whyNotDma(source, destination);
    if (unavailable === undefined) {
      return requested === 'dma'
        ? { engine: 'dma', reason: 'the request asks for it' }
        : { engine: 'dma', reason: 'a DMA channel is ready' };
    }
    if (requested === 'dma' || this.dmaRequired) {
      const detail = `No DMA engine is available: ${unavailable}. Ask for ${this.dmaRequired ? '' : 'auto or '}cpu.`;
      throw fieldProblem('engine_unavailable', '/engine', detail);
    }
    return { engine: 'cpu', reason: `no DMA engine: ${unavailable}` };
  }

  #whyNotDma(source: Device, destination: Device): string | undefined {
    return (
      this.#dma.unavailable ??
      this.#dma.whyUnreachable(source) ??
      this.#dma.whyUnreachable(destination)
    );
  }
}
