// SPDX-License-Identifier: Apache-2.0
import { DmadError, type DryRun } from '../../client/node.ts';
import { retryLater } from '../../http/problems/problem.ts';
import type { HostLink } from '../hosts/host-link.ts';
import { describeRefusal, isRefusal, refusalOf } from './refusal.ts';
import type { FleetTransferRequest } from './schema.ts';

const ASK_MS = 10_000;

/** What a host would do. @throws Problem the host's; host_unreachable */
export async function planAtHost(
  link: HostLink | undefined,
  { host, depends_on: _, dry_run: _dryRun, ...body }: FleetTransferRequest,
): Promise<DryRun> {
  try {
    const plan = await link?.client.planTransfer(body, { deadlineMs: ASK_MS, retryForMs: 0 });
    if (plan !== undefined) return plan;
  } catch (error) {
    if (isRefusal(error)) throw refusalOf(error);
    if (!(error instanceof DmadError)) throw error;
    throw retryLater(
      'host_unreachable',
      `Host ${host} gives no plan: ${describeRefusal(error)}`,
      2,
    );
  }
  throw retryLater('host_unreachable', `Host ${host} is not connected yet.`, 1);
}
