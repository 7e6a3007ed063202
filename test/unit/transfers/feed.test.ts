// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from '@jest/globals';
import { Feed, type TransferEvent } from '../../../services/daemon/transfers/feed.ts';
import { makeTransfer } from './make-transfer.ts';

describe('Feed', () => {
  test('tells each subscriber of its own, in order, until it ends its subscription', () => {
    const feed = new Feed();
    const [a, b] = [makeTransfer(), makeTransfer()];
    const heard: string[] = [];
    const name = (transfer: unknown) => (transfer === a ? 'a' : 'b');
    const listen = (who: string) => (event: TransferEvent) =>
      heard.push(`${who}: ${event.kind} ${name(event.transfer)}`);
    const endOfA = feed.subscribe(a.id, listen('of a'));
    const endOfAll = feed.subscribe(undefined, listen('of all'));
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
        feed.subscribe(transfer.id, () => {
          heard++;
          ends[i]?.();
          feed.subscribe(transfer.id, () => heard++);
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
    const end = feed.subscribe(transfer.id, () => {});
    end();
    feed.subscribe(transfer.id, () => heard++);
    end();
    feed.publish('status', transfer);
    expect(heard).toBe(1);
  });

  test('an event is one line of data, made once for all who listen', () => {
    const feed = new Feed();
    const transfer = makeTransfer({ labels: { note: 'two\nlines\r\u2028' } });
    const texts: string[] = [];
    for (let i = 0; i < 2; i++) feed.subscribe(undefined, (event) => texts.push(event.text));
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
