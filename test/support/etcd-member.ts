// SPDX-License-Identifier: Apache-2.0
import { createServer, type Http2Server, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';

/** What etcd answers, as protobuf: a header with revision 5; a lease with id 7 and 4 s to live. */
const ANSWERS: Record<string, number[]> = {
  '/etcdserverpb.KV/Txn': [0x0a, 0x02, 0x18, 0x05, 0x10, 0x01],
  '/etcdserverpb.Lease/LeaseGrant': [0x10, 0x07, 0x18, 0x04],
  '/etcdserverpb.Lease/LeaseKeepAlive': [0x10, 0x07, 0x18, 0x04],
};

/** As much of a member of etcd as can tell whether it is asked, and can hang. */
export class EtcdMember {
  /** The methods that were called. */
  readonly calls: string[] = [];
  hangs = false;
  readonly #server: Http2Server;
  readonly #sockets = new Set<Socket>();

  private constructor() {
    this.#server = createServer();
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    this.#server.on('stream', (stream: ServerHttp2Stream, { ':path': path = '' }) => {
      this.calls.push(path.split('/').at(-1) ?? '');
      stream.on('error', () => {});
      // A stream of requests is answered once it has one.
      stream.once('data', () => {
        if (!this.hangs) answer(stream, ANSWERS[path] ?? []);
      });
    });
  }

  static async start(): Promise<EtcdMember> {
    const member = new EtcdMember();
    await new Promise<void>((resolve) => member.#server.listen(0, '127.0.0.1', resolve));
    return member;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  stop(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

function answer(stream: ServerHttp2Stream, message: number[]): void {
  const headers = { ':status': 200, 'content-type': 'application/grpc' };
  stream.respond(headers, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  stream.end(Buffer.from([0, 0, 0, 0, message.length, ...message]));
}
