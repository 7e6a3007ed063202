// SPDX-License-Identifier: Apache-2.0
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { crc32c } from '../../../services/client/crc32c.ts';
import { EventParser } from '../../../services/client/events.ts';
import { crc32c as byteByByte } from '../../support/crc32c.ts';

test('CRC-32C is that of the plain algorithm, in one go or in pieces', () => {
  expect(crc32c(new TextEncoder().encode('123456789'))).toBe(0xe3069283);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(300), (bytes, cut) => {
      expect(crc32c(bytes)).toBe(byteByByte(bytes));
      expect(crc32c(bytes.subarray(cut), crc32c(bytes.subarray(0, cut)))).toBe(byteByByte(bytes));
    }),
  );
});

test('events are the same however their bytes are cut', () => {
  const text =
    ': a comment\n\nid: 7\nevent: status\ndata: {"a": "ä\\n"}\n\ndata\r\ndata:two\r\n\r\nevent: none\n\n';
  const expected = [
    { event: 'status', data: '{"a": "ä\\n"}', id: '7' },
    { event: 'message', data: '\ntwo', id: '7' },
  ];
  const bytes = new TextEncoder().encode(text);
  fc.assert(
    fc.property(fc.array(fc.nat(bytes.length)), (cuts) => {
      const parser = new EventParser();
      const found = [];
      let from = 0;
      for (const cut of [...cuts.sort((a, b) => a - b), bytes.length]) {
        found.push(...parser.push(bytes.subarray(from, cut)));
        from = cut;
      }
      expect(found).toEqual(expected);
    }),
  );
});
