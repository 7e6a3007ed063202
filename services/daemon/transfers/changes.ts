// SPDX-License-Identifier: Apache-2.0
import { patchedLabels } from './labels.ts';
import type { TransferPatch } from './request-schema.ts';
import type { TransferPlan } from './transfer.ts';

/** What a client may still change of a transfer that has not finished. */
export type TransferSettings = Pick<TransferPlan, 'priority' | 'timeoutMs' | 'labels'>;

/**
 * Applies a merge patch (RFC 7396): what it does not name stays, and null gives the default.
 *
 * @throws Problem invalid_request if there are too many labels then
 */
export function patched(settings: TransferSettings, patch: TransferPatch): TransferSettings {
  const { priority = settings.priority, timeout_ms: timeoutMs = settings.timeoutMs } = patch;
  return {
    priority: priority ?? 'normal',
    timeoutMs: timeoutMs ?? undefined,
    labels: patch.labels === undefined ? settings.labels : patchedLabels(settings, patch.labels),
  };
}

/** Changes of one transfer, or of one replication, which are made one after the other. */
export class ChangeQueue {
  #last: Promise<void> | undefined;

  /** While a change is on its way: until the last one is made, or has failed. */
  get pending(): Promise<void> | undefined {
    return this.#last;
  }

  /** @param change is called once those before it are through */
  run<Result>(change: () => Promise<Result>): Promise<Result> {
    const before = this.#last;
    const result = (async () => {
      await before;
      return change();
    })();
    const settled = result.then(
      () => {},
      () => {},
    );
    this.#last = settled;
    void settled.then(() => {
      if (this.#last === settled) this.#last = undefined;
    });
    return result;
  }
}
