// SPDX-License-Identifier: Apache-2.0
/**
 * As much of a host's daemon as a gateway of a fleet asks for, for as many hosts as are asked for, in one
 * process: stand-in.js. Each host is a prefix of its URL, such as /h17. What it is sent ends a moment
 * later; nothing is copied. Prints {"url", "host"} once it listens.
 */
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

const STEP_MS = 3;
const HEARTBEAT_MS = 15_000;

interface Request {
  idempotency_key?: string;
  [member: string]: unknown;
}

interface Transfer {
  id: string;
  status: 'queued' | 'running' | 'succeeded';
  [member: string]: unknown;
}

/** One host: its transfers by their keys and ids, and who follows their events. */
class Host {
  readonly #byKey = new Map<string, Transfer>();
  readonly #byId = new Map<string, Transfer>();
  readonly #followers = new Set<Socket>();

  /** @returns the same for the same key */
  accept({ idempotency_key: key = randomUUID(), ...request }: Request): Transfer {
    const earlier = this.#byKey.get(key);
    if (earlier !== undefined) return earlier;
    const transfer: Transfer = { ...document(request), id: randomUUID(), status: 'queued' };
    this.#byKey.set(key, transfer);
    this.#byId.set(transfer.id, transfer);
    const end = { status: 'succeeded', progress: 1, bytes_completed: transfer.size } as const;
    // One after the other: timers of different lengths can change places on a busy machine.
    setTimeout(() => {
      this.#change(transfer, { status: 'running' });
      setTimeout(() => this.#change(transfer, end), STEP_MS);
    }, STEP_MS);
    return transfer;
  }

  find(id: string): Transfer | undefined {
    return this.#byId.get(id);
  }

  follow(response: ServerResponse): void {
    const { socket } = response;
    if (socket === null) return;
    response.writeHead(200, {
      'content-type': 'text/event-stream',
      'transfer-encoding': 'chunked',
    });
    response.flushHeaders();
    this.#followers.add(socket);
    socket.once('close', () => this.#followers.delete(socket));
    this.#tell('event: snapshot\ndata: {}\n\n');
  }

  beat(): void {
    this.#tell(': still here\n\n');
  }

  #change(transfer: Transfer, members: Partial<Transfer>): void {
    Object.assign(transfer, members);
    this.#tell(`event: ${transfer.status}\ndata: ${JSON.stringify(transfer)}\n\n`);
  }

  /** As a chunk in one write, where Node's response would make three buffers of it: all of it is ASCII. */
  #tell(text: string): void {
    const chunk = `${text.length.toString(16)}\r\n${text}\r\n`;
    for (const socket of this.#followers) socket.write(chunk, 'latin1');
  }
}

/** What a daemon answers for a copy. */
function document(request: Request) {
  return {
    ...{ operation: 'copy', engine: 'cpu', engine_reason: 'asked for', channels: [], retries: 0 },
    ...{ priority: 'normal', timeout_ms: null, bytes_completed: 0, progress: 0, segments: null },
    ...{ pattern: null, verification: null, comparison: null, waiting_for: null, error: null },
    durability: { requested: 'flush', achieved: 'none', basis: null },
    ...{ created_at: new Date().toISOString(), started_at: null, finished_at: null },
    timings: { queue_ns: 0, copy_ns: 0, flush_ns: 0, verify_ns: 0, total_ns: 0 },
    ...{ throughput_bytes_per_second: 0, labels: {}, depends_on: [], traceparent: null },
    ...request,
  };
}

const hosts = new Map<string, Host>();

function hostOf(name: string): Host {
  let host = hosts.get(name);
  if (host === undefined) {
    host = new Host();
    hosts.set(name, host);
  }
  return host;
}

function bodyOf(request: IncomingMessage): Promise<Request> {
  return new Promise((resolve, reject) => {
    let text = '';
    request.setEncoding('utf8');
    request.on('data', (chunk: string) => {
      text += chunk;
    });
    request.on('end', () => resolve(JSON.parse(text)));
    request.on('error', reject);
  });
}

function send(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const [, name = '', what = '', id = ''] = (request.url ?? '').split('?', 1)[0]?.split('/') ?? [];
  const host = hostOf(name);
  switch (`${request.method} ${what}`) {
    case 'GET readyz':
      return send(response, 200, { ready: true, waiting_for: [] });
    case 'GET devices':
      return send(response, 200, { devices: [] });
    case 'GET engines':
      return send(response, 200, { dma: { available: false } });
    case 'GET events':
      return host.follow(response);
    case 'GET transfers': {
      const transfer = host.find(id);
      const problem = { code: 'not_found', status: 404, title: 'Not found' };
      return send(response, transfer === undefined ? 404 : 200, transfer ?? problem);
    }
    case 'POST transfers': {
      const body = await bodyOf(request);
      if (id === 'batch') {
        const { transfers } = body as unknown as { transfers: Request[] };
        return send(response, 202, { transfers: transfers.map((each) => host.accept(each)) });
      }
      const key = request.headers['idempotency-key'];
      return send(response, 202, host.accept({ ...body, idempotency_key: String(key) }));
    }
    default:
      return send(response, 404, { code: 'not_found', status: 404, title: 'No such route' });
  }
}

const server = createServer((request, response) => void answer(request, response));
// As a daemon does, which tells clients so.
server.keepAliveTimeout = 75_000;
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo;
  process.stdout.write(`{"url":"http://127.0.0.1:${port}","host":"127.0.0.1"}\n`);
});
setInterval(() => {
  for (const host of hosts.values()) host.beat();
}, HEARTBEAT_MS);
