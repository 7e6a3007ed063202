// SPDX-License-Identifier: Apache-2.0
import type { Fetch } from '../../client/index.ts';

export type UploadProgress = (sent: number) => void;

/**
 * fetch by XMLHttpRequest, which alone tells how much of a body has been sent: a stream that would
 * count needs HTTP/2, and not all browsers have it.
 */
export function xhrFetch(onProgress: UploadProgress): Fetch {
  return (input, init = {}) =>
    new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open(init.method ?? 'GET', String(input));
      request.responseType = 'blob';
      for (const [name, value] of Object.entries(init.headers as Record<string, string>)) {
        // The browser sets it, and allows nobody else to.
        if (name !== 'content-length') request.setRequestHeader(name, value);
      }
      request.upload.onprogress = ({ loaded }) => onProgress(loaded);
      request.onload = () => resolve(responseOf(request));
      request.onerror = () => reject(new TypeError('The connection was lost'));
      request.onabort = () => reject(init.signal?.reason);
      init.signal?.addEventListener('abort', () => request.abort(), { once: true });
      request.send(init.body as XMLHttpRequestBodyInit);
    });
}

function responseOf(request: XMLHttpRequest): Response {
  const lines = request.getAllResponseHeaders().split('\r\n').filter(Boolean);
  const headers = lines.map((line): [string, string] => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon), line.slice(colon + 1).trim()];
  });
  const { status, response } = request;
  return new Response(response, { status, headers });
}
