// SPDX-License-Identifier: Apache-2.0

/** How often a replication's progress is written to the journal, in milliseconds. */
const SAVE_MS = 1000;
/** How often its watchers receive its progress, at most, in milliseconds. */
const PUBLISH_MS = 250;

/** Saves and publishes a replication's progress, now and then. */
export class ProgressReports {
  readonly #save: () => void;
  readonly #publish: () => void;
  #saving: NodeJS.Timeout | undefined;
  #publishing: NodeJS.Timeout | undefined;

  constructor(save: () => void, publish: () => void) {
    this.#save = save;
    this.#publish = publish;
  }

  /** It has come further. */
  note(): void {
    this.#saving ??= setTimeout(() => {
      this.#saving = undefined;
      this.#save();
    }, SAVE_MS).unref();
    this.#publishing ??= setTimeout(() => {
      this.#publishing = undefined;
      this.#publish();
    }, PUBLISH_MS).unref();
  }

  /** Makes no more reports, not even those that are due: the caller reports the last state itself. */
  stop(): void {
    clearTimeout(this.#saving);
    clearTimeout(this.#publishing);
    this.#saving = undefined;
    this.#publishing = undefined;
  }
}
