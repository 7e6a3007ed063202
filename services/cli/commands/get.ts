// SPDX-License-Identifier: Apache-2.0
import { constants, type FileHandle, open } from 'node:fs/promises';
import type { Command } from 'commander';
import { crc32c, crc32cText } from '../../client/node.ts';
import { BLOCK_SIZE, compareBlocks, readFully, writeFully } from '../lib/blocks.ts';
import type { Context, Runner } from '../lib/context.ts';
import { CliError, resumable } from '../lib/exit-codes.ts';
import { fileErrorText } from '../lib/file-error.ts';
import { humanBytes } from '../lib/format.ts';
import { Progress } from '../lib/progress.ts';
import { type DeviceRange, formatRange, parseRange, type SizedRange } from '../lib/ranges.ts';

interface Received {
  bytes: number;
  /** CRC-32C of the whole range, as it was received. */
  crc: number;
}

export function get(program: Command, run: Runner): void {
  program
    .command('get')
    .description('read bytes of a device into a file, and check their CRC-32C')
    .argument('<source>', 'such as dax0.0:0+32MiB, or dax0.0', parseRange)
    .argument('<file>', 'where to; - for standard output')
    .option('--resume', 'fetch only the blocks that differ from what the file has')
    .action(
      run(
        async (
          context: Context,
          from: DeviceRange,
          path: string,
          options: { resume?: boolean },
        ) => {
          const client = await context.client();
          const { signal } = context;
          const { device, offset } = from;
          const size = from.size ?? (await client.getDevice(device, { signal })).size - offset;
          const range = { device, offset, size };
          const progress = new Progress(context.terminal, 'get', context.options.quiet === true);
          let received: Received;
          let found: string;
          try {
            received =
              path === '-'
                ? await toStdout(context, range, options, progress)
                : await toFile(context, path, range, options, progress);
            found = (await client.checksumContent(device, { offset, size, signal })).crc32c;
          } catch (error) {
            throw signal.aborted ? resumable() : error;
          } finally {
            progress.done();
          }
          const text = crc32cText(received.crc);
          if (text !== found) {
            const message =
              `what was received has the CRC-32C ${text}, ${formatRange(range)} now ${found}: ` +
              'something wrote there meanwhile';
            throw new CliError('failed', message);
          }
          const document = {
            ...{ device_name: device, offset, size, bytes_received: received.bytes },
            ...{ crc32c: text },
          };
          const sentence =
            `got ${humanBytes(size)} of ${formatRange(range)}, ` +
            `${humanBytes(received.bytes)} received, CRC-32C ${text}`;
          // Standard output has the bytes.
          if (path === '-') context.say(sentence);
          else context.result(document, sentence);
          return undefined;
        },
      ),
    );
}

async function toStdout(
  context: Context,
  { device, offset, size }: SizedRange,
  { resume }: { resume?: boolean },
  progress: Progress,
): Promise<Received> {
  if (resume) throw new CliError('usage', '--resume needs a file, which can be read');
  if (context.options.json) {
    throw new CliError('usage', '--json and the bytes cannot both go to standard output');
  }
  const client = await context.client();
  const { stream } = await client.readContent(device, {
    ...{ offset, size, signal: context.signal },
    onProgress: (bytes) => progress.update({ bytes, total: size }),
  });
  let crc = 0;
  for await (const chunk of stream) {
    crc = crc32c(chunk, crc);
    await context.terminal.outBytes(chunk);
  }
  return { bytes: size, crc };
}

async function toFile(
  context: Context,
  path: string,
  range: SizedRange,
  { resume }: { resume?: boolean },
  progress: Progress,
): Promise<Received> {
  if (resume) return resumeFile(context, path, range, progress);
  const client = await context.client();
  const { device, offset, size } = range;
  const { stream } = await client.readContent(device, {
    ...{ offset, size, signal: context.signal },
    onProgress: (bytes) => progress.update({ bytes, total: size }),
  });
  // Not before: what cannot be read leaves the file as it was.
  const file = await openFile(path, 'w');
  try {
    let at = 0;
    let crc = 0;
    for await (const chunk of stream) {
      await writeFully(file, chunk, at);
      crc = crc32c(chunk, crc);
      at += chunk.length;
    }
    return { bytes: size, crc };
  } finally {
    await file.close();
  }
}

/** Fetches what differs from what the file has. */
async function resumeFile(
  context: Context,
  path: string,
  range: SizedRange,
  progress: Progress,
): Promise<Received> {
  const client = await context.client();
  const { signal } = context;
  const { device, offset, size: total } = range;
  const { O_RDWR, O_CREAT } = constants;
  const file = await openFile(path, O_RDWR | O_CREAT);
  try {
    const { differing } = await compareBlocks(client, file, range, signal, (bytes) =>
      progress.update({ bytes, total, note: 'comparing' }),
    );
    let bytes = 0;
    for (const part of differing) {
      const { stream } = await client.readContent(device, {
        ...{ offset: offset + part.offset, size: part.size, signal },
        onProgress: (done) => progress.update({ bytes: part.offset + done, total }),
      });
      let at = part.offset;
      for await (const chunk of stream) {
        await writeFully(file, chunk, at);
        at += chunk.length;
      }
      bytes += part.size;
    }
    if ((await file.stat()).isFile()) await file.truncate(total);
    return { bytes, crc: await crcOf(file, total) };
  } finally {
    await file.close();
  }
}

/** Of what the file has: blocks that were there before, and those that were fetched. */
async function crcOf(file: FileHandle, size: number): Promise<number> {
  const buffer = Buffer.allocUnsafe(BLOCK_SIZE);
  let crc = 0;
  for (let at = 0; at < size; at += BLOCK_SIZE) {
    crc = crc32c(
      await readFully(file, buffer.subarray(0, Math.min(BLOCK_SIZE, size - at)), at),
      crc,
    );
  }
  return crc;
}

/** @throws CliError usage */
async function openFile(path: string, flags: string | number): Promise<FileHandle> {
  try {
    return await open(path, flags, 0o666);
  } catch (error) {
    throw new CliError('usage', fileErrorText(error));
  }
}
