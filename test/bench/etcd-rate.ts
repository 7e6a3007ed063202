// SPDX-License-Identifier: Apache-2.0
/**
 * Transactions as a gateway accepts transfers with, one for each transfer, as many as etcd takes in that time:
 * etcd-rate.js URLS SECONDS. Prints {"perSecond"}.
 */
import { randomBytes } from 'node:crypto';
import { Etcd3, type ICompare } from 'etcd3';

const AT_ONCE = 64;

const [urls = '', seconds] = process.argv.slice(2);
const etcd = new Etcd3({ hosts: urls.split(',') });
const own = randomBytes(6).toString('hex');
/** As large as a transfer's record. */
const value = Buffer.alloc(600, 'x');
const absent = (key: string): ICompare => ({
  ...{ key: Buffer.from(key), target: 'Create', result: 'Equal', create_revision: 0 },
});

let count = 0;
const end = performance.now() + Number(seconds) * 1000;

async function write(): Promise<void> {
  while (performance.now() < end) {
    const name = `${own}/${count++}`;
    const key = `rate/transfers/${name}`;
    await etcd.kv.txn({
      compare: [
        { key: Buffer.from('rate/host'), target: 'Create', result: 'Equal', create_revision: 0 },
        ...[absent(key), absent(`rate/leaving/${name}`), absent(`rate/ended/${name}`)],
      ],
      success: [{ request_put: { key: Buffer.from(key), value } }],
      failure: [],
    });
  }
}

const began = performance.now();
await Promise.all(Array.from({ length: AT_ONCE }, write));
const perSecond = (count / (performance.now() - began)) * 1000;
process.stdout.write(`${JSON.stringify({ perSecond })}\n`);
etcd.close();
