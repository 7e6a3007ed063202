// SPDX-License-Identifier: Apache-2.0
import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { beforeEach, describe, expect, test } from '@jest/globals';
import { beginPassage } from '../../../services/http/past-node.ts';
import { StalledReaders } from '../../../services/http/stalled.ts';

const STALL_MS = 30_000;

/** A connection, as far as it is looked at. */
class FakeSocket extends EventEmitter {
  bytesWritten = 0;
  writableLength = 0;
  _handle: { writeQueueSize: number; _parent?: { writeQueueSize: number } } = { writeQueueSize: 0 };
  destroyed = false;

  /** @param inFlight whether libuv has it already */
  write(bytes: number, inFlight: boolean): void {
    this.bytesWritten += bytes;
    this.writableLength += bytes;
    if (inFlight) this._handle.writeQueueSize += bytes;
  }

  destroy(): void {
    this.destroyed = true;
    this.emit('close');
  }
}

describe('StalledReaders', () => {
  let readers: StalledReaders;
  let socket: FakeSocket;
  beforeEach(() => {
    readers = new StalledReaders(STALL_MS);
    socket = new FakeSocket();
    readers.add(socket as unknown as Socket);
  });

  test('a client that reads nothing is disconnected in the end, even if more is written', () => {
    socket.write(1000, true);
    readers.check(0);
    socket.write(1000, false);
    readers.check(STALL_MS - 1);
    expect(socket.destroyed).toBe(false);
    readers.check(STALL_MS);
    expect(socket.destroyed).toBe(true);
  });

  test('the same of bytes that pass Node by, but only while some wait', () => {
    let refused = false;
    const passage = beginPassage(socket as unknown as Socket, () => refused);
    // Such as one whose client has used up its rate, or whose device is slow.
    for (let now = 0; now < 10 * STALL_MS; now += STALL_MS / 2) readers.check(now);
    refused = true;
    for (let now = 10 * STALL_MS; now < 20 * STALL_MS; now += STALL_MS / 2) {
      passage.taken++;
      readers.check(now);
    }
    expect(socket.destroyed).toBe(false);
    readers.check(21 * STALL_MS);
    expect(socket.destroyed).toBe(true);
  });

  test('a client that reads part of a large write, or one write after the other, is not', () => {
    socket.write(100, true);
    for (let now = 0; now < 10 * STALL_MS; now += STALL_MS / 2) {
      readers.check(now);
      socket._handle.writeQueueSize -= 1;
    }
    for (let now = 10 * STALL_MS; now < 20 * STALL_MS; now += STALL_MS / 2) {
      socket.writableLength = 100;
      socket.bytesWritten += 100;
      socket._handle.writeQueueSize = 50;
      readers.check(now);
    }
    expect(socket.destroyed).toBe(false);
  });

  test('under TLS the connection below tells', () => {
    socket.write(100, true);
    for (let now = 0; now < 10 * STALL_MS; now += STALL_MS / 2) {
      socket._handle._parent = { writeQueueSize: 1000 - now / STALL_MS };
      readers.check(now);
    }
    expect(socket.destroyed).toBe(false);
  });

  test('a connection on which nothing waits may be silent, and begins anew', () => {
    readers.check(0);
    readers.check(10 * STALL_MS);
    socket.write(10, true);
    readers.check(11 * STALL_MS);
    socket.writableLength = 0;
    socket._handle.writeQueueSize = 0;
    readers.check(13 * STALL_MS);
    socket.write(10, true);
    readers.check(14 * STALL_MS);
    expect(socket.destroyed).toBe(false);
  });
});
