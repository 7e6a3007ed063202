// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import type { FeedEvent } from '../../../services/daemon/transfers/feed-event.ts';
import { EventDigest, MOST_BRIEF } from '../../../services/http/event-digest.ts';

beforeEach(() => {
  jest.useFakeTimers();
});
afterEach(() => {
  jest.useRealTimers();
});

let number = 0;
const transfer = (id: string) => ({ id, over: false });
type Transfer = ReturnType<typeof transfer>;
const event = (of: Transfer, kind: 'status' | 'progress' = 'status') =>
  ({ number: ++number, kind, subject: of }) as unknown as FeedEvent;

function gather() {
  const sent: [string, string][][] = [];
  const digest = new EventDigest(100, (events) => {
    sent.push(events.map(({ kind, subject: { id } }) => [id, kind]));
    for (const each of events) digest.sent(each);
  });
  return { digest, sent };
}

test('a first event goes out at once, those behind it together, each transfer once', () => {
  const { digest, sent } = gather();
  jest.advanceTimersByTime(1000);
  const [a, b] = [transfer('a'), transfer('b')];
  digest.add(event(a));
  jest.advanceTimersByTime(1);
  expect(sent).toEqual([[['a', 'status']]]);
  for (let count = 0; count < 10; count++) digest.add(event(a, 'progress'));
  digest.add(event(b));
  jest.advanceTimersByTime(50);
  expect(sent.length).toBe(1);
  jest.advanceTimersByTime(50);
  expect(sent[1]).toEqual([
    ['a', 'progress'],
    ['b', 'status'],
  ]);
});

test('a change of status is not hidden by progress', () => {
  const { digest, sent } = gather();
  const a = transfer('a');
  digest.add(event(a));
  digest.add(event(a, 'progress'));
  jest.advanceTimersByTime(200);
  expect(sent).toEqual([[['a', 'status']]]);
});

test('what is sent is in the order of its numbers, also a status that later progress leaves there', () => {
  const { digest, sent } = gather();
  const [a, b, c] = [transfer('a'), transfer('b'), transfer('c')];
  digest.add(event(a));
  digest.add(event(b));
  digest.add(event(c, 'progress'));
  digest.add(event(a, 'progress'));
  jest.advanceTimersByTime(200);
  expect(sent).toEqual([
    [
      ['a', 'status'],
      ['b', 'status'],
      ['c', 'progress'],
    ],
  ]);
});

test('of those that came and went some are told, of those that were known all', () => {
  const { digest, sent } = gather();
  const known = Array.from({ length: 300 }, (_, index) => transfer(`known ${index}`));
  for (const each of known) digest.add(event(each));
  jest.advanceTimersByTime(200);
  for (const each of known) {
    each.over = true;
    digest.add(event(each));
  }
  for (let index = 0; index < 1000; index++) {
    digest.add(event({ id: `brief ${index}`, over: true }));
  }
  jest.advanceTimersByTime(200);
  const ids = sent[1]?.map(([id]) => id) ?? [];
  expect(ids.filter((id) => id.startsWith('known')).length).toBe(300);
  expect(ids.filter((id) => id.startsWith('brief')).length).toBe(MOST_BRIEF);
  expect(ids.at(-1)).toBe('brief 999');
});

test('a transfer whose end is not sent is not remembered', () => {
  const { digest } = gather();
  const a = transfer('a');
  digest.add(event(a));
  jest.advanceTimersByTime(200);
  expect(digest.knows(event(a))).toBe(true);
  a.over = true;
  digest.hidden(event(a));
  expect(digest.knows(event(a))).toBe(false);
});
