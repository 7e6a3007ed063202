// SPDX-License-Identifier: Apache-2.0
//
// In the guest: storm.mjs COUNT. So many transfers by DMA, many at once, under random faults of
// the hardware. None may say that it succeeded where the bytes are wrong: not without `verify` for
// a fault that the driver reports, and not with it for any fault. None writes outside its segments.
import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { json, metric, request, startDaemon, transfer, until, write } from './daemon-client.mjs';

const COUNT = Number(process.argv[2] ?? 500);
const CLIENTS = 8;
/** Transfers that a client has in flight at a time; each has a part of the destination. */
const BATCH = 8;
const PART = 16_384;
const SOURCE_SIZE = 2 ** 20;
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
/** Whether the hardware keeps silent about its faults now. */
let silent = false;
let left = 0;

/** As the program `fault` does, in no time. */
function fault(spec) {
  const port = openSync('/dev/virtio-ports/lab.fault', 'r+');
  const answer = Buffer.alloc(64);
  writeSync(port, `${spec}\n`);
  assert.equal(answer.toString('utf8', 0, readSync(port, answer)), 'ok\n');
  closeSync(port);
}

async function spoil() {
  for (let set = 1; left > 0; set++) {
    fault(`${silent ? 'corrupt' : REPORTED[random(REPORTED.length)]}@${1 + random(20)}`);
    await sleep(random(400));
    // What was not met yet would pile up, and the hardware takes 32.
    if (set % 8 === 0) fault('clear');
  }
  fault('clear');
}

/** A transfer to `part`, and what is there afterwards. */
function plan(part, before) {
  const segments = [];
  const after = Buffer.from(before);
  for (let n = 1 + random(4); n > 0; n--) {
    const size = 1 + random(random(4) === 0 ? PART : 2048);
    const src_offset = random(SOURCE_SIZE - size);
    const to = random(PART - size + 1);
    segments.push({ src_offset, dst_offset: part + to, size });
    source.copy(after, to, src_offset, src_offset + size);
  }
  return { part, segments, before, after, verify: silent || random(2) ? 'crc32c' : 'none' };
}

/** What a transfer that ended so must have left. What a failed one wrote inside is not known. */
function holds(end, { part, segments, before, after }, found) {
  if (end === 'succeeded') return found.equals(after);
  const [was, is] = [before, found].map((bytes) => Buffer.from(bytes));
  if (end === 'failed') {
    for (const { dst_offset, size } of segments) {
      for (const bytes of [was, is]) bytes.fill(0, dst_offset - part, dst_offset - part + size);
    }
  }
  return is.equals(was);
}

/** The daemon may close an idle connection just as it is used again, here where all is slow. */
async function again(call) {
  try {
    return await call();
  } catch (error) {
    if (error.cause?.code !== 'ECONNRESET') throw error;
    return call();
  }
}

/** Whether it succeeded, failed, or was refused: all channels are in trouble, or too many ask. */
async function send({ segments, verify }) {
  const asked = {
    device_name: 'dax0.0',
    dst_device_name: 'dax1.0',
    segments,
    engine: 'dma',
    verify,
  };
  // With a key it is the same transfer, however often it is sent.
  const key = { 'idempotency-key': randomUUID() };
  const { status, body } = await again(() => transfer(asked, key));
  const outcome = status === 201 ? 'succeeded' : (body.dma?.error ?? body.code);
  outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  if (status === 201) return 'succeeded';
  if (['engine_unavailable', 'overloaded'].includes(body.code)) return 'refused';
  assert.ok([502, 504].includes(status), JSON.stringify(body));
  assert.equal(body.transfer.status, 'failed');
  return 'failed';
}

/** What is at `offset`, once the daemon has time for it. */
async function readAll(offset, size) {
  const headers = { range: `bytes=${offset}-${offset + size - 1}` };
  for (;;) {
    const answer = await again(() => request('/devices/dax1.0/content', { headers }));
    if (answer.status === 206) return answer.body;
    assert.equal(answer.status, 503);
    await sleep(200);
  }
}

async function client(index) {
  const base = index * BATCH * PART;
  // What its parts of the destination hold: of what a failed transfer left, as it was found.
  let model = Buffer.alloc(BATCH * PART);
  await write('dax1.0', base, model);
  while (left > 0) {
    const batch = [];
    for (let at = 0; at < model.length && left-- > 0; at += PART) {
      batch.push(plan(base + at, model.subarray(at, at + PART)));
    }
    const ends = await Promise.all(batch.map(send));
    const found = await readAll(base, model.length);
    batch.forEach((each, n) => {
      assert.ok(
        holds(ends[n], each, found.subarray(n * PART, (n + 1) * PART)),
        `wrong bytes after a transfer that ${ends[n]}: ${JSON.stringify(each.segments)}`,
      );
    });
    model = found;
    if (ends.includes('refused')) await sleep(200);
  }
}

// Its standard output is an audit line for each transfer, which takes longer than the transfer.
const stop = await startDaemon({}, ['ignore', 'ignore', 'inherit']);
await write('dax0.0', 0, source);
// Half of them while the hardware reports its faults, half of them while it keeps silent.
for (silent of [false, true]) {
  left = COUNT / 2;
  await Promise.all([spoil(), ...Array.from({ length: CLIENTS }, (_, index) => client(index))]);
  console.log(JSON.stringify(Object.fromEntries([...outcomes].sort())));
}
console.log(`retries: ${await metric('dmad_dma_retries_total')}`);
assert.ok((outcomes.get('succeeded') ?? 0) > COUNT / 4);
assert.ok(
  outcomes.has('read') || outcomes.has('write') || outcomes.has('lost'),
  'no fault that is reported was ever met',
);
assert.ok(outcomes.has('verify_mismatch'), 'no silent fault was ever met');
await until('all channels are well again', async () => {
  const { channels } = (await json('/engines')).body.dma;
  return channels.every((channel) => channel.state === 'ready');
});
await stop();
