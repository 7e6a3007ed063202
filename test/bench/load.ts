// SPDX-License-Identifier: Apache-2.0
/**
 * Sends transfers of 4 KiB, a process of its own: load.js URL CONNECTIONS OFFSET COUNT SECONDS.
 * Each connection has one request under way. Ends after COUNT answers or SECONDS, whichever is
 * sooner, and prints {"answers", "perSecond", "p50", "p99"}: transfers, and milliseconds.
 */
import { Client } from 'undici';
import { quantile } from './figures.ts';

const SIZE = 4096;

const [url, connections, offset, count, seconds] = process.argv.slice(2) as [
  ...[string, string, string, string, string],
];
const body = JSON.stringify({
  device_name: 'dax0.0',
  dst_device_name: 'dax1.0',
  src_offset: Number(offset),
  dst_offset: Number(offset),
  size: SIZE,
  durability: 'none',
});
const taken: number[] = [];
const end = performance.now() + Number(seconds) * 1000;
let left = Number(count);

async function connection(): Promise<void> {
  const client = new Client(url);
  while (left-- > 0 && performance.now() < end) {
    const began = performance.now();
    const answer = await client.request({
      method: 'POST',
      path: '/transfers',
      headers: { 'content-type': 'application/json' },
      body,
    });
    const text = await answer.body.text();
    if (answer.statusCode !== 201) throw new Error(`${answer.statusCode}: ${text}`);
    taken.push(performance.now() - began);
  }
  await client.close();
}

const began = performance.now();
await Promise.all(Array.from({ length: Number(connections) }, connection));
const perSecond = (taken.length / (performance.now() - began)) * 1000;
const quantiles = { p50: quantile(taken, 0.5), p99: quantile(taken, 0.99) };
const figures = { answers: taken.length, perSecond, ...quantiles };
process.stdout.write(`${JSON.stringify(figures)}\n`);
