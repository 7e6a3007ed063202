// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  jest,
  test,
} from '@jest/globals';
import fc from 'fast-check';
import type { Shim } from '../../../services/base/native/shim.ts';
import { SegmentList } from '../../../services/base/segments.ts';
import type { Engine } from '../../../services/daemon/engines/engine.ts';
import type { JobListener } from '../../../services/daemon/engines/jobs-in-flight.ts';
import {
  COMPLETION_SIZE,
  JOB_SIZE,
  type Job,
  MEMORY,
  NOWHERE,
  SUBMIT_COMPLETED,
} from '../../../services/daemon/engines/records.ts';
import { runs } from '../../support/depth.ts';

const DONE = 2;
const PROGRESS = 1;

/** A completion socket that the test writes to: a named pipe, which is a stream just as well. */
describe('Engine, reading completions', () => {
  let directory: string;
  let writer: number;
  let engine: Engine;
  /** What the shim says at once of the job with that index in a batch. */
  let ends: (index: number) => number;
  /** How many jobs the shim was given. */
  let submitted = 0;
  let shim: Partial<Shim> & Pick<Shim, 'submit'>;

  beforeEach(async () => {
    ends = () => 0;
    // Nothing of the test before is on its way any more.
    await nextTurn();
  });
  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'dmad-socket-'));
    const pipe = join(directory, 'pipe');
    execFileSync('mkfifo', [pipe]);
    // Read and write at once: neither end waits for the other to be opened.
    writer = openSync(pipe, 'r+');
    const reader = openSync(pipe, 'r');
    shim = {
      version: () => '0.0.0',
      open: () => 0,
      close: () => {},
      completionFd: () => reader,
      submitBatch: (_context, jobs, count, _segments, errors, over) => {
        submitted += count;
        for (let index = 0; index < count; index++) {
          errors[index] = ends(index);
          const tag = Number(jobs.readBigUInt64LE(index * JOB_SIZE));
          record(tag, DONE, 1000 + index).copy(over, index * COMPLETION_SIZE);
        }
        return 0;
      },
      submit: (_context, given, _segments, _memory, over) => {
        const tag = Number(given.readBigUInt64LE(0));
        if (over === null) writeSync(writer, record(tag, DONE, 1));
        else record(tag, DONE, 2).copy(over);
        return over === null ? 0 : SUBMIT_COMPLETED;
      },
      cancel: () => 0,
      cpuInfo: () => {},
    };
    jest.unstable_mockModule('../../../services/base/native/shim.js', () => ({
      loadShim: () => shim,
      check: (_what: string, status: number) => status,
      ShimError: Error,
    }));
    engine = new (await import('../../../services/daemon/engines/engine.ts')).Engine();
  });
  afterAll(() => {
    engine.close();
    closeSync(writer);
    rmSync(directory, { recursive: true, force: true });
  });

  const job = {
    ...{ source: MEMORY, destination: NOWHERE, engine: 'cpu' },
    segments: SegmentList.of({ src_offset: 0, dst_offset: 0, size: 1 }),
  };

  function record(tag: number, kind: number, bytesDone: number): Buffer {
    const bytes = Buffer.alloc(COMPLETION_SIZE);
    bytes.writeBigUInt64LE(BigInt(tag), 0);
    bytes.writeBigUInt64LE(BigInt(bytesDone), 8);
    bytes.writeUInt32LE(kind, 56);
    return bytes;
  }

  test('puts records together again, however the stream is cut', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(3), { minLength: 1, maxLength: 12 }),
        fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 12 }),
        async (progress, cuts) => {
          const heard: string[] = [];
          const expected: string[] = [];
          const stream: Buffer[] = [];
          let left = progress.length;
          for (const [index, steps] of progress.entries()) {
            const tag = engine.submit(job as unknown as Job, {
              progress: (bytesDone) => heard.push(`${index} at ${bytesDone}`),
              done: (completion) => {
                heard.push(`${index} done at ${completion.bytesDone}`);
                left--;
              },
            });
            for (let step = 1; step <= steps; step++) {
              stream.push(record(tag, PROGRESS, step * 1000));
              expected.push(`${index} at ${step * 1000}`);
            }
            stream.push(record(tag, DONE, 2 ** 40 + index));
            expected.push(`${index} done at ${2 ** 40 + index}`);
            // One that nobody waits for any more.
            stream.push(record(tag, DONE, 0));
          }
          const bytes = Buffer.concat(stream);
          for (let at = 0, turn = 0; at < bytes.length; turn++) {
            const cut = cuts[turn % cuts.length] as number;
            writeSync(writer, bytes.subarray(at, at + cut));
            at += cut;
            if (turn % 3 !== 2) await nextTurn();
          }
          while (left > 0) await nextTurn();
          expect(heard).toEqual(expected);
        },
      ),
      { numRuns: runs(60) },
    );
  });

  test('counts as pending what it has not been told of', async () => {
    const pending: number[] = [];
    const segments = SegmentList.of({ src_offset: 0, dst_offset: 0, size: 1000 });
    const over = new Promise<void>((resolve) => {
      const tag = engine.submit({ ...job, segments } as unknown as Job, {
        progress: () => pending.push(engine.pending.cpu),
        done: () => {
          pending.push(engine.pending.cpu);
          resolve();
        },
      });
      pending.push(engine.pending.cpu);
      writeSync(writer, record(tag, PROGRESS, 400));
      writeSync(writer, record(tag, PROGRESS, 900));
      writeSync(writer, record(tag, DONE, 900));
    });
    await over;
    expect(pending).toEqual([1000, 600, 100, 0]);
  });

  describe('jobs that have finished when the shim returns', () => {
    const submit = (done: JobListener['done']) => engine.submit(job as unknown as Job, { done });

    afterEach(() => {
      jest.restoreAllMocks();
    });

    test('are reported in the same turn, and so are jobs that start because of it', async () => {
      ends = () => 1;
      jest.spyOn(performance, 'now').mockReturnValue(0);
      const heard: number[] = [];
      const next = () => {
        if (heard.length === 100) return;
        const before = heard.length;
        submit(({ status, bytesDone }) => {
          heard.push(bytesDone);
          expect(status).toBe(0);
          next();
        });
        // Not before submit() has returned.
        expect(heard).toHaveLength(before);
      };
      next();
      await nextTurn();
      expect(heard).toEqual(Array(100).fill(1000));
      expect(engine.pending.cpu).toBe(0);
    });

    test('leaves the event loop to others now and then', async () => {
      ends = () => 1;
      let now = 0;
      jest.spyOn(performance, 'now').mockImplementation(() => now++);
      let heard = 0;
      const next = () => {
        if (++heard < 100) submit(next);
      };
      submit(next);
      let turns = 0;
      for (; heard < 100; turns++) await nextTurn();
      expect(turns).toBeGreaterThan(20);
    });

    test('is left to the threads where memory has taken long enough', async () => {
      let now = 0;
      jest.spyOn(performance, 'now').mockImplementation(() => now);
      const submit = shim.submit;
      jest.spyOn(shim, 'submit').mockImplementation((...given) => {
        now += 0.7;
        return submit(...given);
      });
      const turn = async () => {
        const heard: number[] = [];
        for (let n = 0; n < 5; n++) {
          const memory = { ...job, memory: Buffer.alloc(1) };
          engine.submit(memory as unknown as Job, { done: (end) => heard.push(end.bytesDone) });
        }
        while (heard.length < 5) await nextTurn();
        return heard.sort();
      };
      expect(await turn()).toEqual([1, 1, 2, 2, 2]);
      // The next turn has its own time.
      expect(await turn()).toEqual([1, 1, 2, 2, 2]);
    });

    test('are reported beside jobs that were refused and jobs that still run', async () => {
      ends = (index) => [1, -constants.errno.ERANGE, 0][index] as number;
      const heard: [number, number][] = [];
      const tags = [0, 1, 2].map((index) =>
        submit(({ status, bytesDone }) => heard.push([index, status || bytesDone])),
      );
      await nextTurn();
      expect(heard).toEqual([
        [0, 1000],
        [1, -constants.errno.ERANGE],
      ]);
      writeSync(writer, record(tags[2] as number, DONE, 7));
      while (heard.length < 3) await nextTurn();
      expect(heard[2]).toEqual([2, 7]);
    });

    test('what is cancelled before it was sent never is, and ends all the same', async () => {
      ends = () => 1;
      submitted = 0;
      const heard: [string, number][] = [];
      submit(({ status }) => heard.push(['first', status]));
      const tag = submit(({ status }) => heard.push(['second', status]));
      engine.cancel(tag);
      expect(heard).toEqual([]);
      await nextTurn();
      expect(heard.sort()).toEqual([
        ['first', 0],
        ['second', -constants.errno.ECANCELED],
      ]);
      expect(submitted).toBe(1);
    });

    test.each(['cancelled', 'of no device'])(
      'what is begun and %s by an end has its own',
      async (what) => {
        ends = () => 1;
        const [given, code] =
          what === 'cancelled'
            ? [job, constants.errno.ECANCELED]
            : [{ ...job, source: 77 }, constants.errno.ENXIO];
        const heard: number[] = [];
        submit(() => {
          const tag = engine.submit(given as unknown as Job, {
            done: ({ status }) => heard.push(status),
          });
          if (what === 'cancelled') engine.cancel(tag);
        });
        await nextTurn();
        await nextTurn();
        expect(heard).toEqual([-code]);
      },
    );
  });
});
