// SPDX-License-Identifier: Apache-2.0

import type { LogHealth } from '../../base/log.ts';
import type { RecoveryGate } from '../../http/recovery-gate.ts';
import type { Inventory } from '../devices/device.ts';
import type { EngineChooser } from '../engines/choice.ts';
import type { DmaEngine } from '../engines/dma.ts';
import type { Journal } from '../journal/journal.ts';
import type { WorkQueue } from '../order/work-queue.ts';
import { deviceReadiness } from './devices.ts';
import type { EventLoopLag } from './event-loop.ts';

export interface ReadinessOptions {
  inventory: Inventory;
  dma: DmaEngine;
  chooser: EngineChooser;
  queue: WorkQueue;
  gate: RecoveryGate;
  lag: EventLoopLag;
  journal: Journal;
  log: LogHealth;
}

/** Whether the daemon takes transfers just now. */
export class Readiness {
  readonly #parts: ReadinessOptions;

  constructor(parts: ReadinessOptions) {
    this.#parts = parts;
  }

  /** @returns what has to be there before it takes any; empty if it does */
  waitingFor(): string[] {
    const { inventory, dma, chooser, queue, gate, lag, journal, log } = this.#parts;
    const noDma = chooser.dmaRequired ? dma.unavailable : undefined;
    return [
      ...(gate.isOpen ? [] : ['recovery']),
      ...(queue.closing ? ['shutdown'] : []),
      ...(journal.trouble === undefined ? [] : ['journal']),
      ...(lag.lagging ? ['event_loop'] : []),
      ...(log.auditLost ? ['audit log'] : []),
      ...deviceReadiness(inventory).waitingFor,
      ...(noDma === undefined ? [] : [`DMA: ${noDma}`]),
    ];
  }

  /** @returns what is missing, though transfers go on without it */
  degraded(): string[] {
    const { inventory, dma, log } = this.#parts;
    const channels = dma.channels().filter(({ state }) => state !== 'ready');
    return [
      ...channels.map(({ name, state }) => `channel ${name}: ${state}`),
      ...deviceReadiness(inventory).degraded,
      ...(log.trouble === undefined ? [] : [`log: ${log.trouble}`]),
    ];
  }
}
