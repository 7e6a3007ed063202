// SPDX-License-Identifier: Apache-2.0
import { expect, test } from '@jest/globals';
import { makePageToken, readPageToken } from '../../../services/http/page-token.ts';

const ID = '01a20400-0be6-721d-ba17-e230afce8d70';
const FILTERS = [['failed'], undefined, 'dax0.0'];

test('a token names where its page begins; none and an empty one are the first page', () => {
  expect(readPageToken(makePageToken(ID, FILTERS), FILTERS)).toBe(ID);
  expect(readPageToken(undefined, FILTERS)).toBeUndefined();
  expect(readPageToken('', FILTERS)).toBeUndefined();
});

test.each([
  ['made with other filters', makePageToken(ID, [['failed'], undefined, 'dax1.0'])],
  ['cut', makePageToken(ID, FILTERS).slice(0, -1)],
  ['with more behind it', `${makePageToken(ID, FILTERS)}A`],
  ['with what base64url skips', `${makePageToken(ID, FILTERS)}=`],
  ['of an id alone', Buffer.from(ID).toString('base64url')],
  ['nonsense', 'x'],
])('one %s is refused', (_what, token) => {
  expect(() => readPageToken(token, FILTERS)).toThrow(
    expect.objectContaining({ code: 'invalid_request' }),
  );
});
