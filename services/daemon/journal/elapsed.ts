// SPDX-License-Identifier: Apache-2.0
import { randomUUID } from 'node:crypto';
import { uptime } from 'node:os';
import { z } from 'zod';
import { readBootId } from '../../base/boot-id.ts';
import { readJson } from '../../base/read-json.ts';
import type { Rows } from './store.ts';

export const CLOCK_KEY = 'clock';

const readingSchema = z.object({
  /** Another one each time that the host starts. */
  boot_id: z.string(),
  /** Milliseconds since the host started, those suspended included (CLOCK_BOOTTIME). */
  uptime_ms: z.number(),
  /** Milliseconds of the wall clock, which may be wrong, and be set. */
  wall_ms: z.number(),
});

/** What the host's clocks say at one moment. */
export type Reading = z.output<typeof readingSchema>;

const anchorSchema = readingSchema.extend({ elapsed_ms: z.number() });

export function readClocks(): Reading {
  return {
    // Where /proc is masked, each daemon takes itself for the first since the host started.
    boot_id: readBootId() ?? randomUUID(),
    uptime_ms: uptime() * 1000,
    wall_ms: Date.now(),
  };
}

/**
 * Milliseconds that have passed for certain between two readings, and perhaps more. Across a start
 * of the host it is the time since that start, unless the wall clock knows of less; how long the
 * host was off no clock can tell that may have been set.
 */
export function certainlyPassedMs(from: Reading, to: Reading): number {
  const sinceFrom = to.uptime_ms - from.uptime_ms;
  // In containers the uptime may be theirs, and begin again while the host goes on.
  if (from.boot_id === to.boot_id && sinceFrom >= 0) return sinceFrom;
  return Math.max(0, Math.min(to.uptime_ms, to.wall_ms - from.wall_ms));
}

/**
 * A clock for what is kept in the journal: it goes on from one daemon to the next, and nobody can
 * set it. It may lose time, while the host is off above all, but is never fast: so nothing that is
 * to be kept for 24 h, or has an hour left, loses a minute of that.
 */
export class ElapsedClock {
  readonly #startedAt = performance.now();
  readonly #startedWithMs: number;
  /** Which start of the host this is. */
  readonly bootId: string;
  /** Whether it is known that no earlier daemon ran since the host started. */
  readonly firstSinceBoot: boolean;

  /** @param rows of the journal; without a row of this clock it starts at 0 */
  constructor(rows: Iterable<[key: string, value: string]> = [], now = readClocks()) {
    const anchor = findAnchor(rows);
    this.bootId = now.boot_id;
    this.firstSinceBoot = anchor !== undefined && anchor.boot_id !== now.boot_id;
    this.#startedWithMs =
      anchor === undefined ? 0 : anchor.elapsed_ms + certainlyPassedMs(anchor, now);
  }

  /** Milliseconds, by which times in the journal are told apart. */
  now(): number {
    return this.#startedWithMs + performance.now() - this.#startedAt;
  }

  /** @returns the row from which the next daemon's clock goes on */
  row(): Rows {
    const anchor = { ...readClocks(), elapsed_ms: this.now() };
    return new Map([[CLOCK_KEY, JSON.stringify(anchor)]]);
  }
}

function findAnchor(rows: Iterable<[string, string]>): z.output<typeof anchorSchema> | undefined {
  for (const [key, value] of rows) {
    // Without it the clock loses time, and nothing else.
    if (key === CLOCK_KEY) return readJson(anchorSchema, value);
  }
  return undefined;
}
