// SPDX-License-Identifier: Apache-2.0

/** Bytes of a cell, its head included. */
const CELL_SIZE = 320;
/** A cell's head: the next cell, of the same record or free, and the record's length. */
const HEAD_SIZE = 8;
const ROOM = CELL_SIZE - HEAD_SIZE;
/** Cells that are allocated at a time. */
const SLAB_CELLS = 1024;
/** Behind the last cell. */
const NONE = 0xffff_ffff;

/**
 * Records of bytes outside V8's heap, where its garbage collector does not look at them. A record takes
 * as many cells of a fixed size as it needs, so that nothing is fragmented, however records come and go.
 */
export class Cells {
  readonly #slabs: Buffer[] = [];
  readonly #views: DataView[] = [];
  #free = NONE;

  /** Bytes that are allocated. They are kept for the records to come. */
  get allocated(): number {
    return this.#slabs.length * SLAB_CELLS * CELL_SIZE;
  }

  /** Keeps a copy of these bytes, of which there is at least one. @returns the record's number */
  add(bytes: Buffer): number {
    const first = this.#take();
    for (let cell = first, from = 0; ; from += ROOM) {
      const last = bytes.length - from <= ROOM;
      const at = offsetOf(cell);
      bytes.copy(this.#slabOf(cell), at + HEAD_SIZE, from, last ? bytes.length : from + ROOM);
      const next = last ? NONE : this.#take();
      const view = this.#viewOf(cell);
      view.setUint32(at, next, true);
      view.setUint32(at + 4, bytes.length, true);
      if (last) return first;
      cell = next;
    }
  }

  /** @returns the bytes of a record; not to be written to, and not to be kept */
  get(record: number): Buffer {
    const length = this.#viewOf(record).getUint32(offsetOf(record) + 4, true);
    if (length <= ROOM) return this.#roomOf(record).subarray(0, length);
    const parts: Buffer[] = [];
    for (let cell = record; cell !== NONE; cell = this.#nextOf(cell)) {
      parts.push(this.#roomOf(cell));
    }
    return Buffer.concat(parts, length);
  }

  remove(record: number): void {
    let last = record;
    for (let next = this.#nextOf(last); next !== NONE; next = this.#nextOf(last)) last = next;
    this.#viewOf(last).setUint32(offsetOf(last), this.#free, true);
    this.#free = record;
  }

  // Parts of a record, which must lie in its first cell.

  byteAt(record: number, at: number): number {
    return this.#viewOf(record).getUint8(offsetOf(record) + HEAD_SIZE + at);
  }

  uintAt(record: number, at: number): number {
    return this.#viewOf(record).getUint32(offsetOf(record) + HEAD_SIZE + at, true);
  }

  doubleAt(record: number, at: number): number {
    return this.#viewOf(record).getFloat64(offsetOf(record) + HEAD_SIZE + at, true);
  }

  latin1At(record: number, at: number, length: number): string {
    const start = offsetOf(record) + HEAD_SIZE + at;
    return this.#slabOf(record).toString('latin1', start, start + length);
  }

  #roomOf(cell: number): Buffer {
    const at = offsetOf(cell);
    return this.#slabOf(cell).subarray(at + HEAD_SIZE, at + CELL_SIZE);
  }

  #nextOf(cell: number): number {
    return this.#viewOf(cell).getUint32(offsetOf(cell), true);
  }

  #slabOf(cell: number): Buffer {
    return this.#slabs[Math.floor(cell / SLAB_CELLS)] as Buffer;
  }

  #viewOf(cell: number): DataView {
    return this.#views[Math.floor(cell / SLAB_CELLS)] as DataView;
  }

  #take(): number {
    if (this.#free === NONE) this.#grow();
    const cell = this.#free;
    this.#free = this.#nextOf(cell);
    return cell;
  }

  #grow(): void {
    const first = this.#slabs.length * SLAB_CELLS;
    const slab = Buffer.allocUnsafeSlow(SLAB_CELLS * CELL_SIZE);
    const view = new DataView(slab.buffer);
    for (let n = 0; n < SLAB_CELLS; n++) {
      view.setUint32(n * CELL_SIZE, n === SLAB_CELLS - 1 ? NONE : first + n + 1, true);
    }
    this.#slabs.push(slab);
    this.#views.push(view);
    this.#free = first;
  }
}

function offsetOf(cell: number): number {
  return (cell % SLAB_CELLS) * CELL_SIZE;
}
