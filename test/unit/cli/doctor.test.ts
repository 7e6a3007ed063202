// SPDX-License-Identifier: Apache-2.0
import { dirname } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { DAEMON_VERSION } from '../../../services/base/version.ts';
import { examine } from '../../../services/cli/doctor/doctor.ts';
import type { Finding } from '../../../services/cli/doctor/finding.ts';
import { type Host, realHost } from '../../../services/cli/doctor/host.ts';
import { type ConnectedClient, DmadError } from '../../../services/client/node.ts';
import { makeSysfs, recordedSysfs, type SysfsTree } from '../../support/sysfs-tree.ts';

const GIB = 2 ** 30;
const RELEASE = '6.12.57+deb13-amd64';

/** A channel of I/OAT behind an IOMMU that passes it through. */
const CHANNEL: SysfsTree = {
  '/sys/bus/pci/drivers/ioatdma/bind': { file: '' },
  '/sys/class/dma/dma0chan0/device/driver': { link: '../../../../bus/pci/drivers/ioatdma' },
  '/sys/class/dma/dma0chan0/device/iommu_group/type': { file: 'identity\n' },
  '/sys/class/iommu/dmar0/intel-iommu/version': { file: '1:0\n' },
};
const MODULE: SysfsTree = {
  '/sys/module/ioat_dma/version': { file: `${DAEMON_VERSION}\n` },
  '/sys/module/ioat_dma/taint': { file: 'O\n' },
  '/dev/ioat-dma': { file: '' },
};

/** A daemon that runs here, as /proc shows it. */
function processOf(pid: number, environment: Record<string, string>): SysfsTree {
  const variables = Object.entries(environment).map(([name, value]) => `${name}=${value}\0`);
  return {
    [`/proc/${pid}/cmdline`]: { file: '/usr/bin/node\0/opt/dmad/dist/services/daemon/main.js\0' },
    [`/proc/${pid}/environ`]: { file: variables.join('') },
    [`/proc/${pid}/limits`]: { file: 'Max open files            65536      65536      files\n' },
    [`/proc/${pid}/cgroup`]: { file: '0::/system.slice/dmad.service\n' },
  };
}

const DAEMON: SysfsTree = {
  ...processOf(77, { DMAD_TOKENS_FILE: '/etc/dmad/tokens.yaml', DMAD_STATE_DIR: '/var/lib/dmad' }),
  '/etc/dmad/tokens.yaml': { file: 'tokens: []\n' },
  '/proc/sys/kernel/osrelease': { file: `${RELEASE}\n` },
  '/sys/fs/cgroup/system.slice/dmad.service/cpu.max': { file: 'max 100000\n' },
  '/sys/fs/cgroup/system.slice/dmad.service/memory.max': { file: 'max\n' },
};

const COMMANDS: Record<string, string> = {
  dmesg: '[    1.0] nd_pmem namespace0.0: ready\n',
  timedatectl: 'yes\n',
  dkms: `ioat-dma/${DAEMON_VERSION}, ${RELEASE}, x86_64: installed\n`,
};

interface Recorded {
  tree: SysfsTree;
  commands?: Record<string, string | undefined>;
  space?: { free: number; size: number };
  daemon?: Partial<Record<'getVersion' | 'isReady' | 'listDevices', unknown>> | 'none';
}

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const clean of cleanups.splice(0)) clean();
});

async function diagnose({ tree, commands = {}, space, daemon = {} }: Recorded): Promise<Finding[]> {
  const { root, remove } = makeSysfs(tree);
  cleanups.push(remove);
  const outputs: Record<string, string | undefined> = { ...COMMANDS, ...commands };
  const host: Host = {
    ...realHost(dirname(root)),
    output: (command) => outputs[command],
    space: () => space ?? { free: 50 * GIB, size: 100 * GIB },
  };
  return examine({
    ...{ host, url: undefined, env: {} },
    client: async () => {
      if (daemon === 'none') throw new DmadError({ code: 'unreachable', message: 'ENOENT' });
      return fakeDaemon(daemon);
    },
  });
}

function fakeDaemon(answers: Exclude<Recorded['daemon'], 'none'>): ConnectedClient {
  const real = {
    getVersion: {
      ...{ daemon: DAEMON_VERSION, module: DAEMON_VERSION, abi: 1, api: { major: 1, minor: 0 } },
      journal: { persistence: 'backing_store' },
    },
    isReady: { ready: true, waiting_for: [] },
    listDevices: [{ name: 'dax0.0', kind: 'devdax', state: 'online' }],
    ...answers,
  };
  const answer = (name: keyof typeof real) => async () => {
    if (real[name] instanceof Error) throw real[name];
    return real[name];
  };
  return {
    getVersion: answer('getVersion'),
    isReady: answer('isReady'),
    listDevices: answer('listDevices'),
  } as never;
}

const HEALTHY: SysfsTree = { ...recordedSysfs('6.12'), ...CHANNEL, ...MODULE, ...DAEMON };

