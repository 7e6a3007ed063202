// SPDX-License-Identifier: Apache-2.0
import { type Finding, ok, unknown, warning } from './finding.ts';
import type { Host } from './host.ts';

const ABOUT =
  /\b(?:dax|nvdimm|nd_pmem|nfit|libnvdimm|cxl|ioat[-_]?(?:dma)?|idxd)\b|DMAR|AMD-Vi|Memory failure|mce:|Hardware Error/i;
const TROUBLE =
  /error|fail|fault|reject|corrupt|timeout|timed out|hung|bad|unable|WARNING|BUG|poison|Uncorrect/i;
const SHOWN = 5;

/** What the kernel had to say about memory, channels and the module. */
export function examineKernelLog(host: Host): Finding[] {
  const log = host.output('dmesg');
  if (log === undefined) return [unknown('kernel log', 'only root can read it here: sudo dmesg')];
  const lines = log.split('\n').filter((line) => ABOUT.test(line) && TROUBLE.test(line));
  if (lines.length === 0) return [ok('kernel log', 'nothing about device-dax, DMA or bad memory')];
  const more = lines.length > SHOWN ? [`and ${lines.length - SHOWN} more such lines`] : [];
  return [...lines.slice(-SHOWN).map((line) => line.trim()), ...more].map((line) =>
    warning('kernel log', line, 'see dmesg for what is around it'),
  );
}
