// SPDX-License-Identifier: Apache-2.0
//
// In the guest: providers.mjs refused|used. The DMA channel of lab_dma beside those of ioatdma, as
// clients of the daemon see it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { json, startDaemon, transfer, until } from './daemon-client.mjs';

const MiB = 1024 * 1024;
/** Takes 7 s on both providers, as each has a piece of 1 MiB done every 90 ms. */
const copy = {
  device_name: 'dax0.0',
  dst_device_name: 'dax1.0',
  src_offset: 0,
  dst_offset: 0,
  size: 160 * MiB,
  engine: 'dma',
  verify: 'crc32c',
};
const SLOW = 'delay=90ms@1x*';
const IOAT = '/sys/bus/pci/drivers/ioatdma';
const LAB = '/sys/bus/platform/drivers/lab_dma';
const fault = (spec) => execFileSync('fault', [spec]);
const engine = async () => (await json('/engines')).body.dma;
const readyOf = async (driver) =>
  (await engine()).channels.filter(
    (channel) => channel.driver === driver && channel.state === 'ready',
  );

/** The module's own file: the daemon's answers take longer than a copy. */
const hasWork = (driver) =>
  readFileSync('/sys/kernel/debug/ioat-dma/channels', 'utf8')
    .split('\n')
    .map((line) => line.split(' '))
    .some(([, , its, , , inFlight]) => its === driver && Number(inFlight) > 0);

const tests = {
  async refused() {
    const { available, channels, refused } = await engine();
    assert.equal(available, true);
    assert.ok(channels.every(({ driver }) => driver === 'ioatdma'));
    assert.deepEqual(refused, [{ driver: 'lab_dma', device: 'lab_dma', reason: 'driver' }]);
  },

  async used() {
    await fill('dax0.0', 'a5');
    assert.deepEqual((await engine()).refused, []);
    const [lab] = await until('lab_dma has a channel', async () => {
      const channels = await readyOf('lab_dma');
      return channels.length > 0 && channels;
    });
    const [ioat] = await readyOf('ioatdma');

    const functions = readdirSync(IOAT).filter((each) => each.includes(':'));
    await goesOnWithout('ioatdma', [ioat, lab], async () => {
      for (const each of functions) await writeFile(`${IOAT}/unbind`, each);
    });
    assert.deepEqual(await readyOf('ioatdma'), []);
    for (const each of functions) await writeFile(`${IOAT}/bind`, each);
    await until('ioatdma is back', async () => (await readyOf('ioatdma')).length === 1);

    await goesOnWithout('lab_dma', [ioat, lab], async () => {
      // It keeps what it has now, and never does it.
      writeFileSync('/sys/module/lab_dma/parameters/hold', '1');
      assert.ok(hasWork('lab_dma'));
      await writeFile(`${LAB}/unbind`, 'lab_dma');
    });
    assert.deepEqual(await readyOf('lab_dma'), []);
    writeFileSync('/sys/module/lab_dma/parameters/hold', '0');
    await writeFile(`${LAB}/bind`, 'lab_dma');
    await until('lab_dma is back', async () => (await readyOf('lab_dma')).length === 1);
  },
};

/** So that what was not copied shows. */
async function fill(device, pattern) {
  const { size } = copy;
  const asked = { operation: 'fill', device_name: device, dst_offset: 0, size, pattern };
  const { status, body } = await transfer(asked);
  assert.equal(status, 201, JSON.stringify(body));
}

/** A transfer succeeds although `leave` takes the channels of `driver` from it in mid-stream. */
async function goesOnWithout(driver, channels, leave) {
  await fill('dax1.0', '5c');
  fault(SLOW);
  const { status, body } = await transfer(copy, { prefer: 'respond-async' });
  assert.equal(status, 202);
  const path = `/transfers/${body.id}`;
  await until('both have work', () => hasWork('ioatdma') && hasWork('lab_dma'));
  await leave();
  assert.ok((await json(path)).body.bytes_completed < copy.size, `over without ${driver}`);
  fault('clear');
  const ended = await until(`it ended without ${driver}`, async () => {
    const { body: seen } = await json(path, { headers: { prefer: 'wait=60' } });
    return seen.status !== 'running' && seen;
  });
  assert.equal(ended.status, 'succeeded', JSON.stringify(ended.error));
  assert.equal(ended.bytes_completed, copy.size);
  assert.deepEqual(new Set(ended.channels), new Set(channels.map(({ name }) => name)));
}

const stop = await startDaemon({ DMAD_LOG_LEVEL: 'warn' });
await tests[process.argv[2]]();
await stop();
