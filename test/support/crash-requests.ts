// SPDX-License-Identifier: Apache-2.0
import { randomUUID } from 'node:crypto';
import {
  BLOCK,
  type Comparison,
  DEVICES,
  filled,
  type Ranges,
  type Region,
  randomRanges,
} from './crash-model.ts';
import type { Random } from './random.ts';

/** What a worker asks for: some more often than others. */
const KINDS = ['copy', 'copy', 'copy', 'copy', 'fill', 'compare'] as const;
type Kind = (typeof KINDS)[number];

export interface Upload {
  kind: 'upload';
  ranges: Ranges;
  value: number;
  answered: boolean;
}

export interface Transfer {
  kind: Kind;
  ranges: Ranges;
  /** What a fill brings. */
  value: number | undefined;
  key: string | undefined;
  body: { depends_on: string[]; idempotency_key?: string };
  label: string;
  dependencies: Transfer[];
  id: string | undefined;
  /** It was stopped for the journal, wherever it was. */
  stopped: boolean;
  answered: boolean;
  /** 201 without a key: a crash may lose it, though not its bytes. */
  succeeded: boolean;
  /** What that answer said of a compare. */
  comparison: Comparison;
  /** Changes of a label, in order, but for those that were refused. */
  changes: { value: string; answered: boolean }[];
}

/** Transfers that are accepted together, or not at all. */
export interface Batch {
  kind: 'batch';
  label: string;
  keyed: boolean;
  transfers: Transfer[];
  answered: boolean;
}

/** What was asked for at once. */
export type Request = Upload | Transfer | Batch;

export function uploadTo(region: Region, device: number, block: number): Upload {
  const pieces = [{ from: block, to: block, blocks: 1 }];
  const ranges = { source: device, destination: device, pieces };
  return { kind: 'upload', ranges, value: region.newValue(), answered: false };
}

/**
 * @param earlier that it may depend on, if they have been answered
 * @param members `keyed`: whether it has a key; `labels`: more of them
 */
export function randomTransfer(
  random: Random,
  region: Region,
  earlier: readonly Transfer[],
  { keyed = random.integer(1, 2) === 1, labels = {} } = {},
): Transfer {
  const key = keyed ? randomUUID() : undefined;
  const kind = random.pick(KINDS);
  const ranges = rangesOf(kind, random, earlier);
  const { source, destination, pieces } = ranges;
  const value = kind === 'fill' ? region.newValue() : undefined;
  const label = randomUUID();
  const segments = pieces.map(({ from, to, blocks }) => ({
    ...(kind !== 'fill' && { src_offset: region.offsetOf(from) }),
    dst_offset: region.offsetOf(to),
    size: blocks * BLOCK,
  }));
  const dependencies = randomDependencies(random, earlier);
  const body = {
    operation: kind,
    ...(value === undefined
      ? { device_name: DEVICES[source], dst_device_name: DEVICES[destination] }
      : { device_name: DEVICES[destination], pattern: filled(value).toString('hex', 0, 4) }),
    segments,
    ...(kind !== 'compare' && { durability: random.pick(['none', 'flush']) }),
    depends_on: dependencies.map(({ id }) => id as string),
    labels: { label, ...(key !== undefined && { key }), ...labels },
  };
  return {
    ...{ kind, ranges, value, key, body, label, dependencies },
    ...{ id: undefined, stopped: false, answered: false, succeeded: false, comparison: null },
    changes: [],
  };
}

/** Of compares half are of what was copied before, so that some find no difference. */
function rangesOf(kind: Kind, random: Random, earlier: readonly Transfer[]): Ranges {
  const copied = earlier.findLast((one) => one.kind === 'copy');
  const again = kind === 'compare' && copied !== undefined && random.integer(1, 2) === 1;
  return again ? copied.ranges : randomRanges(random);
}

function randomDependencies(random: Random, earlier: readonly Transfer[]): Transfer[] {
  const answered = earlier.filter(({ id }) => id !== undefined);
  if (answered.length === 0 || random.integer(1, 3) > 1) return [];
  return [...new Set([random.pick(answered), random.pick(answered)])];
}

/** Each of its transfers depends on an earlier one, or none. All have keys, or none has. */
export function randomBatch(random: Random, region: Region, earlier: readonly Transfer[]): Batch {
  const label = randomUUID();
  const keyed = random.integer(1, 2) === 1;
  const transfers: Transfer[] = [];
  for (let count = random.integer(2, 5); count > 0; count--) {
    const transfer = randomTransfer(random, region, earlier, {
      keyed,
      labels: { batch: label },
    });
    const { body, key } = transfer;
    if (key !== undefined) body.idempotency_key = key;
    const before = random.integer(0, transfers.length);
    const dependency = transfers[before];
    if (dependency !== undefined) {
      transfer.dependencies.push(dependency);
      body.depends_on.push(`#${before}`);
    }
    transfers.push(transfer);
  }
  return { kind: 'batch', label, keyed, transfers, answered: false };
}
