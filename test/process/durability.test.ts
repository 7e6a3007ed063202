// SPDX-License-Identifier: Apache-2.0
import { afterEach, describe, expect, test } from '@jest/globals';
import { Daemon } from '../support/daemon.ts';
import { deepTest } from '../support/depth.ts';
import { fetchJson, jsonBody } from '../support/fetch.ts';
import { inMounts, whyNot } from '../support/mounts.ts';

/** Where the state directory is, and beside it what is mounted there. */
const DISK = '"$DISK"';
const INSIDE = 'DISK=$DMAD_STATE_DIR; export DMAD_STATE_DIR="$DISK/state"; mkdir "$DMAD_STATE_DIR"';
const IN_MEMORY = 'mount -t tmpfs tmpfs /mnt';

const mount = (type: string, options: string) =>
  `mount -t ${type} -o ${options} ${type} "$DMAD_STATE_DIR"; chmod 700 "$DMAD_STATE_DIR"`;
const overlay = (at: string, options = '') =>
  `mkdir ${at}/lower ${at}/upper ${at}/work; ` +
  mount('overlay', `lowerdir=${at}/lower,upperdir=${at}/upper,workdir=${at}/work${options}`);
const image = (at: string, options: string) =>
  `truncate -s 64m ${at}/image; mkfs.ext4 -q -F ${at}/image; ` +
  `mount -o ${options} ${at}/image "$DMAD_STATE_DIR"; chmod 700 "$DMAD_STATE_DIR"`;

/** What is mounted on the state directory, and what may be said of bytes that are synced there. */
const CASES: [what: string, script: string, persistence: string, basis: RegExp][] = [
  ['ext4', 'true', 'backing_store', /^ext4$/],
  ['tmpfs', mount('tmpfs', 'mode=0700'), 'volatile', /^tmpfs$/],
  ['ramfs', mount('ramfs', 'mode=0700'), 'volatile', /^ramfs$/],
  ['an overlay on ext4', overlay(DISK), 'backing_store', /^overlay on ext4$/],
  ['an overlay on tmpfs', `${IN_MEMORY}; ${overlay('/mnt')}`, 'volatile', /^overlay on tmpfs$/],
  [
    'an overlay that is never synced',
    overlay(DISK, ',volatile'),
    'volatile',
    /^overlay, mounted with (fsync=)?volatile$/,
  ],
  [
    'an overlay whose upper layer is out of reach',
    `${IN_MEMORY}; ${overlay('/mnt')}; ${IN_MEMORY}`,
    'unknown',
    /^overlay on \/mnt\/upper, which cannot be found$/,
  ],
  [
    'a loop device on tmpfs',
    `${IN_MEMORY}; ${image('/mnt', 'loop')}`,
    'volatile',
    /^ext4 on loop\d+ on tmpfs$/,
  ],
  ['a loop device on ext4', image(DISK, 'loop'), 'backing_store', /^ext4$/],
  [
    'a disk whose cache is not waited for',
    image(DISK, 'loop,nobarrier'),
    'unknown',
    /^ext4, mounted with nobarrier$/,
  ],
];

/** What quick tests look at: each case starts a daemon. */
const QUICK = ['ext4', 'tmpfs', 'an overlay that is never synced'];

describe.each(CASES)('on %s', (what, script, persistence, basis) => {
  const wrapper = inMounts(`${INSIDE}; ${script}`);
  const reason = whyNot([...wrapper]);
  if (reason !== undefined) process.stderr.write(`skipped, ${what}: ${reason}\n`);
  const wanted = QUICK.includes(what) ? test : deepTest;
  const onMounts = reason === undefined ? wanted : test.skip;
  let daemon: Daemon | undefined;
  afterEach(() => daemon?.stop('SIGKILL'));

  onMounts(`what is synced is called ${persistence}, devices and journal alike`, async () => {
    const kept = persistence === 'backing_store';
    daemon = new Daemon({ DMAD_DEVICES: 'emulated:dax0.0=1MiB' }, { wrapper: [...wrapper] });
    const url = await daemon.ready();
    const device = await fetchJson(`${url}/devices/dax0.0`);
    expect(device).toMatchObject({ persistence_domain: persistence });
    const copy = { device_name: 'dax0.0', src_offset: 0, dst_offset: 4096, size: 4096 };
    const { durability } = await fetchJson(`${url}/transfers`, jsonBody(copy));
    expect(durability).toEqual({
      requested: 'flush',
      ...(kept ? { achieved: 'flush', basis: 'msync' } : { achieved: 'volatile', basis: null }),
    });

    expect(await fetchJson(`${url}/version`)).toMatchObject({ journal: { persistence } });
    const ready = await fetchJson(`${url}/readyz`);
    expect(ready).toMatchObject({ ready: true, ...(!kept && { journal: { persistence } }) });
    await daemon.stop();
    const warning = daemon.log().find(({ msg }) => /journal may not survive/.test(String(msg)));
    if (kept) expect(warning).toBeUndefined();
    else
      expect(warning).toMatchObject({
        level: 40,
        persistence,
        basis: expect.stringMatching(basis),
      });
  });
});
