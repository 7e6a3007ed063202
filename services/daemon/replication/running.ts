// SPDX-License-Identifier: Apache-2.0
import { setMaxListeners } from 'node:events';
import { Problem } from '../../http/problems/problem.ts';
import type { Device } from '../devices/device.ts';
import type { Dependencies } from './dependencies.ts';
import { type Away, PeerLink } from './peer-link.ts';
import { RateLimit } from './rate-limit.ts';
import type { Replication } from './replication.ts';
import { progressRows } from './rows.ts';
import { needsFlush, Run } from './run.ts';

/** Why it stops; `suspended`: the next daemon resumes it. */
export type StopReason = Problem | 'suspended';

/** A replication that runs: its connections to the peer, its rate, and how it is stopped. */
export class RunningReplication {
  readonly #replication: Replication;
  readonly #dependencies: Dependencies;
  readonly #stop = new AbortController();
  readonly #link: PeerLink;
  readonly #rate: RateLimit;
  readonly #run: Run;

  /**
   * @param device that is written to
   * @param progressed is called when it has come further
   */
  constructor(
    replication: Replication,
    device: Device,
    dependencies: Dependencies,
    progressed: () => void,
  ) {
    this.#replication = replication;
    this.#dependencies = dependencies;
    const { instance, engine, peers, pastNodeFrom, observer, patience } = dependencies;
    const { queue, unflushed, buffers } = dependencies;
    const { request, origin, settings, progress } = replication;
    const { signal } = this.#stop;
    // Each fetch, wait and read adds a listener.
    setMaxListeners(0, signal);
    this.#link = new PeerLink({
      name: request.peer,
      ...{ instance, engine, pastNodeFrom },
      find: () => peers.find(request.peer),
      headers: origin.trace && { ...origin.trace },
      signal,
      received: (bytes) => {
        progress.bytesOnWire += bytes;
        observer.received(bytes);
      },
      changed: () => dependencies.changed('status', replication),
      ...(patience !== undefined && { patience }),
    });
    this.#rate = new RateLimit(settings.bytes_per_second);
    this.#run = new Run({
      ...dependencies,
      ...{ progress, link: this.#link, rate: this.#rate, signal, mode: request.mode },
      buffers: buffers.share(),
      source: { device: request.src_device_name, offset: request.src_offset },
      destination: { device, offset: request.dst_offset },
      pace: (bytes) => queue.pace(origin.client, bytes),
      priority: () => replication.settings.priority,
      unflushed: needsFlush(device, unflushed.isPersistent(device)),
      save: () => dependencies.journal.record(progressRows(replication)),
      consistencyChanged: () => dependencies.consistencyChanged(replication),
      progressed,
    });
  }

  /** Since when the peer does not answer, and why; undefined while it does. */
  get away(): Away | undefined {
    return this.#link.away;
  }

  /** Its limit from now on; null: none. */
  set bytesPerSecond(rate: number | null) {
    this.#rate.bytesPerSecond = rate;
  }

  /** Has it stop; {@link run} settles once it has. */
  stop(reason: StopReason): void {
    this.#stop.abort(reason);
  }

  /** @returns once it has ended: why, unless it has succeeded */
  async run(): Promise<StopReason | undefined> {
    const { signal } = this.#stop;
    let error: unknown;
    try {
      await this.#run.run((first) => this.#stop.abort(first));
      if (signal.aborted) error = signal.reason;
    } catch (thrown) {
      error = signal.aborted ? signal.reason : thrown;
    }
    const { log } = this.#dependencies;
    await this.#link
      .close()
      .catch((failure) => log.warn({ err: failure }, 'cannot close a connection'));
    if (error === undefined || error === 'suspended' || error instanceof Problem) return error;
    log.error({ err: error, replication: this.#replication.id }, 'a replication failed');
    const detail = 'The replication failed because of an internal error; see the log.';
    return new Problem('internal_error', detail);
  }
}
