// SPDX-License-Identifier: Apache-2.0
import { expect, test } from '@jest/globals';
import { preferredType } from '../../../services/http/accept.ts';

const JSON_TYPE = 'application/json';
const TEXT = 'text/plain; version=0.0.4; charset=utf-8';

test.each([
  [undefined, JSON_TYPE],
  ['', JSON_TYPE],
  ['*/*', JSON_TYPE],
  ['text/*', TEXT],
  ['text/plain;version=0.0.4;q=0.9,*/*;q=0.1', TEXT],
  ['text/plain;q=0.5, application/json', JSON_TYPE],
  ['image/png', undefined],
  ['application/json;q=0', undefined],
  ['application/json;q=0, */*', TEXT],
  ['not a media type', undefined],
])('Accept: %s', (accept, preferred) => {
  const headers = accept === undefined ? {} : { accept };
  expect(preferredType({ headers }, [JSON_TYPE, TEXT])).toBe(preferred);
});
