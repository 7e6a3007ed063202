// SPDX-License-Identifier: Apache-2.0
import type { IWatchResponse, Watcher } from 'etcd3';

/**
 * Makes a watcher go on behind the last event that it received. By itself it goes on behind the
 * revision that etcd had when it last said anything, even that the watch has begun: events that were
 * still to come are skipped if the connection is lost then.
 *
 * @param from the revision that the watch begins with
 * @returns tells which revision a response completes
 */
export function resumeExactly(
  watcher: Pick<Watcher, 'on' | 'request'>,
  from: number,
): (response: IWatchResponse) => number {
  let complete = from - 1;
  watcher.on('disconnected', () => {
    watcher.request.start_revision = String(complete + 1);
  });
  return ({ events, header }) => {
    const last = events.at(-1);
    // Without events it says that there are none up to its own revision.
    complete = Number(last === undefined ? header.revision : last.kv.mod_revision);
    return complete;
  };
}
