// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import type { FleetEvent } from '../../../services/fleet/transfers/feed.ts';
import { fleetEventsQuerySchema } from '../../../services/fleet/transfers/schema.ts';
import { FleetWatch } from '../../../services/fleet/transfers/watch.ts';
import type { Client } from '../../../services/http/access/client.ts';
import type { EventStream } from '../../../services/http/event-stream.ts';

beforeEach(() => {
  jest.useFakeTimers();
});
afterEach(() => {
  jest.useRealTimers();
});

const CLIENT = { name: 'anna', scopes: new Set(), hosts: undefined } as unknown as Client;

test.each([
  { idle: true, numbers: [1, 2, 3] },
  // Progress is left out for a client that is slow to read.
  { idle: false, numbers: [1, 2] },
])('an interval is one write in the order of events; idle: $idle', ({ idle, numbers }) => {
  const writes: string[] = [];
  const send = (text: string) => writes.push(text);
  const sendIfIdle = (text: () => string) => idle && send(text());
  const stream = { ended: false, idle, send, sendIfIdle };
  const query = fleetEventsQuerySchema.parse({ interval_ms: '1000' });
  const watch = new FleetWatch(stream as unknown as EventStream, CLIENT, query, String);
  const tell = (number: number, id: string, kind: FleetEvent['kind']) => {
    const document = { id, status: 'running', segments: null, created_at: '', host: 'hosta' };
    const event = { number, kind, owner: 'anna', document, subject: { id, finished: false } };
    watch.tell(event as unknown as FleetEvent);
  };
  tell(1, 'a', 'status');
  tell(2, 'b', 'status');
  tell(3, 'c', 'progress');
  tell(4, 'a', 'progress');
  jest.advanceTimersByTime(1000);
  const numbersOf = (text: string) =>
    [...text.matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id));
  expect(writes.map(numbersOf)).toEqual([numbers]);
});

test('a snapshot waits for a client that has much to take', async () => {
  let taken = 0;
  let waiting = 0;
  const stream = {
    ended: false,
    get full() {
      return waiting >= 3;
    },
    send: () => waiting++,
    drained: async () => {
      taken += waiting;
      waiting = 0;
    },
  };
  const query = fleetEventsQuerySchema.parse({});
  const watch = new FleetWatch(stream as unknown as EventStream, CLIENT, query, String);
  const events = Array.from({ length: 10 }, (_, number) => {
    const document = { id: `t${number}`, status: 'running', segments: [], created_at: '' };
    const subject = { id: document.id, finished: false };
    return { number, kind: 'status', owner: 'anna', document: { ...document, host: 'a' }, subject };
  });
  await watch.begin(events as unknown as FleetEvent[]);
  expect([taken, waiting]).toEqual([9, 1]);
});
