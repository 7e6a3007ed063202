// SPDX-License-Identifier: Apache-2.0
//
// In the guest: transfers by DMA through the daemon, the kernel module and the stock driver, as
// clients see them; then every kind of fault, and hardware that goes and comes back.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { json, metric, read, startDaemon, transfer, until, write } from './daemon-client.mjs';

const MiB = 1024 * 1024;
const SIZE = 4 * MiB;
/** Seconds, where each piece is delayed. */
const LONG = 200 * MiB;
const copy = {
  device_name: 'dax0.0',
  dst_device_name: 'dax1.0',
  src_offset: 4096,
  dst_offset: 8192,
  size: SIZE,
  engine: 'dma',
};
const pattern = randomBytes(SIZE);
const fault = (spec) => execFileSync('fault', [spec]);

const tests = {
  async 'a copy by DMA, flushed, on channels that are named'() {
    const { status, body } = await transfer(copy);
    assert.equal(status, 201);
    assert.equal(body.engine, 'dma');
    assert.match(body.durability.basis, /^(clwb|clflushopt|clflush)$/);
    assert.ok(
      body.channels.length > 0 && body.channels.every((name) => /^dma\d+chan\d+$/.test(name)),
    );
    assert.ok((await read('dax1.0', 8192, SIZE)).equals(pattern));
    assert.ok(body.timings.copy_ns > 0 && body.timings.flush_ns > 0);
  },

  async 'auto takes DMA, and a dry run says so'() {
    const auto = { ...copy, engine: 'auto' };
    assert.equal((await transfer({ ...auto, dry_run: true })).body.engine, 'dma');
    assert.equal((await transfer(auto)).body.engine, 'dma');
    assert.equal((await transfer({ ...auto, engine: 'cpu' })).body.engine, 'cpu');
  },

  async 'segments as if one after the other, verified'() {
    await write('dax1.0', 0, Buffer.alloc(MiB));
    const segment = (src_offset, dst_offset) => ({ src_offset, dst_offset, size: 65_536 });
    // Each takes what the one before it wrote.
    const segments = Array.from({ length: 8 }, (_, n) => segment(n * 65_536, (n + 1) * 65_536));
    await write('dax1.0', 0, pattern.subarray(0, 65_536));
    const { status, body } = await transfer({
      device_name: 'dax1.0',
      segments,
      engine: 'dma',
      verify: 'crc32c',
    });
    assert.equal(status, 201);
    assert.deepEqual(body.verification.src, body.verification.dst);
    const expected = pattern.subarray(0, 65_536);
    assert.ok((await read('dax1.0', 8 * 65_536, 65_536)).equals(expected));
  },

  async 'the channels, in /engines, /version and /metrics'() {
    const { dma } = (await json('/engines')).body;
    assert.equal(dma.available, true);
    assert.equal(dma.channels.length, 4);
    for (const channel of dma.channels) {
      assert.deepEqual([channel.driver, channel.state, channel.errors], ['ioatdma', 'ready', 0]);
    }
    assert.ok(dma.channels.reduce((sum, { bytes }) => sum + bytes, 0) >= SIZE);
    const version = (await json('/version')).body;
    assert.deepEqual([version.module, version.abi], [dma.module_version, 1]);
    const [{ name, bytes }] = dma.channels;
    assert.equal(await metric(`dmad_channel_bytes_total{channel="${name}"}`), bytes);
  },

  async 'auto goes by what was measured, and both engines share a copy where that pays'() {
    const scratch = { device_name: 'dax0.0', offset: 128 * MiB, size: 16 * MiB };
    assert.equal((await calibrate()).body.code, 'invalid_request');
    const { status, body } = await calibrate(scratch);
    assert.equal(status, 200);
    const { calibration, dma_from_bytes: from } = body.auto;
    assert.equal(calibration.device_name, 'dax0.0');
    for (const { bytes_per_second: speed } of [calibration.dma, calibration.both]) {
      assert.ok(speed > 0);
    }
    const plan = await transfer({ ...copy, engine: 'auto', dry_run: true });
    assert.equal(plan.body.engine, from !== null && from <= SIZE ? 'dma' : 'cpu');
    assert.match(plan.body.engine_reason, /DMA would take .*, the CPU /);

    await stop();
    const path = '/tmp/dmad/calibration.json';
    const speed = { latencyNs: 1000, bytesPerSecond: 1e9 };
    const kept = JSON.parse(readFileSync(path, 'utf8'));
    const both = { latencyNs: 1000, bytesPerSecond: 2e9 };
    writeFileSync(path, JSON.stringify({ ...kept, cpu: speed, dma: speed, both }));
    stop = await startDaemon(environment);
    assert.equal((await json('/engines')).body.auto.both_from_bytes, 4 * MiB);
    const shared = await transfer({ ...copy, engine: 'auto' });
    assert.equal(shared.status, 201);
    assert.match(shared.body.engine_reason, /share it, the CPU has the last 2097152 bytes/);
    assert.equal(shared.body.engine, 'dma');
    assert.equal(shared.body.bytes_completed, SIZE);
    assert.ok(shared.body.channels.length > 0);
    assert.ok((await read('dax1.0', 8192, SIZE)).equals(pattern));
    fault('error=0x200@2');
    const failed = await transfer({ ...copy, engine: 'auto' });
    assert.deepEqual([failed.status, failed.body.dma?.error], [502, 'write']);
    writeFileSync(path, JSON.stringify(kept));
    await copiesAgain();
  },

  async 'a cancelled transfer stops, and says how far it came'() {
    fault('delay=90ms@1x*');
    const { status, body } = await transfer(
      { ...copy, size: LONG, src_offset: 0, dst_offset: 0 },
      { prefer: 'respond-async' },
    );
    assert.equal(status, 202);
    await until(
      'it runs',
      async () => (await json(`/transfers/${body.id}`)).body.bytes_completed > 0,
    );
    const cancelled = await json(`/transfers/${body.id}/cancel`, { method: 'POST' });
    fault('clear');
    assert.equal(cancelled.status, 200);
    assert.equal(cancelled.body.status, 'cancelled');
    assert.ok(cancelled.body.bytes_completed < LONG);
    assert.equal(cancelled.body.durability.achieved, 'none');
  },

  async 'verify finds bytes that the hardware spoiled and kept silent about'() {
    fault('corrupt=77@2');
    const { status, body } = await transfer({ ...copy, verify: 'crc32c' });
    assert.equal(status, 502);
    assert.equal(body.code, 'verify_mismatch');
    assert.notEqual(body.transfer.verification.src, body.transfer.verification.dst);
    await copiesAgain();
  },

  async 'a source that cannot be read'() {
    await fails('error=0x100@2', 'read');
  },

  async 'a destination that cannot be written'() {
    await fails('error=0x200@2', 'write');
  },

  async 'an operation that hangs ends in time'() {
    fault('hang@2');
    const { status, body } = await transfer({ ...copy, timeout_ms: 1500 });
    assert.deepEqual([status, body.code], [504, 'timeout']);
    assert.equal(body.transfer.status, 'failed');
    fault('clear');
    await copiesAgain();
  },

  async 'a completion that is lost is never taken for one that came'() {
    fault('lost-completion@3');
    const { status, body } = await transfer({ ...copy, verify: 'crc32c' });
    assert.ok(status === 201 || body.code === 'dma_error' || body.code === 'timeout', body.code);
    if (status === 201) assert.ok((await read('dax1.0', 8192, SIZE)).equals(pattern));
    fault('clear');
    await copiesAgain();
  },

  async 'channels that go and come back'() {
    const driver = '/sys/bus/pci/drivers/ioatdma';
    const functions = readdirSync(driver).filter((name) => name.includes(':'));
    // The kernel may take a minute, in which the daemon closes connections, and this has to notice.
    for (const each of functions) await writeFile(`${driver}/unbind`, each);
    const refused = await transfer(copy);
    assert.deepEqual([refused.status, refused.body.code], [422, 'engine_unavailable']);
    assert.equal((await transfer({ ...copy, engine: 'auto' })).body.engine, 'cpu');
    const unmeasured = await calibrate({ device_name: 'dax0.0', offset: 128 * MiB, size: 8 * MiB });
    assert.equal(unmeasured.body.code, 'engine_unavailable');
    const ready = await json('/readyz');
    assert.equal(ready.status, 200);
    assert.ok(ready.body.degraded.some((text) => /channel dma\d+chan\d+: gone/.test(text)));
    assert.equal((await json('/engines')).body.dma.available, false);
    for (const each of functions) await writeFile(`${driver}/bind`, each);
    await until('they are back', async () => (await json('/engines')).body.dma.available);
    await copiesAgain();
    await until('all is well', async () => (await json('/readyz')).body.degraded === undefined);
  },

  async 'a device that goes in mid-stream, and comes back'() {
    const driver = '/sys/bus/dax/drivers/device_dax';
    fault('delay=90ms@1x*');
    const { body } = await transfer(
      { ...copy, size: LONG, src_offset: 0, dst_offset: 0 },
      { prefer: 'respond-async' },
    );
    await until(
      'it runs',
      async () => (await json(`/transfers/${body.id}`)).body.bytes_completed > 0,
    );
    await writeFile(`${driver}/unbind`, 'dax1.0');
    fault('clear');
    const over = await json(`/transfers/${body.id}`, { headers: { prefer: 'wait=60' } });
    assert.equal(over.body.status, 'failed');
    assert.equal(over.body.error.code, 'device_gone');
    await until('it is noticed', async () => {
      const { status, body: state } = await json('/readyz');
      return status === 200 && isMissing(state, 'dax1.0');
    });
    assert.equal((await json('/devices/dax1.0')).body.state, 'gone');
    const refused = await transfer(copy);
    assert.deepEqual([refused.status, refused.body.code], [503, 'device_gone']);
    const other = await transfer({ ...copy, dst_device_name: 'dax0.0', dst_offset: 32 * MiB });
    assert.equal(other.status, 201);
    await writeFile(`${driver}/bind`, 'dax1.0');
    await until('it is back', async () => !isMissing((await json('/readyz')).body, 'dax1.0'));
    await copiesAgain();
  },
};

