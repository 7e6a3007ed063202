// SPDX-License-Identifier: Apache-2.0
import { Command } from './copy-text.tsx';

/** How to do the same again in a shell. @param dmactl undefined if dmactl cannot say it */
export function Repeat({ dmactl, curl }: { dmactl: string | undefined; curl: string }) {
  return (
    <section class="panel" aria-label="Do it again">
      <h2>Do it again</h2>
      {dmactl !== undefined && <Command name="dmactl" text={dmactl} />}
      <Command name="curl" text={curl} />
    </section>
  );
}
