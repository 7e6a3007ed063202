// SPDX-License-Identifier: Apache-2.0
import { channelsByDriver } from './channels.ts';
import { type Finding, ok, problem, warning } from './finding.ts';
import type { Host } from './host.ts';

const NAME = 'ioat-dma';
const LOADED = '/sys/module/ioat_dma';
const NODE = '/dev/ioat-dma';
const SECURE_BOOT = '/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c';
const REFUSED =
  /ioat.dma.*(?:rejected|unsigned|Key was rejected|signature)|module.*(?:unsigned|rejected).*ioat.dma|Lockdown: .*unsigned module/i;

/** The kernel module that copies by DMA. */
export function examineModule(host: Host): Finding[] {
  const findings: Finding[] = [];
  const hasChannels = channelsByDriver(host).size > 0;
  const secure = secureBoot(host);
  if (secure) findings.push(ok('secure boot', 'on: modules must be signed by an enrolled key'));
  const dkms = dkmsStatus(host);
  if (dkms !== undefined) findings.push(dkms);
  if (host.exists(LOADED)) return [...findings, ...examineLoaded(host, hasChannels)];
  const refused = (host.output('dmesg') ?? '').split('\n').find((line) => REFUSED.test(line));
  if (refused !== undefined || (secure && hasChannels)) {
    const message =
      refused === undefined
        ? 'not loaded; Secure Boot may have refused it'
        : `not loaded; the kernel refused it: ${refused.trim()}`;
    const remedy =
      'enrol the key that DKMS signs with: mokutil --import /var/lib/dkms/mok.pub, and restart';
    return [...findings, problem('module', message, remedy)];
  }
  if (!hasChannels) {
    return [...findings, ok('module', 'not loaded, and nothing for it to drive: the CPU copies')];
  }
  const remedy = `install it (kernel/README.md), then: modprobe ${NAME}. The CPU copies meanwhile`;
  return [...findings, problem('module', 'not loaded, though there are DMA channels', remedy)];
}

function examineLoaded(host: Host, hasChannels: boolean): Finding[] {
  const version = host.read(`${LOADED}/version`) ?? 'of unknown version';
  const unsigned = (host.read(`${LOADED}/taint`) ?? '').includes('E');
  const findings = [ok('module', `loaded, ${version}, ${unsigned ? 'not signed' : 'signed'}`)];
  if (!hasChannels) {
    const remedy = 'see "channels": without one the module has nothing to copy with';
    findings.push(warning('module', 'loaded, but there is no DMA channel', remedy));
  }
  if (!host.exists(NODE)) {
    const remedy = `look at the kernel log, then: modprobe -r ${NAME} && modprobe ${NAME}`;
    findings.push(problem('module', `loaded, but ${NODE} is missing`, remedy));
  }
  return findings;
}

/** EFI variables begin with four bytes of attributes. */
function secureBoot(host: Host): boolean {
  return host.readBytes(SECURE_BOOT)?.[4] === 1;
}

function dkmsStatus(host: Host): Finding | undefined {
  const output = host.output('dkms', 'status', NAME)?.trim();
  if (!output) return undefined;
  const release = host.read('/proc/sys/kernel/osrelease') ?? '';
  const lines = output.split('\n');
  const here = lines.find((line) => line.includes(`, ${release}, `));
  if (here?.includes('installed')) return ok('dkms', here.trim());
  const message = `not built for this kernel, ${release}: ${lines[0]?.trim()}`;
  const remedy = `install the headers of this kernel, then: dkms autoinstall`;
  return problem('dkms', message, remedy);
}
