// SPDX-License-Identifier: Apache-2.0
import { describe, expect, jest, test } from '@jest/globals';
import { v7 as uuidv7 } from 'uuid';
import { Feed } from '../../../services/daemon/transfers/feed.ts';
import type { FeedEvent } from '../../../services/daemon/transfers/feed-event.ts';
import { Transfer } from '../../../services/daemon/transfers/transfer.ts';
import { Problem } from '../../../services/http/problems/problem.ts';
import { CLOCK, makeOrigin, makePlan, makeTransfer, viewer } from './make-transfer.ts';

describe('Feed', () => {
  test('sends each subscriber its own events, in order, until it unsubscribes', () => {
    const feed = new Feed();
    const [a, b] = [makeTransfer(), makeTransfer()];
    const heard: string[] = [];
    const name = (transfer: unknown) => (transfer === a ? 'a' : 'b');
    const listen = (who: string) => (event: FeedEvent) =>
      heard.push(`${who}: ${event.kind} ${name(event.subject)}`);
    const endOfA = feed.watch(a.id, listen('of a'));
    const endOfAll = feed.watchAll(viewer('anna'), listen('of all'));
    feed.publish('status', a);
    feed.publish('progress', b);
    endOfA();
    endOfA();
    feed.publish('status', a);
    endOfAll();
    feed.publish('status', b);
    expect(heard).toEqual([
      'of a: status a',
      'of all: status a',
      'of all: progress b',
      'of all: status a',
    ]);
  });

  test('lets a subscriber leave, and come, when it hears', () => {
    const feed = new Feed();
    const transfer = makeTransfer();
    let heard = 0;
    const ends: (() => void)[] = [];
    for (let i = 0; i < 3; i++) {
      ends.push(
        feed.watch(transfer.id, () => {
          heard++;
          ends[i]?.();
          feed.watch(transfer.id, () => heard++);
        }),
      );
    }
    feed.publish('status', transfer);
    expect(heard).toBe(3);
    feed.publish('status', transfer);
    expect(heard).toBe(6);
  });

  test('a second subscription outlives the end of the first', () => {
    const feed = new Feed();
    const transfer = makeTransfer();
    let heard = 0;
    const end = feed.watch(transfer.id, () => {});
    end();
    feed.watch(transfer.id, () => heard++);
    end();
    feed.publish('status', transfer);
    expect(heard).toBe(1);
  });

  test('what another client watches is not even looked at', () => {
    const feed = new Feed();
    let rendered = 0;
    for (let i = 0; i < 2048; i++) {
      feed.watchAll(viewer('bert'), () => {
        rendered++;
      });
    }
    const transfer = makeTransfer();
    const heard: FeedEvent[] = [];
    feed.watchAll(viewer('anna'), (event) => heard.push(event));
    feed.publish('status', transfer);
    expect({ rendered, heard: heard.length }).toEqual({ rendered: 0, heard: 1 });
  });

  test('what was missed is known while somebody watched, and for five minutes more', () => {
    jest.useFakeTimers();
    try {
      const feed = new Feed();
      const publish = (client = 'anna') => {
        const origin = makeOrigin(undefined, client);
        feed.publish('status', new Transfer(uuidv7(), makePlan(), origin, CLOCK));
        return feed.latest;
      };
      const anna = viewer('anna');
      const before = publish();
      expect(feed.missed(anna, before)).toEqual([]);
      const first = publish();
      // Nobody has ever watched.
      expect(feed.missed(anna, before)).toBeUndefined();
      const end = feed.watchAll(anna, () => {});
      const [second, ofBert, third] = [publish(), publish('bert'), publish()];
      feed.publish('progress', makeTransfer());
      const missed = (number: number) => feed.missed(anna, number)?.map((event) => event.number);
      expect(missed(before)).toBeUndefined();
      expect(missed(first)).toEqual([second, third]);
      expect(missed(ofBert)).toEqual([third]);
      expect(feed.missed(viewer('boss', 'transfers:all'), ofBert)).toBeUndefined();
      // Of an event that there was not yet.
      expect(missed(feed.latest + 1)).toBeUndefined();
      end();
      jest.advanceTimersByTime(299_000);
      const fourth = publish();
      expect(missed(third)).toEqual([fourth]);
      feed.watchAll(anna, () => {})();
      jest.advanceTimersByTime(299_000);
      expect(missed(third)).toEqual([fourth]);
      jest.advanceTimersByTime(2000);
      expect(missed(third)).toBeUndefined();
      expect(missed(feed.latest)).toEqual([]);
    } finally {
      jest.useRealTimers();
    }
  });

  test('of many events the latest thousand are known, or those that fit into a MiB', () => {
    const feed = new Feed();
    feed.watchAll(viewer('anna'), () => {});
    for (let i = 0; i < 1010; i++) feed.publish('status', makeTransfer());
    expect(feed.missed(viewer('anna'), 9)).toBeUndefined();
    expect(feed.missed(viewer('anna'), 10)).toHaveLength(1000);
    const labels = Object.fromEntries(
      Array.from({ length: 16 }, (_, i) => [`${i}`, 'x'.repeat(255)]),
    );
    for (let i = 0; i < 500; i++) feed.publish('status', makeTransfer({ labels }));
    expect(feed.missed(viewer('anna'), 1010)).toBeUndefined();
    const known = feed.missed(viewer('anna'), 1400)?.length;
    expect(known).toBe(110);
    // Many that watch have less each.
    for (let i = 0; i < 99; i++) feed.watchAll(viewer(`client-${i}`), () => {});
    feed.publish('status', makeTransfer({ labels }));
    expect(feed.missed(viewer('anna'), 1400)).toBeUndefined();
    expect(feed.missed(viewer('anna'), 1500)).toHaveLength(11);
  });

  test('ids that an event has, and what is said of an error, count among what is kept', () => {
    const anna = viewer('anna');
    const dependsOn = Array.from({ length: 100 }, () => uuidv7());
    const failed = makeTransfer();
    const problem = new Problem('dma_error', 'x'.repeat(10_000));
    failed.finish(failed.outcome(undefined, problem));
    for (const transfer of [makeTransfer({ dependsOn }), failed]) {
      const feed = new Feed();
      feed.watchAll(anna, () => {});
      for (let i = 0; i < 200; i++) feed.publish('status', transfer);
      expect(feed.missed(anna, 50)).toBeUndefined();
      expect(feed.missed(anna, 190)).toHaveLength(10);
    }
  });

  test('what was missed is as it was, whatever has become of it', () => {
    const feed = new Feed();
    feed.watchAll(viewer('anna'), () => {});
    const transfer = makeTransfer();
    feed.publish('status', transfer);
    transfer.start(transfer.plan.choice);
    feed.publish('status', transfer);
    const texts = feed
      .missed(viewer('anna'), 0)
      ?.map((event) => event.textFor(viewer('anna'), 'whole'));
    expect(texts).toEqual([
      expect.stringContaining('"status":"queued"'),
      expect.stringContaining('"status":"running"'),
    ]);
  });

  test('an event without segments has all else', () => {
    const feed = new Feed();
    const segments = [
      { src_offset: 0, dst_offset: 4096, size: 1 },
      { src_offset: 1, dst_offset: 5000, size: 1 },
    ];
    const events: FeedEvent[] = [];
    feed.watchAll(viewer('anna'), (event) => events.push(event));
    feed.publish('status', makeTransfer({ segments, segmented: true }));
    feed.publish('status', makeTransfer());
    const [first, second] = events as [FeedEvent, FeedEvent];
    const dataOf = (text: string) => JSON.parse(text.split('\ndata: ')[1] ?? '');
    const { segments: told, ...rest } = dataOf(first.textFor(viewer('anna'), 'whole'));
    expect(told).toEqual(segments);
    const { timings: _, ...brief } = dataOf(first.textFor(viewer('anna'), 'brief'));
    expect(rest).toMatchObject(brief);
    expect(Object.keys(brief)).toHaveLength(Object.keys(rest).length - 1);
    expect(second.textFor(viewer('anna'), 'brief')).toBe(second.textFor(viewer('anna'), 'whole'));
  });

  test('an event is one line of data, made once for all who listen', () => {
    const feed = new Feed();
    const transfer = makeTransfer({ labels: { note: 'two\nlines\r\u2028' } });
    const texts: string[] = [];
    for (let i = 0; i < 2; i++)
      feed.watchAll(viewer('anna'), (event) => texts.push(event.textFor(viewer('anna'), 'whole')));
    feed.publish('progress', transfer);
    const [event, data, ...rest] = texts[0]?.split('\n') ?? [];
    expect(event).toBe('event: progress');
    expect(data).toMatch(/^data: \{/);
    expect(JSON.parse(data?.slice('data: '.length) ?? '')).toMatchObject({ id: transfer.id });
    expect(rest).toEqual(['', '']);
    expect(texts[0]).not.toContain('\r');
    expect(texts[1]).toBe(texts[0]);
  });
});
