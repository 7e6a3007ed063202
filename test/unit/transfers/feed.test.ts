// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from '@jest/globals';
import { Feed, type TransferEvent } from '../../../services/daemon/transfers/feed.ts';
import { makeTransfer, viewer } from './make-transfer.ts';

describe('Feed', () => {
  test('tells each subscriber of its own, in order, until it ends its subscription', () => {
    const feed = new Feed();
    const [a, b] = [makeTransfer(), makeTransfer()];
    const heard: string[] = [];
    const name = (transfer: unknown) => (transfer === a ? 'a' : 'b');
    const listen = (who: string) => (event: TransferEvent) =>
      heard.push(`${who}: ${event.kind} ${name(event.transfer)}`);
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
    const heard: TransferEvent[] = [];
    feed.watchAll(viewer('anna'), (event) => heard.push(event));
    feed.publish('status', transfer);
    expect({ rendered, heard: heard.length }).toEqual({ rendered: 0, heard: 1 });
  });

  test('a watcher of all learns which event of each transfer is the first that it receives', () => {
    const feed = new Feed();
    const [a, b] = [makeTransfer(), makeTransfer()];
    const heard: string[] = [];
    const listen = (who: string) =>
      feed.watchAll(viewer('anna'), ({ transfer }, first) => {
        heard.push(`${who}: ${transfer === a ? 'a' : 'b'}${first ? ', first' : ''}`);
      });
    feed.publish('status', a);
    const endEarly = listen('early');
    feed.publish('status', a);
    feed.publish('progress', a);
    listen('late');
    feed.publish('progress', a);
    feed.publish('status', b);
    endEarly();
    feed.publish('status', a);
    expect(heard).toEqual([
      ...['early: a, first', 'early: a'],
      ...['early: a', 'late: a, first'],
      ...['early: b, first', 'late: b, first'],
      'late: a',
    ]);
  });

  test('an event without segments has all else', () => {
    const feed = new Feed();
    const segments = [
      { src_offset: 0, dst_offset: 4096, size: 1 },
      { src_offset: 1, dst_offset: 5000, size: 1 },
    ];
    const events: TransferEvent[] = [];
    feed.watchAll(viewer('anna'), (event) => events.push(event));
    feed.publish('status', makeTransfer({ segments, segmented: true }));
    feed.publish('status', makeTransfer());
    const [first, second] = events as [TransferEvent, TransferEvent];
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
