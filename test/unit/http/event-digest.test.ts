// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import type { FeedEvent } from '../../../services/daemon/transfers/feed-event.ts';
import { EventDigest, KnownSubjects, MOST_BRIEF } from '../../../services/http/event-digest.ts';

beforeEach(() => {
  jest.useFakeTimers();
});
afterEach(() => {
  jest.useRealTimers();
});

let number = 0;
const transfer = (id: string) => ({ id, finished: false });
type Transfer = ReturnType<typeof transfer>;
const event = (of: Transfer, kind: 'status' | 'progress' = 'status') =>
  ({ number: ++number, kind, subject: of }) as unknown as FeedEvent;

function gather() {
  const sent: [string, string][][] = [];
  const known = new KnownSubjects();
  const digest = new EventDigest<FeedEvent>({
    intervalMs: 100,
    isBrief: (event) => !known.has(event),
    send: (events) => {
      sent.push(events.map(({ kind, subject: { id } }) => [id, kind]));
      for (const each of events) known.sent(each);
    },
  });
  return { digest, known, sent };
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

test('the digest has some of the transfers that came and went, and all that were known', () => {
  const { digest, sent } = gather();
  const known = Array.from({ length: 300 }, (_, index) => transfer(`known ${index}`));
  for (const each of known) digest.add(event(each));
  jest.advanceTimersByTime(200);
  for (const each of known) {
    each.finished = true;
    digest.add(event(each));
  }
  for (let index = 0; index < 1000; index++) {
    digest.add(event({ id: `brief ${index}`, finished: true }));
  }
  jest.advanceTimersByTime(200);
  const ids = sent[1]?.map(([id]) => id) ?? [];
  expect(ids.filter((id) => id.startsWith('known')).length).toBe(300);
  expect(ids.filter((id) => id.startsWith('brief')).length).toBe(MOST_BRIEF);
  expect(ids.at(-1)).toBe('brief 999');
});

test('one whose end a filter hides leaves out no others, and says whether more of it comes', () => {
  const { digest, sent } = gather();
  const [known, brief, unheard] = [transfer('known'), transfer('brief'), transfer('unheard')];
  digest.add(event(known));
  jest.advanceTimersByTime(200);
  digest.add(event(brief));
  for (const each of [known, brief, unheard]) each.finished = true;
  expect([known, brief, unheard].map((each) => digest.hidden(event(each)))).toEqual([
    false,
    true,
    false,
  ]);
  jest.advanceTimersByTime(200);
  expect(sent.at(-1)).toEqual([['brief', 'status']]);
});

test('of many that came and went within an interval no more is kept than what is sent', () => {
  const { digest, sent } = gather();
  const all = Array.from({ length: 1000 }, (_, index) => transfer(`brief ${index}`));
  for (const each of all) {
    digest.add(event(each));
    each.finished = true;
    if (Number(each.id.at(-1)) % 2) digest.add(event(each));
    else digest.hidden(event(each));
  }
  jest.advanceTimersByTime(200);
  expect(sent[0]?.map(([id]) => id)).toEqual(all.slice(-MOST_BRIEF).map(({ id }) => id));
});

describe('what a stream knows', () => {
  test('are subjects that it has brought, until they end', () => {
    const known = new KnownSubjects();
    const a = transfer('a');
    const first = event(a);
    const second = event(a);
    expect([known.has(first), known.lacks(first)]).toEqual([false, true]);
    known.sent(first);
    expect([known.has(second), known.lacks(first), known.lacks(second)]).toEqual([
      ...[true, false, true],
    ]);
    known.forgetEnded(second);
    expect(known.has(second)).toBe(true);
    a.finished = true;
    known.sent(event(a));
    expect(known.has(second)).toBe(false);
  });

  test('is not one whose end is hidden', () => {
    const known = new KnownSubjects();
    const a = transfer('a');
    known.sent(event(a));
    a.finished = true;
    known.forgetEnded(event(a));
    expect(known.has(event(a))).toBe(false);
  });
});
