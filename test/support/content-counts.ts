// SPDX-License-Identifier: Apache-2.0
import type { TestApp } from './app.ts';

/** What the metrics count of uploads or downloads: `bytes`, and how many ended with each result. */
export async function contentCounts(
  app: TestApp,
  direction: 'upload' | 'download',
): Promise<Record<string, number>> {
  const { payload } = await app.inject({ url: '/metrics' });
  const lines = payload.matchAll(
    /^dmad_content_(?:requests|bytes)_total\{direction="(\w+)"(?:,result="(\w+)")?\} (\d+)$/gm,
  );
  const counts = [...lines].filter(([, of]) => of === direction);
  return Object.fromEntries(counts.map(([, , result = 'bytes', n]) => [result, Number(n)]));
}
