// SPDX-License-Identifier: Apache-2.0
import { constants, type FileHandle, open } from 'node:fs/promises';

/** Of the same length: on a full disk a file can still be written over in place. */
const TRUSTED = 'trusted\n';
const DOUBTED = 'doubted\n';

export type Mark = Pick<DoubtMark, 'set' | 'clean' | 'make' | 'clear' | 'close'>;

/** What the file says, as far as that is known: a write that failed may have been done. */
type Says = 'trusted' | 'doubted' | 'unknown';

/**
 * A mark on disk: what the journal says of unfinished transfers may be older than what happened to
 * the bytes. It can be made though the disk is full, where the journal cannot be written.
 */
export class DoubtMark {
  readonly #file: FileHandle;
  #says: Says;

  private constructor(file: FileHandle, says: Says) {
    this.#file = file;
    this.#says = says;
  }

  /** Opens the mark, which is made at the first time. @throws Error of the file system */
  static async open(path: string): Promise<DoubtMark> {
    const { O_RDWR, O_CREAT, O_NOFOLLOW } = constants;
    const file = await open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0o600);
    try {
      const text = await file.readFile('latin1');
      // Anything else than what is written here is no reason to trust.
      const mark = new DoubtMark(file, text === '' || text === TRUSTED ? 'trusted' : 'doubted');
      if (text === '') await mark.#write(TRUSTED, 'trusted');
      return mark;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** Whether it is certain to be there. */
  get set(): boolean {
    return this.#says === 'doubted';
  }

  /** Whether it is certain not to be there. */
  get clean(): boolean {
    return this.#says === 'trusted';
  }

  /** @returns once it outlives a power failure @throws Error if that is not certain */
  async make(): Promise<void> {
    if (!this.set) await this.#write(DOUBTED, 'doubted');
  }

  /** @throws Error if it may still be there */
  async clear(): Promise<void> {
    if (!this.clean) await this.#write(TRUSTED, 'trusted');
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  async #write(text: string, says: Says): Promise<void> {
    this.#says = 'unknown';
    await this.#file.write(text, 0, 'latin1');
    await this.#file.sync();
    this.#says = says;
  }
}
