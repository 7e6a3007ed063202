// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from '@jest/globals';
import { readTraceContext } from '../../../services/http/trace-context.ts';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const PARENT = 'b7ad6b7169203331';
const GIVEN = `00-${TRACE}-${PARENT}-01`;

describe('traceparent', () => {
  const read = (traceparent: string) => readTraceContext({ traceparent })?.traceparent;

  test.each([GIVEN, `00-${TRACE}-${PARENT}-00`, `00-${TRACE}-${PARENT}-ff`])('%s', (given) => {
    expect(read(given)).toBe(given);
  });

  test.each([
    ['', 'nothing'],
    [`00-${'0'.repeat(32)}-${PARENT}-01`, 'no trace'],
    [`00-${TRACE}-${'0'.repeat(16)}-01`, 'no parent'],
    [`ff-${TRACE}-${PARENT}-01`, 'version ff'],
    [GIVEN.toUpperCase(), 'capitals'],
    [`${GIVEN}-more`, 'more than version 00 has'],
    [`${GIVEN}.`, 'a full stop'],
    [`cc-${TRACE}-${PARENT}-01.what`, 'what follows later versions without a dash'],
    [GIVEN.slice(0, -1), 'a digit less'],
    [`${GIVEN}, ${GIVEN}`, 'two'],
    [`00-${TRACE}-${PARENT}`, 'no flags'],
    [` ${GIVEN}`, 'a space'],
    [`0-${TRACE}-${PARENT}-01`, 'a short version'],
  ])('%j is none: %s', (given) => {
    expect(read(given)).toBeUndefined();
  });

  test('of a later version is read as far as it is known', () => {
    expect(read(`cc-${TRACE}-${PARENT}-01`)).toBe(GIVEN);
    expect(read(`01-${TRACE}-${PARENT}-03-what-the-future-brings`)).toBe(GIVEN);
    expect(read(`01-${TRACE}-${PARENT}-02`)).toBe(`00-${TRACE}-${PARENT}-00`);
  });
});

describe('tracestate', () => {
  const read = (tracestate: string) => {
    const context = readTraceContext({ traceparent: GIVEN, tracestate });
    expect(context?.traceparent).toBe(GIVEN);
    return context?.tracestate;
  };

  test.each([
    ['rojo=00f067aa0ba902b7,congo=t61rcWkgMzE', 'rojo=00f067aa0ba902b7,congo=t61rcWkgMzE'],
    ['a=1 ,\t b=2', 'a=1,b=2'],
    [',a=1,,', 'a=1'],
    ['tenant@system=x y', 'tenant@system=x y'],
    ['a*/-_b=!', 'a*/-_b=!'],
  ])('%j', (given, expected) => {
    expect(read(given)).toBe(expected);
  });

  test.each(['', ',', 'a', 'A=1', 'a=1,a=2', 'a=b=c', 'a =1', '=1', 'a=\u00e9', 'a=,b'])(
    '%j is none',
    (given) => {
      expect(read(given)).toBeUndefined();
    },
  );

  test('has 32 members at most', () => {
    const of = (count: number) => Array.from({ length: count }, (_, i) => `k${i}=v`).join(',');
    expect(read(of(32))).toBe(of(32));
    expect(read(of(33))).toBeUndefined();
  });

  test('beyond 512 characters loses its long members, then its last', () => {
    const member = (key: string, length: number) => `${key}=${'v'.repeat(length - key.length - 1)}`;
    const short = ['a', 'b', 'c', 'd'].map((key) => member(key, 100));
    expect(read([...short, member('e', 108)].join(','))?.length).toBe(512);
    expect(read([member('long', 129), ...short].join(','))).toBe(short.join(','));
    const many = [...short, member('e', 128)];
    expect(read(many.join(','))).toBe(short.join(','));
    expect(read([member('x', 200), member('y', 200), member('z', 200)].join(','))).toBeUndefined();
  });

  test('without a traceparent is nothing', () => {
    expect(readTraceContext({ tracestate: 'a=1' })).toBeUndefined();
    expect(readTraceContext({ traceparent: 'wrong', tracestate: 'a=1' })).toBeUndefined();
    expect(readTraceContext({})).toBeUndefined();
  });
});
