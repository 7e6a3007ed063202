// SPDX-License-Identifier: Apache-2.0
import type { Rows } from '../../services/daemon/journal/store.ts';
import { FULL, MemoryMark, MemoryStore, MemoryWatermark } from './memory-store.ts';

export type Fault = 'none' | 'before' | 'after';

/** A disk whose operations fail as a script says, before or after they took effect. */
export class FaultyDisk {
  operations = 0;
  readonly #fault: (operation: number) => Fault;

  constructor(fault: (operation: number) => Fault) {
    this.#fault = fault;
  }

  async do(work: () => Promise<void>): Promise<void> {
    const fault = this.#fault(++this.operations);
    if (fault !== 'before') await work();
    if (fault !== 'none') throw FULL;
  }
}

export class FaultyStore extends MemoryStore {
  readonly #disk: FaultyDisk;
  constructor(disk: FaultyDisk) {
    super();
    this.#disk = disk;
  }
  override write(rows: Rows, sync: boolean): Promise<void> {
    return this.#disk.do(() => super.write(rows, sync));
  }
  override reopen(): Promise<void> {
    return this.#disk.do(() => super.reopen());
  }
}

export class FaultyWatermark extends MemoryWatermark {
  readonly #disk: FaultyDisk;
  constructor(disk: FaultyDisk) {
    super();
    this.#disk = disk;
  }
  override write(value: number): Promise<void> {
    return this.#disk.do(() => super.write(value));
  }
}

export class FaultyMark extends MemoryMark {
  readonly #disk: FaultyDisk;
  constructor(disk: FaultyDisk) {
    super();
    this.#disk = disk;
  }
  /** What the next start would find. */
  written = false;
  override async make(): Promise<void> {
    await this.#disk.do(async () => {
      this.written = true;
    });
    await super.make();
  }
}
