// SPDX-License-Identifier: Apache-2.0
// One stream of events a browser: the tab that holds the lock reads it and tells the others.
import { DmadError, isOver } from '../../client/index.ts';
import type { Transfer } from '../../client/types.ts';
import { client, messageOf } from './api.ts';
import { type Link, link, setLink } from './link.ts';
import { token } from './session.ts';
import { applyChanges, reloadHistory, store } from './transfers.ts';

type Message =
  | { type: 'changes'; changes: Transfer[]; lastEventId: string | undefined }
  | { type: 'link'; link: Link }
  /** A tab that has just been opened asks how things stand. */
  | { type: 'hello' }
  | { type: 'state'; unfinished: Transfer[]; link: Link; lastEventId: string | undefined }
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
  #waiting: Transfer[] = [];
  #historyTimer: ReturnType<typeof setTimeout> | undefined;

  async start(): Promise<void> {
    const name = await feedName();
    const { signal } = this.#stopped;
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
    const events = client.watchAll(
      { interval_ms: INTERVAL_MS },
      {
        signal,
        retryForMs: Number.POSITIVE_INFINITY,
        lastEventId: this.#lastEventId,
        onSnapshot: () => this.#onSnapshot(),
      },
    );
    for await (const { id, transfer } of events) {
      this.#lastEventId = id ?? this.#lastEventId;
      this.#waiting.push(transfer);
      if (this.#waiting.length === 1) afterThisTask(() => this.#tell());
    }
  }

  /** What came together goes on together. */
  #tell(): void {
    const changes = latestOfEach(this.#waiting.splice(0));
    // Segments never change: the other tabs have them of what this one has known before.
    const brief = changes.map((one) => (store.get(one.id) ? { ...one, segments: null } : one));
    const ended = changes.filter((one) => isOver(one) && !store.get(one.id));
    if (ended.length >= OMITTING) this.#reloadHistoryLater();
    applyChanges(changes);
    this.#post({ type: 'changes', changes: brief, lastEventId: this.#lastEventId });
  }

  #onSnapshot(): void {
    store.beginSnapshot();
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
    const ids = store.unconfirmed();
    for (const [index, id] of ids.entries()) {
      if (this.#stopped.signal.aborted) return;
      try {
        if (index >= MOST_ASKED) store.remove(id);
        else applyChanges([await client.getTransfer(id)]);
      } catch {
        store.remove(id);
      }
    }
    if (ids.length > 0) this.#post(this.#state());
  }

  #state(): Message {
    return {
      ...{ type: 'state', unfinished: store.unfinished(), link: link.value },
      lastEventId: this.#lastEventId,
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
        applyChanges(message.changes);
        break;
      case 'state':
        this.#lastEventId = message.lastEventId;
        setLink(message.link);
        store.beginSnapshot();
        applyChanges(message.unfinished);
        for (const id of store.unconfirmed()) store.remove(id);
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
