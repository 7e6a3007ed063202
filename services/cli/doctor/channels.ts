// SPDX-License-Identifier: Apache-2.0
import { type Finding, ok, warning } from './finding.ts';
import type { Host } from './host.ts';

const CLASS = '/sys/class/dma';

/** The kernel's DMA channels by driver. */
export function channelsByDriver(host: Host): Map<string, string[]> {
  const drivers = new Map<string, string[]>();
  for (const channel of host.list(CLASS)) {
    const driver = host.linkName(`${CLASS}/${channel}/device/driver`) ?? 'no driver';
    drivers.set(driver, [...(drivers.get(driver) ?? []), channel]);
  }
  return drivers;
}

export function examineChannels(host: Host): Finding[] {
  const drivers = channelsByDriver(host);
  if (drivers.size === 0) {
    const remedy =
      'switch on I/OAT (CBDMA, QuickData) in the firmware, and: modprobe ioatdma. The CPU copies meanwhile';
    return [warning('channels', 'the kernel offers no DMA channel', remedy)];
  }
  return [...drivers].map(([driver, channels]) => {
    const subject = `channels of ${driver}`;
    if (driver !== 'idxd') return ok(subject, channels.join(', '));
    const remedy = 'the CPU copies; kernel/README.md, "Which providers", says why';
    return warning(subject, 'DSA completes copies out of order, so it is not used', remedy);
  });
}

/** How the IOMMU maps what channels copy. */
export function examineIommu(host: Host): Finding[] {
  const units = host.list('/sys/class/iommu');
  if (units.length === 0) return [ok('iommu', 'none is on: mappings cost nothing')];
  const types = new Set(
    host
      .list(CLASS)
      .map((channel) => host.read(`${CLASS}/${channel}/device/iommu_group/type`))
      .filter((type) => type !== undefined),
  );
  if (types.has('DMA')) {
    const remedy = "add iommu=pt to the kernel's command line, or iommu.strict=0";
    return [warning('iommu', 'strict: each copy pays for mapping, and for flushing it', remedy)];
  }
  if (types.has('DMA-FQ')) return [ok('iommu', 'lazy: each copy pays for mapping')];
  if (types.has('identity')) return [ok('iommu', 'passed through: mappings cost nothing')];
  return [ok('iommu', `${units.length} units; no channel is behind one that says how it maps`)];
}
