// SPDX-License-Identifier: Apache-2.0
// How to do again what a transfer did, in a shell.
import type { Replication } from '../../client/types.ts';
import { exactBytes } from './format.ts';
import { splitDevice, type Transfer } from './transfer.ts';

export function shellQuote(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

type Body = Record<string, unknown>;

/** The request body that makes the same transfer. */
export function requestOf(transfer: Transfer): Body {
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

/** The request body that makes the same replication. */
export function replicationRequestOf(replication: Replication): Body {
  const { mode, block_size: block, bytes_per_second: rate, priority, labels } = replication;
  return {
    ...{ peer: replication.peer, src_device_name: replication.src_device_name },
    ...{ src_offset: replication.src_offset, dst_device_name: replication.dst_device_name },
    ...{ dst_offset: replication.dst_offset, size: replication.size },
    ...(mode !== 'delta' && { mode }),
    ...(block !== 2 ** 20 && { block_size: block }),
    ...(rate !== null && { bytes_per_second: rate }),
    ...(replication.timeout_ms !== null && { timeout_ms: replication.timeout_ms }),
    ...(priority !== 'normal' && { priority }),
    ...(Object.keys(labels).length > 0 && { labels }),
  };
}

/** @param url of the daemon, without a slash at its end */
export function curlCommand(transfer: Transfer, url: string, needsToken: boolean): string {
  const request = requestOf(transfer);
  const { host, device } = splitDevice(transfer.device_name);
  const to = splitDevice(transfer.dst_device_name);
  // A fleet has the hosts beside the devices.
  const onHost = {
    ...{ host, ...request, device_name: device },
    ...(request.dst_device_name !== undefined && { dst_device_name: to.device }),
    ...(to.host !== host && { dst_host: to.host }),
  };
  return curlPost(`${url}/transfers`, host === undefined ? request : onHost, needsToken);
}

export function replicationCurl(
  replication: Replication,
  url: string,
  needsToken: boolean,
): string {
  return curlPost(`${url}/replications`, replicationRequestOf(replication), needsToken);
}

function curlPost(url: string, body: Body, needsToken: boolean): string {
  return [
    `curl -sS ${shellQuote(url)}`,
    ...(needsToken ? ['-H "Authorization: Bearer $DMAD_TOKEN"'] : []),
    "-H 'content-type: application/json'",
    `-d ${shellQuote(JSON.stringify(body))}`,
  ].join(' \\\n  ');
}

export function replicationDmactl(replication: Replication, url: string): string {
  const { peer, src_device_name: source, size } = replication;
  const { mode, block_size: block, bytes_per_second: rate } = replicationRequestOf(replication);
  const from = `${peer}:${source}:${exactBytes(replication.src_offset)}+${exactBytes(size)}`;
  const to = `${replication.dst_device_name}:${exactBytes(replication.dst_offset)}`;
  return ['dmactl', '--url', url, 'replicate', from, to]
    .concat(mode === undefined ? [] : ['--mode', String(mode)])
    .concat(block === undefined ? [] : ['--block-size', exactBytes(Number(block))])
    .concat(rate === undefined ? [] : ['--rate', exactBytes(Number(rate))])
    .concat(settingsOf(replication))
    .map(shellQuote)
    .join(' ');
}

/** Options that a transfer and a replication share. */
function settingsOf({ priority, timeout_ms: timeout, labels }: Settings): string[] {
  return [
    ...(priority === 'normal' ? [] : ['--priority', priority]),
    ...(timeout === null ? [] : ['--timeout', `${timeout}ms`]),
    ...Object.entries(labels).flatMap(([key, value]) => ['--label', `${key}=${value}`]),
  ];
}

type Settings = Pick<Transfer, 'priority' | 'timeout_ms' | 'labels'>;

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
  const option = (name: string) =>
    request[name] === undefined ? [] : [`--${name}`, String(request[name])];
  return ['dmactl', '--url', url, ...words]
    .concat(request.verify === undefined ? [] : ['--verify'])
    .concat(option('engine'), option('durability'), settingsOf(transfer))
    .map(shellQuote)
    .join(' ');
}
