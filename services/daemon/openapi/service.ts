// SPDX-License-Identifier: Apache-2.0
import type { DescribedService } from '../../http/openapi/plugin.ts';
import { EXAMPLES } from './examples.ts';

/** What the daemon's OpenAPI document says of the whole. */
export const DAEMON: DescribedService = {
  title: 'dmad',
  description:
    'DMA as a service: durable, ordered bulk copies inside and across device-dax memory.',
  tags: [
    { name: 'transfers', description: 'Copies, and how they stand.' },
    { name: 'replications', description: "Copies of ranges of other hosts' devices." },
    { name: 'devices', description: 'The memory that is copied, and its bytes.' },
    { name: 'engines', description: 'What copies.' },
    { name: 'health', description: 'For probes, scrapes and operators.' },
  ],
  examples: EXAMPLES,
};
