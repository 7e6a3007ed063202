// SPDX-License-Identifier: Apache-2.0
import { resolve } from 'node:path';
import { parse as parseYaml } from 'yaml';
import { defaultStateDir } from '../../base/state-dir.ts';
import type { Host } from './host.ts';

const MAIN = 'services/daemon/main.js';

/** A daemon that runs on this host. */
export interface DaemonProcess {
  pid: string;
  /** As DMAD_CONFIG has their names; a sentence that says why they cannot be seen. */
  settings: Readonly<Record<string, string | undefined>> | string;
  /** Undefined if it cannot be told. */
  stateDir: string | undefined;
}

export function daemonsOf(host: Host): DaemonProcess[] {
  return host
    .list('/proc')
    .filter((name) => /^[0-9]+$/.test(name))
    .filter((pid) => isDaemon(host.read(`/proc/${pid}/cmdline`) ?? ''))
    .map((pid) => describeProcess(pid, host));
}

/** Node itself, not what started it. */
function isDaemon(commandLine: string): boolean {
  const [command = '', ...args] = commandLine.split('\0');
  return /(?:^|\/)node$/.test(command) && args.some((arg) => arg.endsWith(MAIN));
}

function describeProcess(pid: string, host: Host): DaemonProcess {
  const text = host.read(`/proc/${pid}/environ`);
  if (text === undefined) {
    return { pid, settings: 'only root can see its settings', stateDir: undefined };
  }
  const environment = Object.fromEntries(
    text
      .split('\0')
      .map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]),
  );
  const directory = host.linkPath(`/proc/${pid}/cwd`) ?? '/';
  const { DMAD_CONFIG: file } = environment;
  const fromFile = file === undefined ? {} : readSettings(resolve(directory, file), host);
  if (fromFile === undefined) {
    const settings = `its settings are in ${file}, which cannot be read from here`;
    return { pid, settings, stateDir: environment.DMAD_STATE_DIR };
  }
  const settings = { ...fromFile, ...settingsOf(environment) };
  const isRoot = /^Uid:\s+0\s/m.test(host.read(`/proc/${pid}/status`) ?? '');
  const stateDir =
    settings.state_dir ?? defaultStateDir(environment, isRoot, () => environment.HOME ?? '/');
  return { pid, settings, stateDir: resolve(directory, stateDir) };
}

function settingsOf(environment: Record<string, string>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(environment)
      .filter(([name]) => name.startsWith('DMAD_'))
      .map(([name, value]) => [name.slice('DMAD_'.length).toLowerCase(), value]),
  );
}

/** What DMAD_CONFIG names; undefined if it cannot be read. */
function readSettings(path: string, host: Host): Record<string, string> | undefined {
  const text = host.read(path);
  if (text === undefined) return undefined;
  try {
    const content: Record<string, unknown> = parseYaml(text) ?? {};
    return Object.fromEntries(
      Object.entries(content).map(([name, value]) => [name, String(value)]),
    );
  } catch {
    return undefined;
  }
}
