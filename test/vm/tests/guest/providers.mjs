// SPDX-License-Identifier: Apache-2.0
//
// In the guest: providers.mjs refused|used. The DMA channel of lab_dma beside those of ioatdma, as
// clients of the daemon see it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdirSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { json, startDaemon, transfer, until, write } from './daemon-client.mjs';

const MiB = 1024 * 1024;
/** Takes seconds: the hardware is slow with each piece. */
const copy = {
  device_name: 'dax0.0',
  dst_device_name: 'dax1.0',
  src_offset: 0,
  dst_offset: 0,
  size: 160 * MiB,
  engine: 'dma',
  verify: 'crc32c',
};
const IOAT = '/sys/bus/pci/drivers/ioatdma';
const LAB = '/sys/bus/platform/drivers/lab_dma';
const fault = (spec) => execFileSync('fault', [spec]);
const engine = async () => (await json('/engines')).body.dma;
const readyOf = async (driver) =>
  (await engine()).channels.filter(
    (channel) => channel.driver === driver && channel.state === 'ready',
  );

const tests = {
  async refused() {
    const { available, channels, refused } = await engine();
    assert.equal(available, true);
    assert.ok(channels.every(({ driver }) => driver === 'ioatdma'));
    assert.deepEqual(refused, [{ driver: 'lab_dma', device: 'lab_dma', reason: 'driver' }]);
  },

  async used() {
    await write('dax0.0', 0, randomBytes(4 * MiB));
    assert.deepEqual((await engine()).refused, []);
    const [{ name }] = await until('lab_dma has a channel', async () => {
      const channels = await readyOf('lab_dma');
      return channels.length > 0 && channels;
    });

    const functions = readdirSync(IOAT).filter((each) => each.includes(':'));
    fault('delay=90ms@1x*');
    const first = await goesOnWithout(async () => {
      for (const each of functions) await writeFile(`${IOAT}/unbind`, each);
    });
    fault('clear');
    assert.ok(first.channels.includes(name));
    assert.deepEqual(await readyOf('ioatdma'), []);
    for (const each of functions) await writeFile(`${IOAT}/bind`, each);
    await until('ioatdma is back', async () => (await readyOf('ioatdma')).length === 4);

    // It keeps what it has now, and never does it.
    fault('delay=90ms@1x*');
    const second = await goesOnWithout(async () => {
      writeFileSync('/sys/module/lab_dma/parameters/hold', '1');
      await until('it has work', async () => {
        const [lab] = await readyOf('lab_dma');
        return lab === undefined || lab.in_flight > 0;
      });
      await writeFile(`${LAB}/unbind`, 'lab_dma');
    });
    fault('clear');
    assert.ok(second.channels.some((channel) => channel !== name));
    assert.deepEqual(await readyOf('lab_dma'), []);
  },
};

/** A transfer that succeeds although `leave` takes channels from it. @returns it */
async function goesOnWithout(leave) {
  const { status, body } = await transfer(copy, { prefer: 'respond-async' });
  assert.equal(status, 202);
  const path = `/transfers/${body.id}`;
  await until('it runs', async () => (await json(path)).body.bytes_completed > 0);
  await leave();
  const { body: ended } = await json(path, { headers: { prefer: 'wait=60' } });
  assert.equal(ended.status, 'succeeded', JSON.stringify(ended.error));
  assert.equal(ended.bytes_completed, copy.size);
  return ended;
}

const stop = await startDaemon({ DMAD_LOG_LEVEL: 'warn' });
await tests[process.argv[2]]();
await stop();
