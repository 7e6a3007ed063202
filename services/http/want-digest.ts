// SPDX-License-Identifier: Apache-2.0
import type { IncomingHttpHeaders } from 'node:http';
import { z } from 'zod';
import { DIGEST_ALGORITHMS, type DigestAlgorithm } from './content-digest.ts';

/** A member of a dictionary (RFC 9651) whose value is a preference from 0 to 10 (RFC 9530, 4). */
const MEMBER = /^([a-z*][a-z0-9_.*-]*)=([0-9]|10)(?:;.*)?$/;

export const wantReprDigestHeader = z
  .string()
  .optional()
  .meta({
    description:
      'RFC 9530, such as `sha-256=10`, or `crc32c`: `Repr-Digest` has the digest of all of the ' +
      "device's bytes, whatever the range, if the client may read them all. They are read for " +
      'it before the answer begins: what is written meanwhile may be in one and not in the ' +
      'other.',
  });

/**
 * The digest that a client would like best, by Want-Repr-Digest.
 *
 * @returns undefined if it wants none, or none that can be computed; what cannot be read is ignored
 */
export function wantedReprDigest(headers: IncomingHttpHeaders): DigestAlgorithm | undefined {
  const members = String(headers['want-repr-digest'] ?? '').split(',');
  let best: { algorithm: DigestAlgorithm; weight: number } | undefined;
  for (const member of members) {
    const [, name, weight] = MEMBER.exec(member.trim()) ?? [];
    const algorithm = DIGEST_ALGORITHMS.find((each) => each === name);
    if (algorithm !== undefined && Number(weight) > (best?.weight ?? 0)) {
      best = { algorithm, weight: Number(weight) };
    }
  }
  return best?.algorithm;
}

/** A field such as Repr-Digest with one digest. */
export function digestField(algorithm: DigestAlgorithm, digest: Uint8Array): string {
  return `${algorithm}=:${Buffer.from(digest).toString('base64')}:`;
}
