// SPDX-License-Identifier: Apache-2.0
import type { z } from 'zod';
import { readJson } from '../../base/read-json.ts';
import { SegmentList } from '../../base/segments.ts';
import { Problem } from '../../http/problems/problem.ts';
import type { Device } from '../devices/device.ts';
import type { EngineChoice } from '../engines/choice.ts';
import { NOWHERE } from '../engines/records.ts';
import type { ElapsedClock } from '../journal/elapsed.ts';
import type { Row } from '../journal/stored-rows.ts';
import { shownSegments } from './document.ts';
import type { TransferRequest } from './request-schema.ts';
import {
  acceptedSchema,
  begunSchema,
  changedSchema,
  dependenciesSchema,
  deviceSchema,
  endedSchema,
  isChange,
  partsOf,
} from './rows.ts';
import { type Change, type Origin, type Outcome, Transfer, type TransferPlan } from './transfer.ts';

const MAX_SHARED = 1000;
const NONE: readonly string[] = [];
const NO_RETRIES = Object.freeze({ retries: 0 });
const NO_LABELS = Object.freeze({});
const NO_DEPENDENCIES = Object.freeze({ ids: [], open: [] });

const foreignDevice = deviceSchema.extend({
  kind: deviceSchema.shape.kind.catch('devdax'),
  size: deviceSchema.shape.size.catch(0),
  identity: deviceSchema.shape.identity.catch(''),
  flush_basis: deviceSchema.shape.flush_basis.catch('none'),
});

/**
 * An accepted row of a later version, as far as it can be read: enough to show its transfer to its
 * client. What it does not say, or says in words that this version does not know, is made up.
 */
const foreignSchema = acceptedSchema.extend({
  source: foreignDevice,
  destination: foreignDevice,
  operation: acceptedSchema.shape.operation.catch('copy'),
  segments: acceptedSchema.shape.segments.catch([0, 0, 0]),
  segmented: acceptedSchema.shape.segmented.catch(false),
  requested_engine: acceptedSchema.shape.requested_engine.catch('auto'),
  choice: acceptedSchema.shape.choice.catch({ engine: 'cpu', reason: 'unknown', cpuBytes: 0 }),
  priority: acceptedSchema.shape.priority.catch('normal'),
  flush: acceptedSchema.shape.flush.catch(true),
  verify: acceptedSchema.shape.verify.catch(false),
  timeout_ms: acceptedSchema.shape.timeout_ms.catch(null),
  labels: acceptedSchema.shape.labels.catch({}),
  request_id: acceptedSchema.shape.request_id.catch('unknown'),
  key: acceptedSchema.shape.key.catch(null),
  traceparent: acceptedSchema.shape.traceparent.catch(undefined),
  tracestate: acceptedSchema.shape.tracestate.catch(undefined),
});

/** What the journal says of a transfer. */
export interface TransferRecord {
  id: string;
  accepted: z.output<typeof acceptedSchema>;
  /** It has begun to copy, as far as that was written down. */
  begun: z.output<typeof begunSchema> | undefined;
  /** Work that a crash forgets had begun to write its source. */
  unsettled: boolean;
  change: Change | undefined;
  dependencies: Readonly<z.output<typeof dependenciesSchema>>;
  /** Keys of rows that this version does not understand, which are kept. */
  foreign: string[];
  /** Undefined if it was not over, or that cannot be read. */
  outcome: Outcome | undefined;
}

/**
 * Reads rows in the order of their keys.
 *
 * @param onUnreadable receives the key of each row that says nothing, for nobody could be shown it
 */
