// SPDX-License-Identifier: Apache-2.0

/** An answer to a request, whose body has not been read. */
export interface Answer {
  readonly status: number;
  readonly headers: Pick<Headers, 'get'>;
  json(): Promise<unknown>;
  /** The body as text. Reading stops once there are more than `limit` bytes, and the rest is dropped. */
  text(limit: number): Promise<string>;
  /** The body, piece by piece as it comes. */
  chunks(): AsyncIterable<Uint8Array>;
  /** The body is not read: gives its connection up. */
  discard(): void;
}

/** One that fetch brought. */
export class FetchedAnswer implements Answer {
  readonly response: Response;

  constructor(response: Response) {
    this.response = response;
  }

  get status(): number {
    return this.response.status;
  }

  get headers(): Headers {
    return this.response.headers;
  }

  json(): Promise<unknown> {
    return this.response.json();
  }

  async text(limit: number): Promise<string> {
    const reader = this.response.body?.getReader();
    const decoder = new TextDecoder();
    let text = '';
    for (let size = 0; reader !== undefined && size <= limit; ) {
      const { done, value } = await reader.read();
      if (done) return text + decoder.decode();
      size += value.length;
      text += decoder.decode(value, { stream: true });
    }
    await reader?.cancel();
    return text;
  }

  chunks(): AsyncIterable<Uint8Array> {
    return chunksOf(this.response);
  }

  discard(): void {
    this.response.body?.cancel().catch(() => {});
  }
}

/** A body, piece by piece: not every browser can iterate over a stream. */
export async function* chunksOf({ body }: Response): AsyncGenerator<Uint8Array> {
  const reader = body?.getReader();
  try {
    for (;;) {
      const { done, value } = (await reader?.read()) ?? { done: true };
      if (done || value === undefined) return;
      yield value;
    }
  } finally {
    reader?.releaseLock();
  }
}