/** Whether the others go on without a device. */
function isMissing({ degraded = [] }, device) {
  return degraded.some((what) => what.startsWith(`device ${device}: `));
}

function calibrate(body) {
  return json('/engines/calibrate', {
    method: 'POST',
    ...(body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
  });
}

/** Once the channel is well again, or the others have taken over. */
async function copiesAgain() {
  await until('DMA copies again', async () => {
    const { status, body } = await transfer({ ...copy, verify: 'crc32c' });
    if (status !== 201) console.log(`  ${body.detail}`);
    return status === 201 && body.engine === 'dma';
  });
  assert.ok((await read('dax1.0', 8192, SIZE)).equals(pattern));
}

async function fails(spec, error) {
  const counter = `dmad_dma_errors_total{error="${error}"}`;
  const before = await metric(counter);
  fault(spec);
  const { status, body } = await transfer(copy);
  assert.deepEqual([status, body.code, body.dma?.error], [502, 'dma_error', error]);
  assert.match(body.dma.channel, /^dma\d+chan\d+$/);
  assert.equal(body.transfer.durability.achieved, 'none');
  assert.equal(await metric(counter), before + 1);
  assert.ok(
    (await metric(`dmad_channel_errors_total{channel="${body.dma.channel}",kind="${error}"}`)) >= 1,
  );
  await copiesAgain();
}

const only = process.argv.slice(2);
const environment = { DMAD_LOG_LEVEL: 'warn' };
let stop = await startDaemon(environment);
await write('dax0.0', 4096, pattern);
for (const [name, test] of Object.entries(tests)) {
  if (only.length > 0 && !only.some((part) => name.includes(part))) continue;
  const began = performance.now();
  await test();
  console.log(`ok ${name} (${Math.round(performance.now() - began)} ms)`);
}
await stop();