export function readRecords(
  rows: Iterable<Row>,
  onUnreadable: (key: string) => void,
): TransferRecord[] {
  const records: TransferRecord[] = [];
  for (const [key, value] of rows) {
    const [id, part] = partsOf(key);
    if (id === undefined) continue;
    const last = records.at(-1);
    if (part === 'accepted') {
      const accepted = readJson(acceptedSchema, value);
      const foreign = accepted === undefined ? [key] : [];
      const known = accepted ?? readJson(foreignSchema, value);
      if (known === undefined) onUnreadable(key);
      else {
        const unsettled = known.source_unsettled === true;
        const rest = {
          begun: undefined,
          change: undefined,
          dependencies: NO_DEPENDENCIES,
          unsettled,
          foreign,
          outcome: undefined,
        };
        records.push({ id, accepted: known, ...rest });
      }
      continue;
    }
    if (last?.id !== id) {
      // What was accepted is missing.
      onUnreadable(key);
      continue;
    }
    const begun = part === 'begun' ? readJson(begunSchema, value) : undefined;
    const ended = part === 'ended' ? readJson(endedSchema, value) : undefined;
    const changed = isChange(part ?? '') ? readJson(changedSchema, value) : undefined;
    const dependencies = part === 'dependencies' ? readJson(dependenciesSchema, value) : undefined;
    if (begun !== undefined) last.begun = begun;
    else if (dependencies !== undefined) last.dependencies = dependencies;
    else if (changed !== undefined) last.change = laterOf(last.change, changed);
    else if (ended !== undefined) last.outcome = readOutcome(ended);
    else if (part === 'unsettled') last.unsettled = true;
    else last.foreign.push(key);
  }
  return records;
}

/** Of a change and what another row has, the later one. */
function laterOf(change: Change | undefined, row: z.output<typeof changedSchema>): Change {
  const { number, priority, timeout_ms, labels } = row;
  if (change !== undefined && change.number > number) return change;
  return { number, settings: { priority, timeoutMs: timeout_ms ?? undefined, labels } };
}

/** What transfers of the past have in common, so that a history takes little memory. */
export class Shared {
  readonly #devices = new Map<string, Device>();
  readonly #choices = new Map<string, EngineChoice>();
  readonly #texts = new Map<string, string>();

