// SPDX-License-Identifier: Apache-2.0
import { constants, type FileHandle, open } from 'node:fs/promises';
import { crc32 } from 'node:zlib';

/** Each on a block of its own: a write that is torn spoils only one of them. */
const SLOT = 4096;
const SLOTS = 2;
/** The number, right-aligned, its CRC-32, and a line break. */
const TEXT = /^ *(\d+) ([0-9a-f]{8})\n/;
const DIGITS = 16;

export type CommitMark = Pick<Watermark, 'value' | 'write' | 'close'>;

/**
 * The number of the last batch whose acceptances count, in a file of its own. It is written in
 * place, into two slots by turns, so that a full disk does not stop it and a torn write leaves the
 * number before.
 */
export class Watermark {
  readonly #file: FileHandle;
  /** The greatest number that is on disk; undefined if the file is new, or has none that is intact. */
  #value: number | undefined;
  #slot: number;

  private constructor(file: FileHandle, value: number | undefined, slot: number) {
    this.#file = file;
    this.#value = value;
    this.#slot = slot;
  }

  /**
   * Opens the file, or makes it with the number 0.
   *
   * @throws Error of the file system
   */
  static async open(path: string): Promise<Watermark> {
    const { O_RDWR, O_CREAT, O_NOFOLLOW } = constants;
    const file = await open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0o600);
    try {
      const bytes = await file.readFile();
      if (bytes.length === 0) {
        const made = new Watermark(file, undefined, 0);
        for (let slot = 0; slot < SLOTS; slot++) await made.write(0);
        made.#value = undefined;
        return made;
      }
      const values = Array.from({ length: SLOTS }, (_, slot) => read(bytes, slot * SLOT));
      const value = values.reduce((a, b) => (a === undefined || (b ?? -1) > a ? b : a), undefined);
      const mark = new Watermark(file, value, value === values[0] ? 1 : 0);
      // What was read may not have reached the disk: then a power failure would take it back.
      if (value !== undefined) await mark.write(value);
      return mark;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  get value(): number | undefined {
    return this.#value;
  }

  /**
   * @param sync whether the number outlives a power failure once it resolves
   * @throws Error of the file system; then either number may be on disk
   */
  async write(value: number, sync = true): Promise<void> {
    const number = String(value).padStart(DIGITS);
    const text = `${number} ${crc32(number).toString(16).padStart(8, '0')}\n`;
    // Filled up, so that no later write needs room.
    const block = Buffer.alloc(SLOT, '\n');
    block.write(text, 'latin1');
    await this.#file.write(block, 0, SLOT, this.#slot * SLOT);
    if (sync) await this.#file.datasync();
    this.#slot = (this.#slot + 1) % SLOTS;
    this.#value = value;
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}

function read(bytes: Buffer, at: number): number | undefined {
  const [, digits, crc] = TEXT.exec(bytes.toString('latin1', at, at + SLOT)) ?? [];
  if (digits === undefined || crc === undefined) return undefined;
  const whole = crc32(digits.padStart(DIGITS)) === Number.parseInt(crc, 16);
  return whole ? Number(digits) : undefined;
}
