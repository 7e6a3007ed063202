// SPDX-License-Identifier: Apache-2.0
import { deepEqual } from 'node:assert';
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import type { TransferDocument } from '../../services/daemon/transfers/schema.ts';
import { answered, ask, clientOf, TOKEN, waitForEnd } from './crash-client.ts';
import { BLOCK, BLOCKS, DEVICES, filled, Region } from './crash-model.ts';
import {
  type Batch,
  type Request,
  randomBatch,
  randomTransfer,
  type Transfer,
  type Upload,
  uploadTo,
} from './crash-requests.ts';
import type { Random } from './random.ts';

/** After as many a worker looks what became of them: the daemon's history is not endless. */
const LOOK_AFTER = 30;
const JSON_TYPE = { 'content-type': 'application/json', ...TOKEN.header };

export function devicesFor(workers: number): string {
  const size = workers * BLOCKS * BLOCK;
  return DEVICES.map((name) => `emulated:${name}=${size}`).join(',');
}

/**
 * A client that copies, fills and compares in its own region, one request after the other, and knows
 * what must be in it, whenever the daemon is killed.
 */
export class Worker {
  accepted = 0;
  interrupted = 0;
  refused = 0;
  /** Labels of transfers that the daemon refused: none of them may ever be found. */
  readonly refusedLabels = new Set<string>();
  uncertain = 0;
  /** Compares whose outcome was as the model has it: of equal bytes, and of others. */
  readonly compared = { equal: 0, different: 0 };
  /** Batches that were answered, and that the daemon was killed about. */
  readonly batches = { answered: 0, accepted: 0, lost: 0 };
  /** Changes that were answered, and transfers that were found to have failed with others. */
  changed = 0;
  failed = 0;
  readonly #random: Random;
  readonly #region: Region;
  #requests: Request[] = [];

  /** @param index of its region */
  constructor(index: number, random: Random) {
    this.#random = random;
    this.#region = new Region(index);
  }