  /** A device as it was; nothing can be copied from it or to it. */
  device({ name, kind, size, identity, flush_basis }: z.output<typeof deviceSchema>): Device {
    const described = `${name} ${kind} ${size} ${flush_basis} ${identity}`;
    return shared(this.#devices, described, () => ({
      ...{ name, kind, size, identity, flushBasis: flush_basis },
      ...{ path: '', uuid: null, resource: null, align: 0, numaNode: null, badBlocks: [] },
      ...{ persistenceDomain: 'unknown', state: 'online', stateReason: null },
      ...{ instance: 0, handle: NOWHERE },
    }));
  }

  /** A string that many have. */
  text(text: string): string {
    return shared(this.#texts, text, () => text);
  }

  choice(choice: EngineChoice): EngineChoice {
    return shared(this.#choices, `${choice.engine} ${choice.reason}`, () => choice);
  }
}

/** The value that was there first under that name. */
function shared<Value>(values: Map<string, Value>, name: string, make: () => Value): Value {
  const known = values.get(name);
  if (known !== undefined) return known;
  // Reasons name figures, so they may be many; then they are shared by fewer.
  if (values.size >= MAX_SHARED) values.clear();
  const value = make();
  values.set(name, value);
  return value;
}

/** The transfer as it was, on devices as they were: to be looked at, not to be run. */
export function transferOf(
  record: TransferRecord,
  clock: ElapsedClock,
  shared = new Shared(),
): Transfer {
  const { accepted, outcome } = record;
  const client = shared.text(accepted.client);
  const own = { ...record, accepted: { ...accepted, client } };
  const transfer = transferWithPlan(own, planOf(record, shared), clock);
  if (outcome !== undefined) {
    const channels = outcome.channels.length === 0 ? NONE : outcome.channels;
    transfer.finish({ ...outcome, channels, choice: shared.choice(outcome.choice) });
  }
  return transfer;
}

/** An earlier daemon's transfer with a plan of this one. */
export function transferWithPlan(
  { id, accepted, change }: TransferRecord,
  plan: TransferPlan,
  clock: ElapsedClock,
): Transfer {
  const { accepted_ms: wallMs } = accepted;
  const byWall = clock.now() - Math.max(0, Date.now() - wallMs);
  const elapsedMs = accepted.accepted_elapsed_ms ?? byWall;
  const transfer = new Transfer(id, plan, originOf(accepted), clock, { elapsedMs, wallMs });
  transfer.change = change;
  return transfer;
}

/** What its client asked for. */
export function requestOf({ accepted, dependencies }: TransferRecord): TransferRequest {
  const { operation, pattern } = accepted;
  const segments = shownSegments({ segments: segmentsOf(accepted) });
  return {
    operation,
    ...(pattern !== undefined && { pattern }),
    device_name: accepted.source.name,
    ...(operation !== 'fill' && { dst_device_name: accepted.destination.name }),
    ...(accepted.segmented ? { segments } : segments[0]),
    engine: accepted.requested_engine,
    ...(operation !== 'compare' && {
      durability: accepted.flush ? 'flush' : 'none',
      verify: accepted.verify ? 'crc32c' : 'none',
    }),
    ...(accepted.timeout_ms !== null && { timeout_ms: accepted.timeout_ms }),
    priority: accepted.priority,
    labels: accepted.labels,
    ...(dependencies.ids.length > 0 && { depends_on: dependencies.ids }),
    dry_run: false,
  };
}

function originOf({ request_id, client, key, ...rest }: TransferRecord['accepted']): Origin {
  const { traceparent, tracestate } = rest;
  const trace =
    traceparent === undefined
      ? undefined
      : { traceparent, ...(tracestate !== undefined && { tracestate }) };
  return { requestId: request_id, client, key: key ?? undefined, trace };
}

function segmentsOf({ segments: numbers, operation }: TransferRecord['accepted']): SegmentList {
  const whole = numbers.length - (numbers.length % 3);
  return new SegmentList(Float64Array.from(numbers.slice(0, whole)), operation !== 'fill');
}

function planOf({ accepted, dependencies }: TransferRecord, shared: Shared): TransferPlan {
  const segments = segmentsOf(accepted);
  return {
    operation: accepted.operation,
    pattern: accepted.pattern,
    source: shared.device(accepted.source),
    destination: shared.device(accepted.destination),
    segments,
    segmented: accepted.segmented,
    bytes: segments.bytes,
    requestedEngine: accepted.requested_engine,
    choice: shared.choice(accepted.choice),
    priority: accepted.priority,
    flush: accepted.flush,
    verify: accepted.verify,
    timeoutMs: accepted.timeout_ms ?? undefined,
    labels: Object.keys(accepted.labels).length === 0 ? NO_LABELS : accepted.labels,
    dependsOn: dependencies.ids,
  };
}

function readOutcome(ended: z.output<typeof endedSchema>): Outcome {
  const { status, error, choice, channels } = ended;
  const { bytes_completed, started_ns, finished_ns, completion } = ended;
  return {
    ...{ status, choice, channels },
    error: error === null ? undefined : readProblem(error),
    bytesCompleted: bytes_completed,
    startedNs: started_ns ?? undefined,
    finishedNs: finished_ns,
    completion: completion === null ? undefined : reportOf(completion),
  };
}

function reportOf({ dma, ...report }: NonNullable<z.output<typeof endedSchema>['completion']>) {
  const { copyNs, flushNs, verifyNs, segment, sourceCrc, destinationCrc, difference } = report;
  const sums = { segment, sourceCrc, destinationCrc, difference };
  return { copyNs, flushNs, verifyNs, ...sums, dma: dma.retries === 0 ? NO_RETRIES : dma };
}

function readProblem(error: NonNullable<z.output<typeof endedSchema>['error']>): Problem {
  const { code, detail, errors, dma } = error;
  return new Problem(code, detail, { ...(errors && { errors }), ...(dma && { dma }) });
}
