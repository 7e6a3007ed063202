// SPDX-License-Identifier: Apache-2.0

import type { SegmentList } from '../../base/segments.ts';
import { StartError } from '../../base/start-error.ts';
import type { EngineName, Operation } from '../../base/vocabulary.ts';
import { fieldProblem } from '../../http/problems/problem.ts';
import type { DmaEngine, OpenedDevice } from './dma.ts';
import { divide, type Speeds } from './speeds.ts';

export type RequestedEngine = 'auto' | EngineName;

export interface EngineChoice {
  engine: EngineName;
  reason: string;
  /** Bytes at its end that the CPU copies, beside DMA; see division.ts. 0: the engine has all. */
  cpuBytes: number;
}

/** What is to be done, as far as the choice depends on it. */
export interface ChoiceRequest {
  operation: Operation;
  requestedEngine: RequestedEngine;
  source: OpenedDevice;
  destination: OpenedDevice;
  segments: SegmentList;
  bytes: number;
  verify: boolean;
}

/** What `auto` goes by. */
export interface ChoiceBasis {
  /** How fast the engines are here; undefined if DMA has not been measured. */
  speeds: Speeds | undefined;
  /** Bytes that each engine has been given and has not copied yet. */
  pending: Readonly<Record<EngineName, number>>;
}

/** Decides which engine copies. */
export class EngineChooser {
  readonly #configured: RequestedEngine;
  readonly #dma: DmaEngine;
  readonly #basis: () => ChoiceBasis;

  /**
   * @param configured DMAD_ENGINE: what `auto` may choose from
   * @throws StartError configuration, if DMA is required and there is none
   */
  constructor(configured: RequestedEngine, dma: DmaEngine, basis: () => ChoiceBasis) {
    this.#configured = configured;
    this.#dma = dma;
    this.#basis = basis;
    if (configured === 'dma' && dma.unavailable !== undefined) {
      throw new StartError('configuration', `DMAD_ENGINE: no DMA engine: ${dma.unavailable}`);
    }
  }

  /** Whether `auto` must not fall back on the CPU. */
  get dmaRequired(): boolean {
    return this.#configured === 'dma';
  }

  /** @throws Problem engine_unavailable */
  choose(request: ChoiceRequest): EngineChoice {
    const { operation, requestedEngine: requested, source, destination } = request;
    if (requested === 'cpu') return only('cpu', 'the request asks for it');
    if (operation !== 'copy') {
      if (requested === 'auto') return only('cpu', `only the CPU can ${operation}`);
      const detail = `The DMA engine cannot ${operation}: ask for auto or cpu.`;
      throw fieldProblem('engine_unavailable', '/engine', detail);
    }
    const unavailable = this.#whyNotDma(source, destination);
    if (unavailable === undefined) {
      return requested === 'dma' ? only('dma', 'the request asks for it') : this.#decide(request);
    }
    if (requested === 'dma' || this.dmaRequired) {
      const detail = `No DMA engine is available: ${unavailable}. Ask for ${this.dmaRequired ? '' : 'auto or '}cpu.`;
      throw fieldProblem('engine_unavailable', '/engine', detail);
    }
    return only('cpu', `no DMA engine: ${unavailable}`);
  }

  #decide({ segments, bytes, verify }: ChoiceRequest): EngineChoice {
    if (this.dmaRequired) return only('dma', 'DMAD_ENGINE is dma');
    const { speeds, pending } = this.#basis();
    if (speeds === undefined) {
      return only('dma', 'a DMA channel is ready, and how fast it is has not been measured');
    }
    // What is verified has one checksum; and segments may build on each other.
    return divide(speeds, bytes, pending, segments.length === 1 && !verify);
  }

  #whyNotDma(source: OpenedDevice, destination: OpenedDevice): string | undefined {
    return (
      this.#dma.unavailable ??
      this.#dma.whyUnreachable(source) ??
      this.#dma.whyUnreachable(destination)
    );
  }
}

function only(engine: EngineName, reason: string): EngineChoice {
  return { engine, reason, cpuBytes: 0 };
}
