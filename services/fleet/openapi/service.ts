// SPDX-License-Identifier: Apache-2.0
import type { DescribedService } from '../../http/openapi/plugin.ts';
import { FLEET_EXAMPLES } from './examples.ts';

/** What the gateway's OpenAPI document says of the whole. */
export const FLEET: DescribedService = {
  title: 'dmad fleet',
  description: 'One address for many hosts that run dmad.',
  tags: [
    { name: 'transfers', description: 'Copies on hosts, and how they stand.' },
    { name: 'hosts', description: 'The hosts and their devices.' },
    { name: 'health', description: 'For probes, scrapes and operators.' },
  ],
  examples: FLEET_EXAMPLES,
};
