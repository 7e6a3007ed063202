// SPDX-License-Identifier: Apache-2.0
import { z } from 'zod';
import { readJson } from '../../base/read-json.ts';
import { PRIORITY_NAMES } from '../../base/vocabulary.ts';
import { patchedLabels } from '../../daemon/transfers/labels.ts';
import type { FleetTransferPatch, FleetTransferRequest } from './schema.ts';

const settingsSchema = z.object({
  priority: z.enum(PRIORITY_NAMES),
  timeout_ms: z.number().nullable(),
  labels: z.record(z.string(), z.string()),
  bytes_per_second: z.number().nullable(),
});

/** What a client may change of a transfer that has not ended. */
export type Settings = z.output<typeof settingsSchema>;

/** @returns undefined for what another version wrote in a way that this one does not know */
export function readSettings(text: string): Settings | undefined {
  return readJson(settingsSchema, text);
}

/** The same text for the same settings: writes depend on what was there before. */
export function writeSettings(settings: Settings): string {
  return JSON.stringify(settingsSchema.parse(settings));
}

/** What a transfer was accepted with. */
export function settingsOf(request: FleetTransferRequest): Settings {
  const { priority, timeout_ms = null, labels, bytes_per_second = null } = request;
  return { priority, timeout_ms, labels, bytes_per_second };
}

/**
 * Applies a merge patch (RFC 7396): what it does not name stays, and null gives the default.
 *
 * @throws Problem invalid_request if there are too many labels then
 */
export function patchedSettings(settings: Settings, patch: FleetTransferPatch): Settings {
  const { priority = settings.priority, timeout_ms = settings.timeout_ms, labels } = patch;
  const { bytes_per_second = settings.bytes_per_second } = patch;
  return {
    ...{ priority: priority ?? 'normal', timeout_ms, bytes_per_second },
    labels: labels === undefined ? settings.labels : patchedLabels(settings, labels),
  };
}

/** What turns one into the other. */
export function patchBetween(from: Settings, to: Settings): FleetTransferPatch {
  const removed = Object.keys(from.labels).filter((key) => !Object.hasOwn(to.labels, key));
  const added = Object.entries(to.labels).filter(([key, value]) => from.labels[key] !== value);
  const labels = Object.fromEntries([...removed.map((key) => [key, null] as const), ...added]);
  return {
    ...(to.priority !== from.priority && { priority: to.priority }),
    ...(to.timeout_ms !== from.timeout_ms && { timeout_ms: to.timeout_ms }),
    ...(to.bytes_per_second !== from.bytes_per_second && { bytes_per_second: to.bytes_per_second }),
    ...(Object.keys(labels).length > 0 && { labels }),
  };
}
