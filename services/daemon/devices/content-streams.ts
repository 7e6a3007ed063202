// SPDX-License-Identifier: Apache-2.0
import type { ContentDirection } from '../../base/vocabulary.ts';
import { seesAllTransfers, seesTransfersOf, type Viewer } from '../../http/access/visibility.ts';
import type { ContentObserver, ContentResult } from './content-observer.ts';
import type { StreamDocument, StreamListDocument } from './schema.ts';

/** More in one answer say nothing more. */
const MAX_LISTED = 1000;

/** An upload, or a download, as it begins. */
export interface NewStream {
  direction: ContentDirection;
  /** The name of the device. */
  device: string;
  offset: number;
  /** Up to the device's end if an upload's length is not known. */
  size: number;
  /** Whose it is, by name. */
  client: string;
  requestId: string;
}

/** An upload or a download that has begun and not ended. */
export class ContentStream {
  readonly #of: NewStream;
  readonly #observer: ContentObserver;
  readonly #onEnd: (stream: ContentStream) => void;
  readonly #openedMs = Date.now();
  #startedMs: number | undefined;
  #bytes = 0;

  constructor(of: NewStream, observer: ContentObserver, onEnd: (stream: ContentStream) => void) {
    this.#of = of;
    this.#observer = observer;
    this.#onEnd = onEnd;
  }

  get client(): string {
    return this.#of.client;
  }

  /** Its turn has come. */
  start(): void {
    this.#startedMs = Date.now();
  }

  /** @param bytes that the device has taken, or that were sent, since this was called last */
  moved(bytes: number): void {
    this.#bytes += bytes;
    this.#observer.moved(this.#of.direction, bytes);
  }

  end(result: ContentResult): void {
    this.#onEnd(this);
    this.#observer.ended(this.#of.direction, result);
  }

  documentFor(viewer: Viewer): StreamDocument {
    const { requestId, device, direction, offset, size, client } = this.#of;
    const started = this.#startedMs;
    return {
      request_id: requestId,
      direction,
      status: started === undefined ? 'queued' : 'running',
      ...{ device_name: device, offset, size, bytes_completed: this.#bytes },
      created_at: new Date(this.#openedMs).toISOString(),
      started_at: started === undefined ? null : new Date(started).toISOString(),
      ...(seesAllTransfers(viewer) && { client }),
    };
  }
}

/** The uploads and downloads that are under way, or wait for their turn. */
export class ContentStreams {
  readonly #open = new Set<ContentStream>();
  readonly #observer: ContentObserver;

  constructor(observer: ContentObserver) {
    this.#observer = observer;
  }

  open(stream: NewStream): ContentStream {
    const opened = new ContentStream(stream, this.#observer, (ended) => this.#open.delete(ended));
    this.#open.add(opened);
    return opened;
  }

  /** Those that a client sees, the oldest first. */
  listFor(viewer: Viewer): StreamListDocument {
    const seen = [...this.#open].filter(({ client }) => seesTransfersOf(viewer, client));
    const listed = seen.slice(0, MAX_LISTED);
    return { streams: listed.map((each) => each.documentFor(viewer)), total: seen.length };
  }
}
