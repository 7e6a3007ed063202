// SPDX-License-Identifier: Apache-2.0
import { fieldProblem } from '../../http/problems/problem.ts';

/** Blocks whose digests one page of JSON has. */
export const PAGE_BLOCKS = 65_536;

/** Bytes of a device, and the blocks into which they are cut. */
export interface Blocks {
  offset: number;
  size: number;
  blockSize: number;
}

/** The part of a range that a page is about. */
export interface Page {
  offset: number;
  size: number;
  /** Empty on the last page. */
  nextPageToken: string;
}

/** How many blocks there are. */
export function blockCount({ size, blockSize }: Blocks): number {
  return Math.ceil(size / blockSize);
}

/**
 * @param token of the page before; undefined or empty for the first page
 * @throws Problem invalid_request if the token is not of the same blocks
 */
export function pageOf(blocks: Blocks, token: string | undefined): Page {
  const first = token ? readToken(blocks, token) : 0;
  const begin = first * blocks.blockSize;
  const end = Math.min(begin + PAGE_BLOCKS * blocks.blockSize, blocks.size);
  return {
    offset: blocks.offset + begin,
    size: end - begin,
    nextPageToken: end < blocks.size ? tokenOf(blocks, first + PAGE_BLOCKS) : '',
  };
}

function tokenOf({ offset, size, blockSize }: Blocks, first: number): string {
  return Buffer.from([first, offset, size, blockSize].join(' ')).toString('base64url');
}

/** @returns the page's first block */
function readToken(blocks: Blocks, token: string): number {
  const [first = Number.NaN] = Buffer.from(token, 'base64url').toString().split(' ').map(Number);
  const fits = first > 0 && first < blockCount(blocks) && tokenOf(blocks, first) === token;
  if (fits && first % PAGE_BLOCKS === 0) return first;
  const detail =
    'is not the next_page_token of a page of the same range and block_size: begin without it';
  throw fieldProblem(
    'invalid_request',
    '/page_token',
    `The query is not valid: page_token ${detail}.`,
  );
}
