// SPDX-License-Identifier: Apache-2.0
import { join } from 'node:path';
import { type DaxDevice, discoverDaxDevices } from '../../daemon/devices/sysfs.ts';
import { humanBytes } from '../lib/format.ts';
import { type Finding, ok, problem, unknown, warning } from './finding.ts';
import type { Host } from './host.ts';

const NODES = '/sys/devices/system/node';
const NAMESPACES = '/sys/bus/nd/devices';
/** Linux, include/uapi/linux/ndctl.h: a namespace that is all of its region, without labels. */
const ND_DEVICE_NAMESPACE_IO = '4';

/** Device-dax devices, and memory that could be one. */
export function examineDevices(host: Host): Finding[] {
  const devices = discoverDaxDevices(join(host.root, 'sys'));
  const nodes = host.list(NODES).filter((name) => /^node[0-9]+$/.test(name)).length;
  const findings = devices.flatMap((device) => examineDevice(device, nodes));
  if (devices.length === 0) {
    findings.push(
      warning(
        'devices',
        'no device-dax memory: the daemon lets files stand in for it',
        'for real memory see README, "On a real host"; to try dmad nothing is needed',
      ),
    );
  }
  return [...findings, ...examineNamespaces(host)];
}

function examineDevice(device: DaxDevice, nodes: number): Finding[] {
  const { name, size, align, numaNode, badBlocks } = device;
  const subject = `device ${name}`;
  const mode = examineMode(device, subject);
  if (mode !== undefined) return [mode];
  const node = numaNode === null ? '' : `, NUMA node ${numaNode}`;
  const aligned = `aligned to ${humanBytes(align)}`;
  const findings = [ok(subject, `device-dax, ${humanBytes(size)}, ${aligned}${node}`)];
  if (align > 0 && size % align !== 0) {
    const message = `its size is no multiple of its alignment, ${humanBytes(align)}`;
    const remedy = 'make its namespace or region anew, with a size that is';
    findings.push(warning(subject, message, remedy));
  }
  if (numaNode === null && nodes > 1) {
    const remedy = 'look for a firmware update: copies run on any node';
    findings.push(warning(subject, 'the firmware does not say which NUMA node it is on', remedy));
  }
  findings.push(examinePersistence(device, subject));
  if (badBlocks === undefined) {
    findings.push(unknown(subject, 'it has bad blocks, and only root can see where'));
  } else if (badBlocks.length > 0) {
    const bytes = badBlocks.reduce((sum, { size: bad }) => sum + bad, 0);
    const [{ offset } = { offset: 0 }] = badBlocks;
    const message = `${badBlocks.length} bad blocks, ${humanBytes(bytes)}, the first at ${offset}`;
    const remedy = 'restore what was there, and clear them: ndctl clear-errors NAMESPACE';
    findings.push(problem(subject, message, remedy));
  }
  return findings;
}

/** @returns undefined for a device that can be served */
function examineMode({ name, driver }: DaxDevice, subject: string): Finding | undefined {
  if (driver === 'device_dax') return undefined;
  if (driver === null) {
    const remedy = `daxctl enable-device ${name}, or: daxctl reconfigure-device --mode=devdax ${name}`;
    return warning(subject, 'no driver has it, so it is not served', remedy);
  }
  const mode = driver === 'kmem' ? 'system-ram' : driver === 'fsdev_dax' ? 'fsdev' : driver;
  const message = `it is in mode ${mode} (driver ${driver}), so it is not served`;
  return warning(subject, message, `daxctl reconfigure-device --mode=devdax ${name}`);
}

function examinePersistence({ persistenceDomain: domain }: DaxDevice, subject: string): Finding {
  if (domain === 'cpu_cache') return ok(subject, 'persistent: CPU caches survive a power failure');
  if (domain === 'memory_controller') {
    return ok(subject, 'persistent once it is written back from the CPU caches');
  }
  if (domain === 'volatile') {
    const remedy = 'expect nothing to outlive a power failure; for CXL RAM that is as it should be';
    return warning(subject, 'volatile memory', remedy);
  }
  const remedy = 'ask the vendor: the daemon writes CPU caches back and calls that durable';
  return warning(subject, 'the platform does not say what survives a power failure', remedy);
}

/** NVDIMM namespaces that are no device-dax. */
function examineNamespaces(host: Host): Finding[] {
  return host
    .list(NAMESPACES)
    .filter((name) => /^namespace[0-9.]+$/.test(name))
    .flatMap((name) => {
      const attribute = (file: string) => host.read(`${NAMESPACES}/${name}/${file}`);
      if (Number(attribute('size') ?? 0) === 0) return [];
      const subject = `namespace ${name}`;
      const mode = attribute('mode');
      if (mode !== undefined && mode !== 'dax') {
        const shown = mode === 'memory' ? 'fsdax' : mode;
        const remedy = `to serve it, which destroys what it holds: ndctl create-namespace -f -e ${name} --mode=devdax`;
        return [warning(subject, `it is in mode ${shown}, so it is no device-dax`, remedy)];
      }
      if (attribute('nstype') !== ND_DEVICE_NAMESPACE_IO) return [];
      return [ok(subject, 'without labels: it is all of its region, and has no uuid of its own')];
    });
}
