// SPDX-License-Identifier: Apache-2.0
import { constants, type FileHandle, open } from 'node:fs/promises';

/** Of the same length: on a full disk a file can still be written over in place. */
const TRUSTED = 'trusted\n';
const DOUBTED = 'doubted\n';

export type Mark = Pick<DoubtMark, 'set' | 'make' | 'clear' | 'close'>;

/**
 * A mark on disk: what the journal says of unfinished transfers may be older than what happened to
 * the bytes. It can be made though the disk is full, where the journal cannot be written.
 */
export class DoubtMark {
  readonly #file: FileHandle;
  #set: boolean;

  private constructor(file: FileHandle, set: boolean) {
    this.#file = file;
    this.#set = set;
  }

  /** Opens the mark, which is made at the first time. @throws Error of the file system */
  static async open(path: string): Promise<DoubtMark> {
    const { O_RDWR, O_CREAT, O_NOFOLLOW } = constants;
    const file = await open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0o600);
    try {
      const text = await file.readFile('latin1');
      // Anything else than what is written here is no reason to trust.
      const mark = new DoubtMark(file, text !== '' && text !== TRUSTED);
      if (text === '') await mark.#write(TRUSTED);
      return mark;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  get set(): boolean {
    return this.#set;
  }

  /** @returns once it outlives a power failure @throws Error where it cannot be made */
  async make(): Promise<void> {
    if (this.#set) return;
    await this.#write(DOUBTED);
    this.#set = true;
  }

  /** @throws Error where it stays */
  async clear(): Promise<void> {
    if (!this.#set) return;
    this.#set = false;
    try {
      await this.#write(TRUSTED);
    } catch (error) {
      this.#set = true;
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  async #write(text: string): Promise<void> {
    await this.#file.write(text, 0, 'latin1');
    await this.#file.sync();
  }
}
