// SPDX-License-Identifier: Apache-2.0
import { z } from 'zod';
import { readJson } from '../../base/read-json.ts';
import type { FleetTransfer, FleetTransferRequest } from './schema.ts';

/** Of what stands in etcd: a gateway that does not know it leaves the record alone. */
const FORMAT = 1;

/** What was accepted, and never changes. */
export interface Accepted {
  id: string;
  client: string;
  /** The one that does the work: of a replication, the destination's. */
  host: string;
  request: FleetTransferRequest;
  /** Milliseconds since 1970. */
  acceptedAt: number;
  /** Where its Idempotency-Key is in etcd, if it has one. */
  usedKey?: string | undefined;
  traceparent?: string | undefined;
  /** What it waits for: those of depends_on that had not succeeded when it was accepted. */
  waitsFor: readonly string[];
}

/** How far a transfer has come that has not ended. */
export type Progress =
  /** In etcd, and not known to be with its host. */
  | { is: 'accepted' }
  /** Its host has it, under this id. */
  | { is: 'handed_over'; hostId: string };

/** A transfer that has not ended, as it stands in etcd. */
export interface RunningRecord extends Accepted {
  progress: Progress;
}

/** One that has ended, as it stands in etcd. */
export interface EndedRecord {
  id: string;
  client: string;
  host: string;
  /** As its host reported it last, or as the fleet ended it; under the fleet's id. */
  document: FleetTransfer;
  /** The host refused it: nothing was done. */
  refused: boolean;
}

/** What an Idempotency-Key stands for. */
export interface UsedKey {
  id: string;
  /** Of what the request means. */
  digest: string;
  /** A batch is being accepted that uses it; it is free again if that is not. */
  reserved?: true | undefined;
}

const progressSchema = z.discriminatedUnion('is', [
  z.object({ is: z.literal('accepted') }),
  z.object({ is: z.literal('handed_over'), hostId: z.string() }),
]);

const runningSchema = z.object({
  format: z.literal(FORMAT),
  id: z.string(),
  client: z.string(),
  host: z.string(),
  request: z.custom<FleetTransferRequest>((value) => typeof value === 'object' && value !== null),
  acceptedAt: z.number(),
  usedKey: z.string().optional(),
  traceparent: z.string().optional(),
  waitsFor: z.array(z.string()),
  progress: progressSchema,
});

const endedSchema = z.object({
  format: z.literal(FORMAT),
  id: z.string(),
  client: z.string(),
  host: z.string(),
  document: z.custom<FleetTransfer>((value) => typeof value === 'object' && value !== null),
  refused: z.boolean(),
});

const usedKeySchema = z.object({
  id: z.string(),
  digest: z.string(),
  reserved: z.literal(true).optional(),
});

export function writeRunning(record: RunningRecord): string {
  const { id, client, host, request, acceptedAt, usedKey, traceparent, waitsFor, progress } =
    record;
  return JSON.stringify({
    ...{ format: FORMAT, id, client, host, request, acceptedAt, usedKey, traceparent },
    ...{ waitsFor, progress },
  });
}

export function writeEnded({ id, client, host, document, refused }: EndedRecord): string {
  return JSON.stringify({ format: FORMAT, id, client, host, document, refused });
}

export function writeUsedKey(key: UsedKey): string {
  return JSON.stringify(key);
}

/** @returns undefined for what another version wrote in a way that this one does not know */
export function readRunning(text: string): RunningRecord | undefined {
  return readJson(runningSchema, text);
}

export function readEnded(text: string): EndedRecord | undefined {
  return readJson(endedSchema, text);
}

export function readUsedKey(text: string): UsedKey | undefined {
  return readJson(usedKeySchema, text);
}