/** Without those whose path begins so. */
function without(tree: SysfsTree, ...prefixes: string[]): SysfsTree {
  return Object.fromEntries(
    Object.entries(tree).filter(([path]) => !prefixes.some((prefix) => path.startsWith(prefix))),
  );
}

/** What is not as it should be. */
function troubles(findings: readonly Finding[]): string[] {
  return findings
    .filter(({ level }) => level !== 'ok')
    .map(({ level, subject, message }) => `${level} ${subject}: ${message}`);
}

function regionFiles(tree: SysfsTree, name: string): string[] {
  return Object.keys(tree).filter((path) => new RegExp(`/region0/${name}$`).test(path));
}

test('a healthy host has nothing but what is fine', async () => {
  const findings = await diagnose({ tree: HEALTHY });
  expect(troubles(findings)).toEqual([]);
  const subjects = findings.map(({ subject }) => subject);
  for (const subject of ['device dax0.0', 'channels of ioatdma', 'module', 'dkms', 'iommu']) {
    expect(subjects).toContain(subject);
  }
  for (const { remedy } of findings) expect(remedy).toBeUndefined();
});

describe('settings of a daemon that runs', () => {
  const lines = async (tree: SysfsTree) =>
    (await diagnose({ tree: { ...HEALTHY, ...tree } }))
      .filter(({ subject }) => subject === 'disk' || subject.startsWith('tokens'))
      .map(({ level, message }) => `${level}: ${message}`);
  const free = (path: string) => `ok: 50.0 GiB of 100 GiB free in ${path}`;
  const none = 'ok: none: that is allowed for emulated devices on loopback alone';

  test('its state is where it puts it by itself', async () => {
    expect(
      await lines(processOf(77, { XDG_STATE_HOME: '/home/a/state', HOME: '/home/a' })),
    ).toEqual([none, free('/home/a/state/dmad')]);
    const user = { '/proc/77/status': { file: 'Name:\tnode\nUid:\t1000\t1000\t1000\t1000\n' } };
    expect(await lines({ ...processOf(77, { HOME: '/home/a' }), ...user })).toEqual([
      ...[none, free('/home/a/.local/state/dmad')],
    ]);
    const root = { '/proc/77/status': { file: 'Name:\tnode\nUid:\t0\t0\t0\t0\n' } };
    expect(await lines({ ...processOf(77, { HOME: '/root' }), ...root })).toEqual([
      ...[none, free('/var/lib/dmad')],
    ]);
  });

  test('a file that DMAD_CONFIG names counts, but less than the environment', async () => {
    const file = 'state_dir: /data/dmad\ntokens_file: /etc/dmad/tokens.yaml\n';
    const told = { DMAD_CONFIG: '/etc/dmad.yaml' };
    const config = { '/etc/dmad.yaml': { file } };
    expect(await lines({ ...processOf(77, told), ...config })).toEqual([
      ...['ok: in /etc/dmad/tokens.yaml', free('/data/dmad')],
    ]);
    const both = processOf(77, { ...told, DMAD_STATE_DIR: '/srv/dmad' });
    expect(await lines({ ...both, ...config })).toContain(free('/srv/dmad'));
    expect(await lines(processOf(77, told))).toEqual([
      'unknown: its settings are in /etc/dmad.yaml, which cannot be read from here',
    ]);
  });
});

