// SPDX-License-Identifier: Apache-2.0
import { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import { expect, test } from '@jest/globals';
import type { RequestPayload } from 'fastify';
import { ArrivingBodies, BODY_TIMEOUT_MS } from '../../../services/http/arriving.ts';

const newBody = () => new EventEmitter() as unknown as RequestPayload;
const newAnswer = () => new EventEmitter() as unknown as ServerResponse;

test('a body has so long to arrive, and is then refused', () => {
  const bodies = new ArrivingBodies();
  const refused: unknown[] = [];
  for (const at of [0, 10]) {
    const body = newBody();
    body.on('error', (error) => refused.push([at, error]));
    bodies.add(body, newAnswer(), at);
  }
  bodies.check(BODY_TIMEOUT_MS - 1);
  expect(refused).toEqual([]);
  const problem = expect.objectContaining({ code: 'request_timeout' });
  bodies.check(BODY_TIMEOUT_MS);
  expect(refused).toEqual([[0, problem]]);
  bodies.check(BODY_TIMEOUT_MS + 10);
  expect(refused).toEqual([
    [0, problem],
    [10, problem],
  ]);
  expect(bodies.size).toBe(0);
});

test('nothing is kept of one that has arrived, or whose client has its answer or has gone', () => {
  const bodies = new ArrivingBodies();
  const [whole, left] = [newBody(), newBody()];
  const answer = newAnswer();
  bodies.add(whole, newAnswer(), 0);
  bodies.add(left, answer, 0);
  expect(bodies.size).toBe(2);
  whole.emit('end');
  expect(bodies.size).toBe(1);
  answer.emit('close');
  expect(bodies.size).toBe(0);
});

test('one that nobody reads any more is passed over', () => {
  const bodies = new ArrivingBodies();
  bodies.add(newBody(), newAnswer(), 0);
  bodies.check(BODY_TIMEOUT_MS);
  expect(bodies.size).toBe(0);
});
