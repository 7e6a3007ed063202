// SPDX-License-Identifier: Apache-2.0
import { type ConnectedClient, isOver, type Transfer } from '../../client/node.ts';

/** How many finished transfers are shown: the latest. */
const LATEST = 10;
/** How many queued transfers are shown; the others are counted. */
const MAX_QUEUED = 200;

export type RatedTransfer = Transfer & { rate: number };

/** The transfers that `top` shows, kept up to date by the daemon's events. */
export class LiveTransfers {
  readonly #client: ConnectedClient;
  readonly #running = new Map<string, Transfer>();
  readonly #queued = new Map<string, Transfer>();
  readonly #waiting = new Set<string>();
  readonly #finished = new Map<string, Transfer>();
  /** As the last picture had them. */
  #before = new Map<string, { bytes: number; at: number }>();

  constructor(client: ConnectedClient) {
    this.#client = client;
  }

  /** How many are queued, shown or not. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Reads events until the signal aborts. @throws DmadError once they cannot be read any more */
  async follow(signal: AbortSignal): Promise<void> {
    const onSnapshot = () => this.#forgetUnfinished();
    for await (const { transfer } of this.#client.watchAll({}, { signal, onSnapshot })) {
      this.#take(transfer);
    }
  }

  /** Reads those that have already finished: no event will bring them. */
  async readLatest(signal: AbortSignal): Promise<void> {
    const { transfers } = await this.#client.listTransfers(
      { page_size: String(LATEST) },
      { signal },
    );
    for (const transfer of (transfers as Transfer[]).toReversed()) {
      if (isOver(transfer) && !this.#finished.has(transfer.id)) this.#take(transfer);
    }
  }

  /** The running ones, the queued ones, then the last that finished; with rates since the last call. */
  picture(): RatedTransfer[] {
    const at = performance.now();
    const finished = [...this.#finished.values()].toReversed();
    const all = [...this.#running.values(), ...this.#queued.values(), ...finished];
    const rated = all.map((transfer) => {
      const before = this.#before.get(transfer.id);
      const rate =
        before === undefined || isOver(transfer)
          ? transfer.throughput_bytes_per_second
          : ((transfer.bytes_completed - before.bytes) / (at - before.at)) * 1000;
      return { ...transfer, rate: Math.max(0, Math.round(rate)) };
    });
    this.#before = new Map(all.map(({ id, bytes_completed: bytes }) => [id, { bytes, at }]));
    return rated;
  }

  #take(transfer: Transfer): void {
    const { id, status } = transfer;
    this.#running.delete(id);
    if (status === 'queued') {
      this.#waiting.add(id);
      if (this.#queued.has(id) || this.#queued.size < MAX_QUEUED) this.#queued.set(id, transfer);
      return;
    }
    this.#waiting.delete(id);
    this.#queued.delete(id);
    if (status === 'running') this.#running.set(id, transfer);
    else this.#end(transfer);
  }

  #end(transfer: Transfer): void {
    this.#finished.set(transfer.id, transfer);
    const [oldest] = this.#finished.keys();
    if (this.#finished.size > LATEST && oldest !== undefined) this.#finished.delete(oldest);
  }

  /** Their ends may have been missed. */
  #forgetUnfinished(): void {
    this.#running.clear();
    this.#queued.clear();
    this.#waiting.clear();
  }
}
