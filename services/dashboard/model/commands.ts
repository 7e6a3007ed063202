// SPDX-License-Identifier: Apache-2.0
// How to do again what a transfer did, in a shell.
import type { Transfer } from '../../client/types.ts';
import { exactBytes } from './format.ts';

export function shellQuote(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** The request body that makes the same transfer. */
export function requestOf(transfer: Transfer): Record<string, unknown> {
  const { operation, segments, labels, durability, verification, engine_reason } = transfer;
  const fills = operation === 'fill';
  return {
    ...(operation !== 'copy' && { operation }),
    device_name: transfer.device_name,
    ...(!fills && { dst_device_name: transfer.dst_device_name }),
    ...(segments === null
      ? {
          ...(transfer.src_offset !== null && { src_offset: transfer.src_offset }),
          dst_offset: transfer.dst_offset,
          size: transfer.size,
        }
      : { segments }),
    ...(fills && { pattern: transfer.pattern }),
    ...(/^the request asks for /.test(engine_reason) && { engine: transfer.engine }),
    ...(operation !== 'compare' &&
      durability.requested === 'none' && { durability: durability.requested }),
    ...(verification !== null && { verify: verification.method }),
    ...(transfer.timeout_ms !== null && { timeout_ms: transfer.timeout_ms }),
    ...(transfer.priority !== 'normal' && { priority: transfer.priority }),
    ...(Object.keys(labels).length > 0 && { labels }),
  };
}

/** @param url of the daemon, without a slash at its end */
export function curlCommand(transfer: Transfer, url: string, needsToken: boolean): string {
  return [
    `curl -sS ${shellQuote(`${url}/transfers`)}`,
    ...(needsToken ? ['-H "Authorization: Bearer $DMAD_TOKEN"'] : []),
    "-H 'content-type: application/json'",
    `-d ${shellQuote(JSON.stringify(requestOf(transfer)))}`,
  ].join(' \\\n  ');
}

/** Undefined if dmactl cannot say it: it takes one piece. */
export function dmactlCommand(transfer: Transfer, url: string): string | undefined {
  const { operation, src_offset: src, dst_offset: dst, size } = transfer;
  if (dst === null) return undefined;
  const request = requestOf(transfer);
  const range = (device: string, at: number) => `${device}:${exactBytes(at)}+${exactBytes(size)}`;
  const to = `${transfer.dst_device_name}:${exactBytes(dst)}`;
  const words =
    operation === 'fill'
      ? ['fill', range(transfer.dst_device_name, dst), '--pattern', transfer.pattern ?? '00']
      : [operation, range(transfer.device_name, src ?? 0), to];
  const option = (name: string, field = name) =>
    request[field] === undefined ? [] : [`--${name}`, String(request[field])];
  return ['dmactl', '--url', url, ...words]
    .concat(request.verify === undefined ? [] : ['--verify'])
    .concat(option('engine'), option('durability'), option('priority'))
    .concat(request.timeout_ms === undefined ? [] : ['--timeout', `${request.timeout_ms}ms`])
    .concat(
      Object.entries(transfer.labels).flatMap(([key, value]) => ['--label', `${key}=${value}`]),
    )
    .map(shellQuote)
    .join(' ');
}