describe('what is wrong is said, with what to do', () => {
  test.each<[string, Recorded, RegExp[]]>([
    [
      'memory that is system-ram',
      { tree: { ...recordedSysfs('6.1-system-ram'), ...CHANNEL, ...MODULE, ...DAEMON } },
      [/^warning device dax1\.0: it is in mode system-ram \(driver kmem\)/],
    ],
    [
      'no module',
      { tree: without(HEALTHY, '/sys/module', '/dev/ioat'), commands: { dkms: '' } },
      [/^problem module: not loaded, though there are DMA channels/],
    ],
    [
      'a module that DKMS has not built for this kernel',
      {
        tree: without(HEALTHY, '/sys/module', '/dev/ioat'),
        commands: { dkms: 'ioat-dma/0.1.0, 6.1.0-1-amd64, x86_64: installed\n' },
      },
      [/^problem dkms: not built for this kernel, 6\.12/, /^problem module: not loaded/],
    ],
    [
      'a module without channels',
      { tree: without(HEALTHY, '/sys/class/dma') },
      [
        /^warning channels: the kernel offers no DMA channel/,
        /^warning module: loaded, but there is no DMA channel/,
      ],
    ],
    [
      'Secure Boot that refuses it',
      {
        tree: {
          ...without(HEALTHY, '/sys/module', '/dev/ioat'),
          '/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c': {
            file: '\x06\0\0\0\x01',
          },
        },
        commands: {
          dmesg: '[   10.1] ioat_dma: module verification failed: Key was rejected by service\n',
        },
      },
      [
        /^problem module: not loaded; the kernel refused it: .*Key was rejected/,
        /^warning kernel log: .*rejected/,
      ],
    ],
    [
      'an IOMMU that is strict',
      {
        tree: {
          ...HEALTHY,
          '/sys/class/dma/dma0chan0/device/iommu_group/type': { file: 'DMA\n' },
        },
      },
      [/^warning iommu: strict/],
    ],
    [
      'bad blocks',
      {
        tree: {
          ...HEALTHY,
          ...Object.fromEntries(
            regionFiles(HEALTHY, 'badblocks').map((path) => [path, { file: '65536 8\n' }]),
          ),
        },
      },
      [/^problem device dax0\.0: 1 bad blocks, 4\.00 KiB/],
    ],
    [
      'a daemon without tokens',
      {
        tree: { ...HEALTHY, ...processOf(77, { DMAD_INSECURE: '1', DMAD_HOST: '0.0.0.0' }) },
      },
      [/^problem tokens of 77: DMAD_INSECURE=1: whoever reaches 0\.0\.0\.0/],
    ],
    [
      'two daemons',
      { tree: { ...HEALTHY, ...processOf(78, { DMAD_TOKENS_FILE: '/etc/dmad/tokens.yaml' }) } },
      [/^warning processes: 2 daemons run: 77, 78/],
    ],
    [
      'a disk that is full',
      { tree: HEALTHY, space: { free: 0, size: GIB } },
      [/^problem disk: 0 B/],
    ],
    [
      'a disk that is nearly full',
      { tree: HEALTHY, space: { free: GIB, size: 100 * GIB } },
      [/^warning disk: 1\.00 GiB/],
    ],
    [
      'a platform that does not say what survives',
      { tree: { ...recordedSysfs('7.3-no-persistence-domain'), ...CHANNEL, ...MODULE, ...DAEMON } },
      [
        /^warning device dax0\.0: the platform does not say/,
        /^warning device dax1\.0: the platform/,
      ],
    ],
    [
      'no device at all',
      { tree: without(HEALTHY, '/sys/bus', '/sys/devices', '/sys/class/dma') },
      [/^warning devices: no device-dax memory/, /^warning channels/, /^warning module/],
    ],
    [
      'a daemon of another version, not ready, with little to use',
      {
        tree: {
          ...HEALTHY,
          '/proc/77/limits': { file: 'Max open files            1024      4096      files\n' },
          '/sys/fs/cgroup/system.slice/dmad.service/cpu.max': { file: '50000 100000\n' },
          '/sys/fs/cgroup/system.slice/dmad.service/memory.max': { file: '134217728\n' },
        },
        commands: { timedatectl: 'no\n' },
        daemon: {
          getVersion: {
            ...{ daemon: '0.0.9', module: null, abi: null, api: { major: 1, minor: 0 } },
            journal: { persistence: 'volatile' },
          },
          isReady: { ready: false, waiting_for: ['journal'], degraded: ['log: stuck'] },
        },
      },
      [
        /^warning version: the daemon is 0\.0\.9/,
        /^warning journal: .*volatile/,
        /^problem ready: it takes none, and waits for journal/,
        /^warning degraded: log: stuck/,
        /^warning clock: not synchronized/,
        /^warning limits of 77: 1024 open files/,
        /^warning cgroup of 77: 0\.5 CPUs/,
        /^warning cgroup of 77: 128 MiB of memory/,
      ],
    ],
    [
      'a daemon that wants a token',
      {
        tree: HEALTHY,
        daemon: {
          listDevices: new DmadError({ code: 'unauthenticated', status: 401, message: 'token' }),
        },
      },
      [/^problem access: it wants a token/],
    ],
    [
      'no daemon, though one was installed',
      {
        tree: { ...HEALTHY, '/etc/systemd/system/dmad.service': { file: '[Unit]\n' } },
        daemon: 'none',
      },
      [/^problem daemon: it does not answer/],
    ],
    ['no daemon', { tree: HEALTHY, daemon: 'none' }, [/^warning daemon: none answers/]],
    [
      'the gateway of a fleet, of another version',
      {
        tree: HEALTHY,
        daemon: { getVersion: { fleet: '0.9.0', api: { major: 1, minor: 0 }, node: '20.20.2' } },
      },
      [/^warning version: the gateway is 0\.9\.0, dmactl/],
    ],
    [
      'what only root can see',
      { tree: HEALTHY, commands: { dmesg: undefined, timedatectl: undefined } },
      [/^unknown clock/, /^unknown kernel log: only root/],
    ],
  ])('%s', async (_what, recorded, expected) => {
    const findings = await diagnose(recorded);
    const found = troubles(findings);
    expect(found).toEqual(expected.map((pattern) => expect.stringMatching(pattern)));
    for (const { level, remedy } of findings) {
      if (level === 'warning' || level === 'problem') expect(remedy).toBeTruthy();
    }
  });
});
