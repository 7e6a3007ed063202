// SPDX-License-Identifier: Apache-2.0
//
// In the guest: storm.mjs COUNT. So many transfers by DMA, many at once, under random faults of
// the hardware, some with a deadline, some cancelled. None may say that it succeeded where the
// bytes are wrong: not without `verify` for a fault that the driver reports, and not with it for
// any fault. None writes outside its segments. And once a transfer has ended, however it did, its
// range is written anew, and no byte of that transfer ever appears there again.
import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { json, metric, request, startDaemon, transfer, until } from './daemon-client.mjs';

const COUNT = Number(process.argv[2] ?? 500);
/** Parts of the destination; each has one transfer at a time. */
const PARTS = 64;
const PART = 16_384;
const SOURCE_SIZE = 2 ** 20;
const QUICK = ['error=0x100', 'error=0x200', 'lost-irq', 'lost-completion', 'delay=30ms'];
/** The driver puts up with the first, and resets the channel under the others. */
const SLOW = ['delay=90ms', 'delay=350ms', 'delay=1s'];
/** Hangs take the driver seconds to get over: fewer of them. */
const REPORTED = [...Array(6).fill(QUICK).flat(), ...Array(4).fill(SLOW).flat(), 'hang'];

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
    const kind = silent ? ['corrupt', ...SLOW][random(4)] : REPORTED[random(REPORTED.length)];
    fault(`${kind}@${1 + random(20)}`);
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

/** How Node says that the other side closed the connection before it answered. */
const CLOSED = ['ECONNRESET', 'UND_ERR_SOCKET'];

/**
 * Here where all is slow the daemon may close an idle connection just as it is used again, or give
 * up waiting for a request (408): it has not begun with either.
 */
async function again(call) {
  for (;;) {
    const answer = await call().catch((error) => {
      if (!CLOSED.includes(error.cause?.code)) throw error;
    });
    if (answer !== undefined && answer.status !== 408) return answer;
  }
}

/** How it ended: one that is `refused` (all channels are in trouble, or too many ask) never ran. */
async function send({ segments, verify }) {
  const asked = {
    device_name: 'dax0.0',
    dst_device_name: 'dax1.0',
    segments,
    engine: 'dma',
    verify,
    ...(random(3) === 0 && { timeout_ms: 50 + random(1500) }),
  };
  // With a key it is the same transfer, however often it is sent.
  const key = { 'idempotency-key': randomUUID() };
  const cancelled = random(8) === 0;
  const prefer = cancelled ? { prefer: 'respond-async' } : {};
  let { status, body } = await again(() => transfer(asked, { ...key, ...prefer }));
  if (status === 202) ({ status, body } = await cancel(body.id));
  const outcome = status === 201 ? 'succeeded' : (body.dma?.error ?? body.code);
  outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  if (status === 201) return 'succeeded';
  if (['engine_unavailable', 'overloaded'].includes(body.code)) return 'refused';
  assert.ok([502, 504].includes(status) || body.code === 'cancelled', JSON.stringify(body));
  assert.equal(body.transfer.status, status === 409 ? 'cancelled' : 'failed');
  return 'failed';
}

/** Cancels a transfer, now or later. @returns what a client that waits would have been answered */
async function cancel(id) {
  await sleep(random(40));
  await again(() => json(`/transfers/${id}/cancel`, { method: 'POST' }));
  for (;;) {
    const { body } = await again(() =>
      json(`/transfers/${id}`, { headers: { prefer: 'wait=60' } }),
    );
    if (body.status === 'succeeded') return { status: 201, body };
    if (body.error) return { status: body.error.status, body: { ...body.error, transfer: body } };
  }
}

/** Asks for the content of `part` again and again until the daemon has time for it. */
async function content(part, status, path, options) {
  for (;;) {
    const answer = await again(() => request(`/devices/dax1.0/content${path}`, options));
    if (answer.status === status) return answer.body;
    assert.equal(answer.status, 503, `content of ${part}: ${answer.body}`);
    await sleep(200);
  }
}

function find(part) {
  const headers = { range: `bytes=${part}-${part + PART - 1}` };
  return content(part, 206, '', { headers });
}

/** Writes `part` anew. @returns what it holds from now on */
async function poison(part) {
  const bytes = Buffer.alloc(PART, random(256));
  const headers = { 'content-type': 'application/octet-stream' };
  await content(part, 200, `?offset=${part}`, { method: 'PUT', headers, body: bytes });
  return bytes;
}

/** One transfer after the other to `part`. */
async function lane(part) {
  let bytes = await poison(part);
  while (left-- > 0) {
    const planned = plan(part, bytes);
    const end = await send(planned);
    // What did not succeed is mostly written over at once, while the hardware may be slow with it.
    if (end === 'succeeded' || random(4) === 0) {
      assert.ok(
        holds(end, planned, await find(part)),
        `wrong bytes after a transfer that ${end}: ${JSON.stringify(planned.segments)}`,
      );
    }
    bytes = await poison(part);
    if (end !== 'succeeded') await sleep(random(1000));
    assert.ok(
      (await find(part)).equals(bytes),
      `a transfer that ${end} wrote to ${part} afterwards`,
    );
  }
  // Longer than any operation that was still under way.
  await sleep(5000);
  assert.ok((await find(part)).equals(bytes), `something wrote to ${part} after all had ended`);
}

// Its standard output is an audit line for each transfer, which takes longer than the transfer.
const stop = await startDaemon({}, ['ignore', 'ignore', 'inherit']);
const headers = { 'content-type': 'application/octet-stream' };
await request('/devices/dax0.0/content', { method: 'PUT', headers, body: source });
// Half of them while the hardware reports its faults, half of them while it keeps silent.
for (silent of [false, true]) {
  left = COUNT / 2;
  const lanes = Array.from({ length: PARTS }, (_, index) => lane(index * PART));
  await Promise.all([spoil(), ...lanes]);
  console.log(JSON.stringify(Object.fromEntries([...outcomes].sort())));
}
console.log(`retries: ${await metric('dmad_dma_retries_total')}`);
assert.ok((outcomes.get('succeeded') ?? 0) > COUNT / 4);
assert.ok(
  outcomes.has('read') || outcomes.has('write') || outcomes.has('lost'),
  'no fault that is reported was ever met',
);
assert.ok(outcomes.has('verify_mismatch'), 'no silent fault was ever met');
// Cancelling finds most of them with the hardware already, which then ends them.
assert.ok(outcomes.has('timeout'), 'no deadline was ever met');
await until('all channels are well again', async () => {
  const { channels } = (await json('/engines')).body.dma;
  return channels.every((channel) => channel.state === 'ready');
});
await stop();
