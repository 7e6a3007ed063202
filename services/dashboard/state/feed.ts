// SPDX-License-Identifier: Apache-2.0
// One stream of events a browser: the tab that holds the lock reads it and tells the others.
import { DmadError, isOver } from '../../client/index.ts';
import type { Replication } from '../../client/types.ts';
import { adoptTransfer, type Transfer } from '../model/transfer.ts';
import { client, messageOf } from './api.ts';
import { type Link, link, setLink } from './link.ts';
import { findService } from './service.ts';
import { token } from './session.ts';
import type { Work, WorkStore } from './store.ts';
import {
  applyChanges,
  applyReplications,
  reloadHistory,
  replications,
  store,
} from './transfers.ts';

/** The latest of each transfer and each replication that has changed. */
interface Changes {
  transfers: Transfer[];
  replications: Replication[];
}

type Message =
  | ({ type: 'changes'; lastEventId: string | undefined } & Changes)
  | { type: 'link'; link: Link }
  /** A tab that has just been opened asks how things stand. */
  | { type: 'hello' }
  | ({ type: 'state'; link: Link; lastEventId: string | undefined } & Changes)
  | { type: 'history' };

/** Soon enough to look immediate; however many transfers come and go, the page has time to draw. */
const INTERVAL_MS = '150';
/** The daemon tells of no more that came and went meanwhile: the history has the others. */
const OMITTING = 30;
const HISTORY_MS = 3000;
/** How long a snapshot may take until what it has not named is asked for. */
const SNAPSHOT_MS = 1500;
/** More than that are not asked for one by one: the list has them. */
const MOST_ASKED = 100;
const RETRY_MS = 2000;

/** Follows all transfers, until it is stopped: each token has a feed of its own. */
export class Feed {
  readonly #stopped = new AbortController();
  #channel: BroadcastChannel | undefined;
  #lastEventId: string | undefined;
  #leads = false;
  #waiting: Changes = { transfers: [], replications: [] };
  #telling = false;
  #historyTimer: ReturnType<typeof setTimeout> | undefined;

