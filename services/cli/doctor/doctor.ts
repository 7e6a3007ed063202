// SPDX-License-Identifier: Apache-2.0
import { DAEMON_VERSION as VERSION } from '../../base/version.ts';
import { examineChannels, examineIommu } from './channels.ts';
import { type DaemonParts, examineDaemon } from './daemon.ts';
import { examineDevices } from './devices.ts';
import type { Finding } from './finding.ts';
import { examineKernelLog } from './kernel-log.ts';
import { examineLimits } from './limits.ts';
import { examineModule } from './module.ts';

/** All there is to say about a host, from the hardware up. It changes nothing. */
export async function examine(parts: Omit<DaemonParts, 'version'>): Promise<Finding[]> {
  const { host } = parts;
  return [
    ...examineDevices(host),
    ...examineChannels(host),
    ...examineModule(host),
    ...examineIommu(host),
    ...(await examineDaemon({ ...parts, version: VERSION })),
    ...examineLimits(host),
    ...examineKernelLog(host),
  ];
}
