// SPDX-License-Identifier: Apache-2.0
import { type NetConnectOpts, connect as netConnect, type Socket } from 'node:net';
import type { Answer } from './conformance.ts';

/** If nothing arrives for this long, the test has found a hang. */
const SILENCE_MS = 20_000;

/** A connection on which a test writes each byte itself. */
export class Wire {
  readonly socket: Socket;
  /** Resolves when the daemon has closed the connection. */
  readonly closed: Promise<void>;
  /** What arrived and was not read, and how much that is: joined only when it is looked at. */
  #chunks: Buffer[] = [];
  #length = 0;
  #closed = false;
  #error: Error | undefined;
  #wake: () => void = () => {};

  constructor(target: number | string) {
    const options: NetConnectOpts =
      typeof target === 'string' ? { path: target } : { port: target, host: '127.0.0.1' };
    this.socket = netConnect(options);
    this.socket.on('data', (data) => {
      this.#chunks.push(data);
      this.#length += data.length;
      this.#wake();
    });
    this.socket.on('error', (error) => {
      this.#error = error;
    });
    this.closed = new Promise((resolve) => {
      this.socket.once('close', () => {
        this.#closed = true;
        this.#wake();
        resolve();
      });
    });
  }

  send(bytes: string | Buffer): this {
    this.socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
    return this;
  }

  /** The bytes that have arrived and were not read. */
  get pending(): Buffer {
    if (this.#chunks.length > 1) this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0] ?? Buffer.alloc(0);
  }

  /** The next answer; one that says 100 is skipped. @param method as it shapes the body */
  async answer(method = 'GET'): Promise<Answer> {
    for (;;) {
      const head = await this.#until(() => {
        const end = this.pending.indexOf('\r\n\r\n');
        return end < 0 ? undefined : this.#take(end + 4).toString('latin1');
      });
      const { status, headers } = parseHead(head);
      if (status === 100) continue;
      const bodyless = method === 'HEAD' || status === 204 || status === 304;
      const body = bodyless ? Buffer.alloc(0) : await this.#body(headers);
      return { status, headers, body };
    }
  }

  /** How many bytes arrived and were not read. */
  get length(): number {
    return this.#length;
  }

  /** Waits until what arrived contains the text. */
  async sees(text: string): Promise<void> {
    await this.#until(() => (this.pending.includes(text) ? true : undefined));
  }

  end(): void {
    this.socket.destroy();
  }

  async #body(headers: Record<string, string>): Promise<Buffer> {
    if (headers['transfer-encoding'] === 'chunked') return this.#chunkedBody();
    const length = headers['content-length'];
    if (length !== undefined) {
      return this.#until(() =>
        this.#length >= Number(length) ? this.#take(Number(length)) : undefined,
      );
    }
    await this.closed;
    return this.#take(this.#length);
  }

  async #chunkedBody(): Promise<Buffer> {
    const chunks: Buffer[] = [];
    for (;;) {
      const line = await this.#until(() => {
        const end = this.pending.indexOf('\r\n');
        return end < 0 ? undefined : this.#take(end + 2).toString('latin1');
      });
      const size = Number.parseInt(line, 16);
      const chunk = await this.#until(() =>
        this.#length >= size + 2 ? this.#take(size + 2) : undefined,
      );
      if (size === 0) return Buffer.concat(chunks);
      chunks.push(chunk.subarray(0, size));
    }
  }

  #take(size: number): Buffer {
    const all = this.pending;
    this.#chunks = [all.subarray(size)];
    this.#length = all.length - size;
    return all.subarray(0, size);
  }

  async #until<T>(ready: () => T | undefined): Promise<T> {
    const deadline = Date.now() + SILENCE_MS;
    for (;;) {
      const value = ready();
      if (value !== undefined) return value;
      // Only if needed: it joins all chunks, and a large body has many.
      const shown = () => JSON.stringify(this.pending.toString('latin1', 0, 300));
      if (this.#closed) throw new Error(`closed (${this.#error?.message}) after ${shown()}`);
      const left = deadline - Date.now();
      if (left <= 0) throw new Error(`nothing arrived for ${SILENCE_MS} ms after ${shown()}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}

/** Sends bytes over a connection of their own, and gives the first answer. */
export async function exchange(
  target: number | string,
  bytes: string | Buffer,
  method = 'GET',
): Promise<Answer> {
  const wire = new Wire(target);
  try {
    return await wire.send(bytes).answer(method);
  } finally {
    wire.end();
  }
}

/** A request with the fields that each needs; the daemon closes the connection after it. */
export function request(
  line: string,
  fields: Record<string, string> = {},
  body: string | Buffer = '',
): Buffer {
  const all = { host: 'localhost', connection: 'close', ...fields };
  const head = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  const bytes = typeof body === 'string' ? Buffer.from(body) : body;
  const sized =
    bytes.length > 0 && !('transfer-encoding' in fields) && !('content-length' in fields)
      ? `content-length: ${bytes.length}\r\n`
      : '';
  return Buffer.concat([
    Buffer.from(`${line} HTTP/1.1\r\n${head.join('')}${sized}\r\n`, 'latin1'),
    bytes,
  ]);
}

function parseHead(head: string): { status: number; headers: Record<string, string> } {
  const [statusLine = '', ...lines] = head.split('\r\n');
  const match = /^HTTP\/1\.1 (\d{3}) /.exec(statusLine);
  if (match === null) throw new Error(`no status line: ${JSON.stringify(statusLine)}`);
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const colon = line.indexOf(':');
    if (colon > 0) headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
  }
  return { status: Number(match[1]), headers };
}