  async start(): Promise<void> {
    const name = await feedName();
    const { signal } = this.#stopped;
    await findService(signal).catch(ignoreAbort);
    if (signal.aborted) return;
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }: MessageEvent<Message>) => this.#receive(data);
    // Pages without TLS have no locks, unless they are local: then each tab has its own stream.
    if (navigator.locks === undefined) {
      await this.#lead();
      return;
    }
    this.#post({ type: 'hello' });
    await navigator.locks.request(name, { signal }, () => this.#lead()).catch(ignoreAbort);
  }

  stop(): void {
    this.#stopped.abort();
    this.#channel?.close();
    this.#channel = undefined;
  }

  async #lead(): Promise<void> {
    this.#leads = true;
    const { signal } = this.#stopped;
    const unsubscribe = link.subscribe((value) => this.#post({ type: 'link', link: value }));
    while (!signal.aborted) {
      try {
        await this.#read(signal);
      } catch (error) {
        if (signal.aborted) break;
        if (isRefusal(error)) {
          setLink({ state: 'refused', why: messageOf(error) });
          break;
        }
        setLink({ state: 'lost', since: Date.now() });
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
    unsubscribe();
  }

  async #read(signal: AbortSignal): Promise<void> {
    const events = client.watchWork(
      { interval_ms: INTERVAL_MS },
      {
        signal,
        retryForMs: Number.POSITIVE_INFINITY,
        lastEventId: this.#lastEventId,
        onSnapshot: () => this.#onSnapshot(),
      },
    );
    for await (const event of events) {
      this.#lastEventId = event.id ?? this.#lastEventId;
      if ('transfer' in event) {
        this.#waiting.transfers.push(adoptTransfer<Transfer>(event.transfer));
      } else {
        this.#waiting.replications.push(event.replication);
      }
      if (!this.#telling) afterThisTask(() => this.#tell());
      this.#telling = true;
    }
  }

  /** What came together goes on together. */
  #tell(): void {
    this.#telling = false;
    // What is shown by now is another token's.
    if (this.#stopped.signal.aborted) return;
    const { transfers, replications: replicated } = this.#waiting;
    this.#waiting = { transfers: [], replications: [] };
    const changes = latestOfEach(transfers);
    // Segments never change: the other tabs have them of what this one has known before.
    const brief = changes.map((one) => (store.get(one.id) ? { ...one, segments: null } : one));
    const ended = changes.filter((one) => isOver(one) && !store.get(one.id));
    if (ended.length >= OMITTING) this.#reloadHistoryLater();
    applyChanges(changes);
    applyReplications(replicated);
    this.#post({
      ...{ type: 'changes', transfers: brief, replications: replicated },
      lastEventId: this.#lastEventId,
    });
  }

  #onSnapshot(): void {
    for (const each of [store, replications]) each.beginSnapshot();
    setTimeout(() => this.#confirm(), SNAPSHOT_MS);
    this.#reloadHistory();
  }

  #reloadHistory(): void {
    reloadHistory();
    this.#post({ type: 'history' });
  }

  /** Not more often than now and then, however long a flood goes on. */
  #reloadHistoryLater(): void {
    this.#historyTimer ??= setTimeout(() => {
      this.#historyTimer = undefined;
      if (!this.#stopped.signal.aborted) this.#reloadHistory();
    }, HISTORY_MS);
  }

  /** Asks for those that ended while nobody listened. */
  async #confirm(): Promise<void> {
    const transfers = await this.#askForUnconfirmed(store, async (id) =>
      applyChanges([adoptTransfer<Transfer>(await client.getTransfer(id))]),
    );
    const replicated = await this.#askForUnconfirmed(replications, async (id) =>
      applyReplications([await client.getReplication(id)]),
    );
    if (transfers + replicated > 0) this.#post(this.#state());
  }

  /** @returns how many there were */
  async #askForUnconfirmed<W extends Work>(
    works: WorkStore<W>,
    ask: (id: string) => Promise<void>,
  ): Promise<number> {
    const ids = works.unconfirmed();
    for (const [index, id] of ids.entries()) {
      if (this.#stopped.signal.aborted) break;
      try {
        if (index >= MOST_ASKED) works.remove(id);
        else await ask(id);
      } catch {
        works.remove(id);
      }
    }
    return ids.length;
  }

  #state(): Message {
    return {
      ...{ type: 'state', link: link.value, lastEventId: this.#lastEventId },
      ...{ transfers: store.unfinished(), replications: replications.unfinished() },
    };
  }

  #receive(message: Message): void {
    if (this.#leads) {
      if (message.type === 'hello') this.#post(this.#state());
      return;
    }
    switch (message.type) {
      case 'changes':
        this.#lastEventId = message.lastEventId;
        applyChanges(message.transfers);
        applyReplications(message.replications);
        break;
      case 'state':
        this.#lastEventId = message.lastEventId;
        setLink(message.link);
        for (const each of [store, replications]) each.beginSnapshot();
        applyChanges(message.transfers);
        applyReplications(message.replications);
        for (const each of [store, replications]) {
          for (const id of each.unconfirmed()) each.remove(id);
        }
        break;
      case 'link':
        setLink(message.link);
        break;
      case 'history':
        reloadHistory();
        break;
    }
  }

  #post(message: Message): void {
    this.#channel?.postMessage(message);
  }
}

/** Tabs with different tokens see different transfers. */
async function feedName(): Promise<string> {
  const secret = token.value;
  if (secret === undefined || crypto.subtle === undefined) return 'dmad-events';
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(secret));
  const bytes = new Uint8Array(digest).subarray(0, 16);
  return `dmad-events-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}

function isRefusal(error: unknown): boolean {
  return error instanceof DmadError && (error.status === 401 || error.status === 403);
}

function ignoreAbort(error: unknown): void {
  if ((error as Error).name !== 'AbortError') throw error;
}

/** Also in a tab in the background, where timers are held back. */
function afterThisTask(call: () => void): void {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => {
    port1.close();
    call();
  };
  port2.postMessage(undefined);
}

function latestOfEach(changes: readonly Transfer[]): Transfer[] {
  const latest = new Map<string, Transfer>();
  for (const change of changes) {
    const segments = change.segments ?? latest.get(change.id)?.segments ?? null;
    latest.set(change.id, { ...change, segments });
  }
  return [...latest.values()];
}
