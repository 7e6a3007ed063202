// SPDX-License-Identifier: Apache-2.0
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { Progress } from '../../../services/cli/lib/progress.ts';
import { Terminal } from '../../../services/cli/lib/terminal.ts';

beforeEach(() => {
  jest.useFakeTimers();
});
afterEach(() => {
  jest.useRealTimers();
});

test('colours are for the stream that is a terminal', () => {
  const { terminal } = terminalOf(true);
  expect(terminal.paint('no', 'red', 'stdout')).toBe('no');
  expect(terminal.paint('yes', 'red', 'stderr')).toBe('\x1b[31myes\x1b[0m');
  const { terminal: plain } = terminalOf(true, { NO_COLOR: '1' });
  expect(plain.paint('no', 'red', 'stderr')).toBe('no');
});

function terminalOf(isTTY: boolean, env: Record<string, string> = { LANG: 'en_US.UTF-8' }) {
  const stderr = Object.assign(new PassThrough(), { isTTY, columns: 60 });
  const streams = { stdin: new PassThrough(), stdout: new PassThrough(), stderr };
  const terminal = new Terminal(streams as never, env);
  return { terminal, written: () => String(stderr.read() ?? '') };
}

describe('progress', () => {
  test('on a terminal is one line, drawn five times a second and taken away at the end', () => {
    const { terminal, written } = terminalOf(true);
    const progress = new Progress(terminal, 'copy', false);
    progress.update({ bytes: 0, total: 1000, note: 'cpu' });
    jest.advanceTimersByTime(1000);
    progress.update({ bytes: 500, total: 1000, note: 'cpu' });
    jest.advanceTimersByTime(1000);
    progress.done();
    const lines = written().split('\r').slice(1);
    expect(lines).toHaveLength(11);
    expect(lines[0]).toContain('0%');
    expect(lines[9]).toContain('[##########..........]   50%');
    for (const line of lines) expect(line.replace('\x1b[K', '').length).toBeLessThan(60);
    expect(lines[10]).toBe('\x1b[K');
  });

  test('a message takes the line away first, and it comes back', () => {
    const { terminal, written } = terminalOf(true);
    const progress = new Progress(terminal, 'copy', false);
    progress.update({ bytes: 0, total: 10, note: 'queued' });
    jest.advanceTimersByTime(200);
    terminal.err('cancelling\n');
    jest.advanceTimersByTime(200);
    progress.done();
    expect(written().replaceAll('\x1b', '^')).toMatch(
      /queued\^\[K\r\^\[Kcancelling\n\rcopy.*queued\^\[K\r\^\[K$/,
    );
  });

  test('on a terminal that cannot draw is as in a pipe', () => {
    const { terminal, written } = terminalOf(true, { TERM: 'dumb' });
    const progress = new Progress(terminal, 'copy', false);
    progress.update({ bytes: 0, total: 10 });
    jest.advanceTimersByTime(10_000);
    progress.done();
    expect(written()).toMatch(/^copy .*\n$/);
    expect(written()).not.toContain('\x1b');
  });

  test('in a pipe is a line each 10 s', () => {
    const { terminal, written } = terminalOf(false);
    const progress = new Progress(terminal, 'put', false);
    progress.update({ bytes: 1024, total: undefined });
    jest.advanceTimersByTime(25_000);
    progress.done();
    expect(written().split('\n').slice(0, -1)).toHaveLength(2);
  });

  test('is nothing with --quiet, and nothing before there is something to tell', () => {
    const { terminal, written } = terminalOf(true);
    const quiet = new Progress(terminal, 'put', true);
    quiet.update({ bytes: 1, total: 2 });
    const silent = new Progress(terminal, 'put', false);
    jest.advanceTimersByTime(1000);
    quiet.done();
    silent.done();
    expect(written()).toBe('');
  });

  test('tells the rate and the time that is left', () => {
    const { terminal } = terminalOf(true);
    const progress = new Progress(terminal, 'copy', false);
    for (let second = 0; second <= 4; second++) {
      progress.update({ bytes: second * 2 ** 20, total: 8 * 2 ** 20 });
      if (second < 4) jest.advanceTimersByTime(1000);
    }
    expect(progress.line()).toMatch(/50%.*4\.00 MiB of 8\.00 MiB.*1\.00 MiB\/s.*4\.0 s left/);
    progress.done();
  });
});

test.each([
  [{ LANG: 'de_DE.UTF-8' }, '→ 5 – …'],
  [{ LANG: 'de_DE.UTF-8', LC_ALL: 'C.utf8' }, '→ 5 – …'],
  [{ LANG: 'de_DE.UTF-8', LC_ALL: 'C' }, '-> 5 - ...'],
  [{ LANG: 'de_DE.ISO-8859-1' }, '-> 5 - ...'],
  [{}, '-> 5 - ...'],
])('a locale without UTF-8 gets ASCII: %j', (env: Record<string, string>, text) => {
  const { terminal, written } = terminalOf(false, env);
  terminal.err('→ 5 – …');
  expect(written()).toBe(text);
});
