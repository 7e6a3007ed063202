// SPDX-License-Identifier: Apache-2.0
import { type Signal, signal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import type {
  CallOptions,
  Engines,
  FleetHost,
  Readiness,
  StreamList,
  Version,
} from '../../client/index.ts';
import { type MetricSample, parseMetrics } from '../model/prometheus.ts';
import { adoptDevice, type Device } from '../model/transfer.ts';
import { client, messageOf } from './api.ts';
import { paused } from './pause.ts';
import { lockedOut } from './session.ts';

const DEADLINE_MS = 10_000;

/** What has no event is asked for now and then, while somebody looks at it. */
export class Poll<T> {
  readonly value: Signal<T | undefined> = signal(undefined);
  readonly error: Signal<string | undefined> = signal(undefined);
  readonly #ask: (options: CallOptions) => Promise<T>;
  readonly #everyMs: number;
  #users = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #asking = false;

  constructor(everyMs: number, ask: (options: CallOptions) => Promise<T>) {
    this.#everyMs = everyMs;
    this.#ask = ask;
  }

  /** @returns what ends the use */
  use(): () => void {
    if (this.#users++ === 0) this.#next(0);
    return () => {
      if (--this.#users === 0) clearTimeout(this.#timer);
    };
  }

  /** Asks at once, if somebody uses it. */
  refresh(): void {
    if (this.#users > 0 && !this.#asking) this.#next(0);
  }

  /** What was asked for with another token is nobody's business. */
  clear(): void {
    this.value.value = undefined;
    this.error.value = undefined;
    this.refresh();
  }

  #next(inMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#poll(), inMs);
  }

  async #poll(): Promise<void> {
    if (!document.hidden && !paused.value && lockedOut.value === undefined) {
      this.#asking = true;
      try {
        this.value.value = await this.#ask({ retryForMs: 0, deadlineMs: DEADLINE_MS });
        this.error.value = undefined;
      } catch (error) {
        this.error.value = messageOf(error);
      }
      this.#asking = false;
    }
    // Behind the answer: slow ones must not pile up.
    if (this.#users > 0) this.#next(this.#everyMs);
  }
}

/** A daemon's, or a gateway's, which has fewer. */
type Versions = Pick<Version, 'api' | 'node'> & Partial<Version> & { fleet?: string };

export const devices = new Poll<Device[]>(5000, async (options) =>
  (await client.listDevices(options)).map(adoptDevice),
);
/** They have no events; somebody who looks sees them move. */
export const streams = new Poll<StreamList>(1000, (options) => client.listStreams(options));
export const hosts = new Poll<FleetHost[]>(2000, (options) => client.listHosts(options));
export const readiness = new Poll<Readiness>(5000, (options) => client.isReady(options));
export const engines = new Poll<Engines>(2000, (options) => client.listEngines(options));
export const version = new Poll(60_000, (options): Promise<Versions> => client.getVersion(options));
export const whoami = new Poll(5000, (options) => client.whoami(options));
export const metrics = new Poll<Map<string, MetricSample[]>>(5000, async (options) =>
  parseMetrics(await client.getMetrics(options)),
);

const ALL = [devices, streams, hosts, readiness, engines, version, whoami, metrics];

export function refreshPolls(): void {
  for (const poll of ALL) poll.refresh();
}

export function clearPolls(): void {
  for (const poll of ALL) (poll as Poll<unknown>).clear();
}

/** Keeps a poll going while the component is shown. */
export function usePoll<T>(poll: Poll<T>): T | undefined {
  useEffect(() => poll.use(), [poll]);
  return poll.value.value;
}