  get #transfers(): Transfer[] {
    return this.#requests.flatMap((request) => transfersOf(request));
  }

  /** Asks for one thing after the other until the daemon answers no more. */
  async work(url: string): Promise<void> {
    for (;;) {
      try {
        if (this.#transfers.length >= LOOK_AFTER) await this.resolve(url);
        const random = this.#random.integer(1, 9);
        if (random === 1) await this.#sendUpload(url);
        else if (random === 2) await this.#sendNewBatch(url);
        else await this.#sendNew(url);
      } catch (error) {
        if (error instanceof assert.AssertionError) throw error;
        return;
      }
    }
  }

  /** After a restart: asks again for what had a key, and waits for all that goes on. */
  async resolve(url: string): Promise<void> {
    for (const request of [...this.#requests]) {
      if (request.kind === 'batch') {
        if (!request.answered) await this.#resolveBatch(url, request);
      } else if (request.kind !== 'upload' && request.key !== undefined && !request.answered) {
        await this.#sendTransfer(url, request);
      }
    }
    const seen = new Map<string, TransferDocument>();
    for (const { id, succeeded } of this.#transfers) {
      if (id !== undefined && !succeeded) seen.set(id, await waitForEnd(url, id));
    }
    const ends = { succeeded: new Set<Transfer>(), doubted: new Set<Transfer>() };
    for (const request of this.#requests) {
      if (request.kind === 'upload') {
        this.#region.write(request.ranges, request.answered ? request.value : undefined);
      }
      for (const transfer of transfersOf(request)) {
        this.#apply(transfer, seen.get(transfer.id ?? ''), ends);
      }
    }
    this.#requests = [];
  }

  /** Compares every byte; all must be over. */
  async check(url: string): Promise<void> {
    for (const [device, name] of DEVICES.entries()) {
      const range = { offset: this.#region.offsetOf(0), size: BLOCKS * BLOCK };
      const { stream } = await answered(clientOf(url).readContent(name, range), 'reading');
      const bytes = await buffer(stream);
      assert.equal(bytes.length, BLOCKS * BLOCK);
      for (let block = 0; block < BLOCKS; block++) {
        const value = this.#region.valueOf(device, block);
        if (value === undefined) {
          this.uncertain++;
          // It may be a mixture; from now on it is known again.
          const upload = uploadTo(this.#region, device, block);
          await this.#put(url, upload);
          this.#region.write(upload.ranges, upload.value);
        } else {
          const found = bytes.subarray(block * BLOCK, (block + 1) * BLOCK);
          this.#region.checkBlock(device, block, found, value);
        }
      }
    }
  }

  async #sendUpload(url: string): Promise<void> {
    const random = this.#random;
    const upload = uploadTo(this.#region, random.integer(0, 1), random.integer(0, BLOCKS - 1));
    this.#requests.push(upload);
    await this.#put(url, upload);
  }

  async #put(url: string, upload: Upload): Promise<void> {
    const { destination, pieces } = upload.ranges;
    const offset = this.#region.offsetOf(pieces[0]?.to ?? 0);
    const name = DEVICES[destination] as string;
    const bytes = new Uint8Array(filled(upload.value));
    await answered(clientOf(url).writeContent(name, bytes, { offset }), 'writing');
    upload.answered = true;
  }

  async #sendNew(url: string): Promise<void> {
    const transfer = randomTransfer(this.#random, this.#region, this.#transfers);
    this.#requests.push(transfer);
    await this.#sendTransfer(url, transfer);
    const goesOn = transfer.answered && !transfer.succeeded;
    if (goesOn && this.#random.integer(1, 3) === 1) await this.#change(url, transfer);
  }

  async #sendTransfer(url: string, transfer: Transfer): Promise<void> {
    const { key } = transfer;
    const send = async () => {
      const response = await ask(`${url}/transfers`, {
        method: 'POST',
        headers: {
          ...JSON_TYPE,
          ...(this.#random.integer(1, 3) > 1 && { prefer: 'respond-async' }),
          ...(key !== undefined && { 'idempotency-key': key }),
        },
        body: JSON.stringify(transfer.body),
      });
      const answer = await response.json();
      const { transfer: stopped } = answer as { transfer?: TransferDocument };
      const document = (stopped ?? answer) as TransferDocument;
      if (isJournals(answer) && stopped !== undefined) {
        transfer.stopped = true;
        return stopped.id;
      }
      if (this.#isRefused(response, answer, [transfer])) {
        this.#forget(transfer, [transfer]);
        return undefined;
      }
      // What was stopped by a crash, or failed with another, before a client asks again is answered so.
      const { status } = response;
      const ended =
        (status === 503 && document.status === 'interrupted') ||
        (status === 424 && document.error?.code === 'dependency_failed');
      assert.ok([200, 201, 202].includes(status) || ended, JSON.stringify(answer));
      transfer.id = document.id;
      transfer.answered = true;
      transfer.succeeded = status === 201 && key === undefined;
      transfer.comparison = document.comparison;
      this.accepted++;
      return document.id;
    };
    // Two at once with one key are one.
    const twice = key !== undefined && this.#random.integer(1, 4) === 1;
    const ids = await Promise.all(twice ? [send(), send()] : [send()]);
    assert.equal(new Set(ids).size, 1, 'two transfers for one key');
  }

  async #sendNewBatch(url: string): Promise<void> {
    const batch = randomBatch(this.#random, this.#region, this.#transfers);
    this.#requests.push(batch);
    await this.#sendBatch(url, batch);
  }

  async #sendBatch(url: string, batch: Batch, found: readonly string[] = []): Promise<void> {
    const response = await ask(`${url}/transfers/batch`, {
      method: 'POST',
      headers: { ...JSON_TYPE, prefer: 'return=minimal' },
      body: JSON.stringify({ transfers: batch.transfers.map(({ body }) => body) }),
    });
    const answer = (await response.json()) as { transfers: string[] };
    if (this.#isRefused(response, answer, batch.transfers)) {
      assert.equal(found.length, 0, `batch ${batch.label} was accepted, and then refused`);
      this.#forget(batch, batch.transfers);
      return;
    }
    assert.equal(response.status, 202, JSON.stringify(answer));
    const replayed = response.headers.get('idempotency-replayed');
    assert.equal(replayed, found.length > 0 ? 'true' : null, `batch ${batch.label}`);
    this.batches.answered++;
    this.#take(batch, answer.transfers);
    if (found.length > 0) assert.deepEqual([...found].sort(), [...answer.transfers].sort());
  }

  /** One that the daemon was killed about: all of it was accepted, or nothing. */
  async #resolveBatch(url: string, batch: Batch): Promise<void> {
    const { label, transfers } = batch;
    const list = await clientOf(url).listTransfers({ label: `batch:${label}` });
    const found = new Map(list.transfers.map(({ id, labels }) => [labels.label, id]));
    assert.ok([0, transfers.length].includes(found.size), `${found.size} of batch ${label}`);
    if (found.size > 0) this.batches.accepted++;
    else this.batches.lost++;
    if (batch.keyed) await this.#sendBatch(url, batch, [...found.values()]);
    else if (found.size === 0) this.#forget(batch, transfers);
    else
      this.#take(
        batch,
        transfers.map((transfer) => found.get(transfer.label) as string),
      );
  }

  #take(batch: Batch, ids: readonly string[]): void {
    batch.answered = true;
    for (const [index, transfer] of batch.transfers.entries()) {
      transfer.id = ids[index];
      transfer.answered = true;
      this.accepted++;
    }
  }

  /** It was not accepted, and must never be found. */
  #forget(request: Request, transfers: readonly Transfer[]): void {
    this.#requests = this.#requests.filter((other) => other !== request);
    for (const { label } of transfers) this.refusedLabels.add(label);
    this.refused += transfers.length;
  }

  #isRefused({ status }: Response, answer: unknown, transfers: readonly Transfer[]): boolean {
    const { code } = answer as { code?: string };
    // One that a crash may lose was not waited for in the journal.
    const depended = transfers.flatMap(({ dependencies }) => dependencies);
    const mayBeLost = depended.some(({ succeeded }) => succeeded);
    if (code === 'unknown_transfer' && mayBeLost) return true;
    return status === 429 || code === 'overloaded' || isJournals(answer);
  }

  async #change(url: string, transfer: Transfer): Promise<void> {
    const change = { value: randomUUID(), answered: false };
    transfer.changes.push(change);
    const response = await ask(`${url}/transfers/${transfer.id}`, {
      method: 'PATCH',
      headers: { ...TOKEN.header, 'content-type': 'application/merge-patch+json' },
      body: JSON.stringify({ labels: { changed: change.value }, timeout_ms: 86_400_000 }),
    });
    const answer = (await response.json()) as { code?: string };
    if (response.status === 200) {
      change.answered = true;
      this.changed++;
      return;
    }
    const refused = answer.code === 'not_changeable' || answer.code === 'overloaded';
    assert.ok(refused || isJournals(answer), JSON.stringify(answer));
    transfer.changes.pop();
  }

  /** @param ends of those before it; `doubted`: the journal could not be written, which may have held more */
  #apply(
    transfer: Transfer,
    document: TransferDocument | undefined,
    { succeeded, doubted }: Record<'succeeded' | 'doubted', Set<Transfer>>,
  ): void {
    const { kind, ranges, value, id, label, stopped, dependencies } = transfer;
    const status = transfer.succeeded ? 'succeeded' : document?.status;
    if (document !== undefined) checkChanges(transfer, document);
    const haveSucceeded = dependencies.every((dependency) => succeeded.has(dependency));
    if (status === 'failed') {
      assert.equal(document?.error?.code, 'dependency_failed', `transfer ${id}`);
      assert.ok(!haveSucceeded, `transfer ${id} failed for nothing`);
      this.failed++;
      return;
    }
    if (status === 'interrupted') {
      this.interrupted++;
      if (/journal/.test(document?.error?.detail ?? '')) doubted.add(transfer);
    } else if (id !== undefined) {
      assert.equal(status, 'succeeded');
    }
    const certain = status === 'succeeded' && !stopped;
    if (certain) {
      const early = dependencies.find((one) => !succeeded.has(one) && !doubted.has(one));
      assert.equal(early?.id, undefined, `transfer ${id} ran before one that it depends on`);
      succeeded.add(transfer);
    }
    if (kind !== 'compare') {
      this.#region.write(ranges, certain ? (value ?? 'source') : undefined);
      return;
    }
    const expected = certain ? this.#region.compare(ranges) : undefined;
    if (expected == null) return;
    deepEqual(document?.comparison ?? transfer.comparison, expected, `compare ${label}`);
    this.compared[expected.equal ? 'equal' : 'different']++;
  }
}

function transfersOf(request: Request): Transfer[] {
  if (request.kind === 'upload') return [];
  return request.kind === 'batch' ? request.transfers : [request];
}

/** Whether the journal could not be written. */
function isJournals(answer: unknown): boolean {
  const { code = '' } = answer as { code?: string };
  return code === 'storage_full' || code === 'journal_unavailable';
}

/** The last change that was answered counts, or one behind it whose answer got lost. */
function checkChanges({ id, changes }: Transfer, { labels }: TransferDocument): void {
  const last = changes.findLastIndex(({ answered }) => answered);
  const possible = changes.slice(Math.max(0, last)).map(({ value }) => value);
  const found = labels.changed;
  const ok = found === undefined ? last < 0 : possible.includes(found);
  assert.ok(ok, `transfer ${id} has the change ${found}, not one of ${possible}`);
}
