// SPDX-License-Identifier: Apache-2.0
import { expect, test } from '@jest/globals';
import { wantedReprDigest } from '../../../services/http/want-digest.ts';

test.each([
  ['sha-256=10', 'sha-256'],
  ['sha-256=1', 'sha-256'],
  ['crc32c=5', 'crc32c'],
  ['sha-512=10, sha-256=3, crc32c=1', 'sha-256'],
  ['sha-256=1,crc32c=2', 'crc32c'],
  ['sha-256=5;x=1', 'sha-256'],
  ['sha-256=0', undefined],
  ['sha-512=10', undefined],
  ['sha-256=11', undefined],
  ['sha-256', undefined],
  ['nonsense', undefined],
  ['', undefined],
])('Want-Repr-Digest: %s', (header, algorithm) => {
  expect(wantedReprDigest({ 'want-repr-digest': header })).toBe(algorithm);
});

test('none without the header', () => {
  expect(wantedReprDigest({})).toBeUndefined();
});
