// SPDX-License-Identifier: Apache-2.0

import type { ByteRange } from '../../base/byte-range.ts';
import { SegmentList } from '../../base/segments.ts';
import { Problem } from '../../http/problems/problem.ts';
import type { Engine } from '../engines/engine.ts';
import { jobProblem } from '../engines/failure.ts';
import { type Completion, type Job, NOWHERE } from '../engines/records.ts';
import { checkOnline, type Device } from './device.ts';
import { type Pace, throttle } from './throttle.ts';

/** Bytes that are paid for and then read at a time: a client that leaves pays for no more. */
const PIECE_SIZE = 16 * 2 ** 20;

/**
 * The CRC-32C of a range.
 *
 * @param signal stops it: a large device takes long to read
 * @throws Problem device_gone, media_error, or cancelled if it was stopped
 */
export async function checksum(
  engine: Engine,
  device: Device,
  { offset, size }: ByteRange,
  pace: Pace,
  signal: AbortSignal,
): Promise<number> {
  let crc = 0;
  for (let done = 0; done < size; done += PIECE_SIZE) {
    const piece = {
      src_offset: offset + done,
      dst_offset: 0,
      size: Math.min(PIECE_SIZE, size - done),
    };
    await throttle(pace, piece.size, signal);
    if (signal.aborted) throw new Problem('cancelled', 'The client went away.');
    checkOnline(device);
    const completion = await run(
      engine,
      {
        ...{ source: device.handle, destination: NOWHERE, segments: SegmentList.of(piece) },
        ...{ engine: 'cpu', priority: 'normal', checksum: true, crcSeed: crc },
      },
      signal,
    );
    if (completion.status !== 0) throw jobProblem(completion, device.name);
    crc = completion.sourceCrc;
  }
  return crc;
}

function run(engine: Engine, job: Job, signal: AbortSignal): Promise<Completion> {
  return new Promise((resolve) => {
    const stop = () => engine.cancel(tag);
    const tag = engine.submit(job, {
      done: (completion) => {
        signal.removeEventListener('abort', stop);
        resolve(completion);
      },
    });
    signal.addEventListener('abort', stop);
  });
}
