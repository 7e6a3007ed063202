// SPDX-License-Identifier: Apache-2.0
import type { IncomingHttpHeaders } from 'node:http';
import { Problem } from './problems/problem.ts';

/** Those that can be checked, by the length of their value in bytes (RFC 9530). */
const LENGTHS = { 'sha-256': 32, crc32c: 4 } as const;

export type DigestAlgorithm = keyof typeof LENGTHS;
export const DIGEST_ALGORITHMS = Object.keys(LENGTHS) as readonly DigestAlgorithm[];
/** What a client says that its body has. */
export type ContentDigests = Partial<Record<DigestAlgorithm, Buffer>>;

/** A member of a dictionary (RFC 8941) whose value is a byte sequence; parameters are ignored. */
const MEMBER = /^([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/]*={0,2}):(?:;.*)?$/;

/**
 * Reads Content-Digest. Of several algorithms those that are not known are ignored.
 *
 * @throws Problem invalid_request if it cannot be read, or no digest in it can be checked
 */
export function readContentDigest(headers: IncomingHttpHeaders): ContentDigests {
  const header = headers['content-digest'];
  if (header === undefined) return {};
  const digests: ContentDigests = {};
  for (const member of String(header).split(',')) {
    const [, algorithm, base64 = ''] = MEMBER.exec(member.trim()) ?? [];
    if (algorithm === undefined)
      throw unreadable(`${member.trim()} is not of the form name=:base64:`);
    if (!isKnown(algorithm)) continue;
    const value = Buffer.from(base64, 'base64');
    if (value.length !== LENGTHS[algorithm]) {
      throw unreadable(`${algorithm} must have ${LENGTHS[algorithm]} bytes`);
    }
    digests[algorithm] = value;
  }
  if (Object.keys(digests).length === 0) throw unreadable('none of its algorithms can be checked');
  return digests;
}

function isKnown(algorithm: string): algorithm is DigestAlgorithm {
  return Object.hasOwn(LENGTHS, algorithm);
}

function unreadable(why: string): Problem {
  const detail = `Content-Digest: ${why}; send sha-256 or crc32c, as RFC 9530 has it, or none.`;
  return new Problem('invalid_request', detail, {
    headers: { 'want-content-digest': 'sha-256=10, crc32c=5' },
  });
}
