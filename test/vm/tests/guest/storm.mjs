// SPDX-License-Identifier: Apache-2.0
//
// In the guest: storm.mjs COUNT. So many transfers by DMA from several clients at once, under
// random faults of the hardware. None may say that it succeeded where the bytes are wrong: not
// without `verify` for a fault that the driver reports, and not with it for any fault.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { json, metric, read, startDaemon, transfer, until, write } from './daemon-client.mjs';

const COUNT = Number(process.argv[2] ?? 500);
const CLIENTS = 8;
const SOURCE_SIZE = 2 ** 20;
const MAX_SIZE = 65_536;
const QUICK = ['error=0x100', 'error=0x200', 'lost-irq', 'lost-completion', 'delay=30ms'];
/** Hangs take the driver seconds to get over: fewer of them. */
const REPORTED = [...Array(6).fill(QUICK).flat(), 'hang'];

const seed = Number(process.argv[3] ?? Math.floor(Math.random() * 2 ** 31));
console.log(`seed ${seed}`);
let state = seed;
/** A whole number from 0 to `below` - 1 (mulberry32). */
function random(below) {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) % below;
}

const source = randomBytes(SOURCE_SIZE);
const outcomes = new Map();
let left = COUNT;
let silent = false;
let over = false;

const fault = (spec) => execFileSync('fault', [spec]);

/** Half of the time the hardware reports its faults, half of the time it keeps silent. */
async function spoil() {
  while (!over) {
    silent = left < COUNT / 2;
    fault(`${silent ? 'corrupt' : REPORTED[random(REPORTED.length)]}@${1 + random(20)}`);
    await sleep(random(400));
    // What was not met yet would pile up.
    if (random(8) === 0) fault('clear');
  }
  fault('clear');
}

async function client(index) {
  const base = index * MAX_SIZE * 2;
  // What its part of the destination holds, as far as that is known.
  const model = Buffer.alloc(MAX_SIZE);
  await write('dax1.0', base, model);
  while (left-- > 0) {
    const segments = [];
    const expected = Buffer.from(model);
    for (let n = 1 + random(4); n > 0; n--) {
      const size = 1 + random(random(4) === 0 ? MAX_SIZE : 4096);
      const src_offset = random(SOURCE_SIZE - size);
      const to = random(MAX_SIZE - size + 1);
      segments.push({ src_offset, dst_offset: base + to, size });
      source.copy(expected, to, src_offset, src_offset + size);
    }
    // Known before it is sent: while it runs the hardware may begin to keep silent.
    const verify = silent || left < COUNT / 2 + 2 * CLIENTS || random(2) === 0;
    const { status, body } = await transfer({
      device_name: 'dax0.0',
      dst_device_name: 'dax1.0',
      segments,
      engine: 'dma',
      verify: verify ? 'crc32c' : 'none',
    });
    const outcome = status === 201 ? 'succeeded' : (body.dma?.error ?? body.code);
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    if (status === 201) {
      expected.copy(model);
      const found = await read('dax1.0', base, MAX_SIZE);
      assert.ok(
        found.equals(model),
        `wrong bytes in a transfer that succeeded: ${JSON.stringify(body)}`,
      );
    } else if (status === 422) {
      // All channels are in trouble at once.
      assert.equal(body.code, 'engine_unavailable');
      await sleep(200);
    } else {
      assert.ok([502, 504].includes(status), JSON.stringify(body));
      assert.equal(body.transfer.status, 'failed');
      // What a failed transfer leaves is not known: begin anew.
      model.fill(0);
      await write('dax1.0', base, model);
    }
  }
}

const stop = await startDaemon({ DMAD_LOG_LEVEL: 'error' });
await write('dax0.0', 0, source);
const spoiling = spoil();
await Promise.all(Array.from({ length: CLIENTS }, (_, index) => client(index)));
over = true;
await spoiling;
console.log(JSON.stringify(Object.fromEntries([...outcomes].sort())));
console.log(`retries: ${await metric('dmad_dma_retries_total')}`);
assert.ok((outcomes.get('succeeded') ?? 0) > COUNT / 4);
assert.ok((outcomes.get('verify_mismatch') ?? 0) > 0, 'no fault was ever met');
await until('all channels are well again', async () => {
  const { channels } = (await json('/engines')).body.dma;
  return channels.every((channel) => channel.state === 'ready');
});
await stop();
