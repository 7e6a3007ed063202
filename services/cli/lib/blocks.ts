// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { type ConnectedClient, crc32c, type Range } from '../../client/node.ts';
import type { SizedRange } from './ranges.ts';

/** What is compared at a time: small enough to send little for a difference, and cheap to tell. */
export const BLOCK_SIZE = 2 ** 20;

/** A file held against a range of a device. */
export interface Comparison {
  /** Where they differ, from the beginning of both on, in order. */
  differing: Range[];
  /** CRC-32C of the file, as far as it reaches. */
  crc: number;
}

/**
 * Finds out which blocks of a file and of a device's range differ, by their SHA-256. What is missing
 * of the file differs.
 */
export async function compareBlocks(
  client: ConnectedClient,
  file: FileHandle,
  { device, offset, size }: SizedRange,
  signal: AbortSignal,
  onProgress: (bytes: number) => void,
): Promise<Comparison> {
  const differing: Range[] = [];
  let crc = 0;
  let at = 0;
  const buffer = Buffer.allocUnsafe(BLOCK_SIZE);
  const digests = client.blockDigests(device, { offset, size, blockSize: BLOCK_SIZE, signal });
  for await (const digest of digests) {
    const length = Math.min(BLOCK_SIZE, size - at);
    const block = await readFully(file, buffer.subarray(0, length), at);
    crc = crc32c(block, crc);
    const same =
      block.length === length && createHash('sha256').update(block).digest().equals(digest);
    if (!same) append(differing, at, length);
    at += length;
    onProgress(at);
  }
  return { differing, crc };
}

/** Neighbours become one. */
function append(ranges: Range[], offset: number, size: number): void {
  const last = ranges.at(-1);
  if (last !== undefined && last.offset + last.size === offset) last.size += size;
  else ranges.push({ offset, size });
}

/** @returns what there was, less only at the file's end */
export async function readFully(
  file: FileHandle,
  buffer: Buffer,
  position: number,
): Promise<Buffer> {
  let length = 0;
  while (length < buffer.length) {
    const { bytesRead } = await file.read(
      buffer,
      length,
      buffer.length - length,
      position + length,
    );
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  return buffer.subarray(0, length);
}

/** All of it. */
export async function writeFully(
  file: FileHandle,
  bytes: Uint8Array,
  position: number,
): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}
