// SPDX-License-Identifier: Apache-2.0
import { type FileHandle, open } from 'node:fs/promises';
import type { Command } from 'commander';
import { crc32c, crc32cText, type Range } from '../../client/node.ts';
import { BLOCK_SIZE, compareBlocks, readFully } from '../lib/blocks.ts';
import type { Context, Runner } from '../lib/context.ts';
import { CliError, resumable } from '../lib/exit-codes.ts';
import { fileErrorText } from '../lib/file-error.ts';
import { humanBytes } from '../lib/format.ts';
import { Progress } from '../lib/progress.ts';
import { type DeviceRange, formatRange, parseRange, type SizedRange } from '../lib/ranges.ts';

interface Sent {
  bytes: number;
  /** CRC-32C of all that the range has now. */
  crc: number;
  size: number;
}

export function put(program: Command, run: Runner): void {
  program
    .command('put')
    .description('write a file into a device, and check its CRC-32C')
    .argument('<file>', 'what to write; - for standard input')
    .argument('<destination>', 'such as dax0.0:0', parseRange)
    .option('--resume', 'send only the blocks that differ from what is there')
    .action(
      run(
        async (context: Context, path: string, to: DeviceRange, options: { resume?: boolean }) => {
          const progress = new Progress(context.terminal, 'put', context.options.quiet === true);
          let sent: Sent;
          try {
            sent =
              path === '-'
                ? await sendStream(context, to, options, progress)
                : await sendFile(context, path, to, options, progress);
          } catch (error) {
            throw context.signal.aborted ? resumable() : error;
          } finally {
            progress.done();
          }
          const { device, offset } = to;
          const { bytes, crc, size } = sent;
          const text = crc32cText(crc);
          context.result(
            { device_name: device, offset, size, bytes_sent: bytes, crc32c: text },
            `put ${humanBytes(size)} into ${formatRange({ ...to, size })}, ` +
              `${humanBytes(bytes)} sent, CRC-32C ${text}`,
          );
          return undefined;
        },
      ),
    );
}

async function sendStream(
  context: Context,
  to: DeviceRange,
  { resume }: { resume?: boolean },
  progress: Progress,
): Promise<Sent> {
  if (resume) throw new CliError('usage', '--resume needs a file, which can be read twice');
  const client = await context.client();
  let crc = 0;
  async function* chunks() {
    for await (const chunk of context.terminal.stdin as AsyncIterable<Buffer>) {
      crc = crc32c(chunk, crc);
      yield chunk;
    }
  }
  const { size: total } = to;
  const result = await client.writeContent(to.device, chunks(), {
    ...{ offset: to.offset, size: total, signal: context.signal },
    onProgress: (bytes) => progress.update({ bytes, total }),
  });
  check(crc32cText(crc), result.crc32c, to);
  return { bytes: result.bytes_written, size: result.bytes_written, crc };
}

async function sendFile(
  context: Context,
  path: string,
  to: DeviceRange,
  { resume }: { resume?: boolean },
  progress: Progress,
): Promise<Sent> {
  const file = await openFile(path);
  try {
    const stat = await file.stat();
    if (!stat.isFile()) throw new CliError('usage', `${path} is no regular file: put it through -`);
    const { size } = stat;
    if (to.size !== undefined && to.size !== size) {
      const message = `${path} has ${size} bytes, ${formatRange(to)} is not of that size`;
      throw new CliError('usage', message);
    }
    const range = { ...to, size };
    if (!resume || size === 0) {
      const onProgress = (bytes: number) => progress.update({ bytes, total: size });
      const crc = await sendPart(context, file, range, { offset: 0, size }, onProgress);
      return { bytes: size, size, crc };
    }
    return await resumeFile(context, file, range, progress);
  } finally {
    await file.close();
  }
}

async function resumeFile(
  context: Context,
  file: FileHandle,
  range: SizedRange,
  progress: Progress,
): Promise<Sent> {
  const client = await context.client();
  const { signal } = context;
  const { size: total, device, offset } = range;
  const { differing, crc } = await compareBlocks(client, file, range, signal, (bytes) =>
    progress.update({ bytes, total, note: 'comparing' }),
  );
  let bytes = 0;
  for (const part of differing) {
    await sendPart(context, file, range, part, (done) =>
      progress.update({ bytes: part.offset + done, total }),
    );
    bytes += part.size;
  }
  const { crc32c: found } = await client.checksumContent(device, { offset, size: total, signal });
  check(crc32cText(crc), found, range);
  return { bytes, size: total, crc };
}

/** Sends a part of a file to its place. @returns the CRC-32C of what was sent */
async function sendPart(
  context: Context,
  file: FileHandle,
  range: SizedRange,
  part: Range,
  onProgress: (bytes: number) => void,
): Promise<number> {
  const client = await context.client();
  let crc = 0;
  async function* chunks() {
    crc = 0;
    for (let done = 0; done < part.size; ) {
      const buffer = Buffer.allocUnsafe(Math.min(BLOCK_SIZE, part.size - done));
      const chunk = await readFully(file, buffer, part.offset + done);
      if (chunk.length < buffer.length) {
        throw new CliError('failed', 'the file became shorter while it was read');
      }
      crc = crc32c(chunk, crc);
      done += chunk.length;
      yield chunk;
    }
  }
  const result = await client.writeContent(range.device, chunks, {
    ...{ offset: range.offset + part.offset, size: part.size, signal: context.signal, onProgress },
  });
  check(crc32cText(crc), result.crc32c, range);
  return crc;
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r');
  } catch (error) {
    throw new CliError('usage', fileErrorText(error));
  }
}

/** @throws CliError if what is there is not what was sent */
function check(sent: string, found: string, range: DeviceRange): void {
  if (sent === found) return;
  const message =
    `${formatRange(range)} has the CRC-32C ${found}, what was sent ${sent}: ` +
    'something else wrote there, or the file changed meanwhile';
  throw new CliError('failed', message);
}
