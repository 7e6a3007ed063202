// SPDX-License-Identifier: Apache-2.0
import { signal } from '@preact/signals';
import type { Device } from '../../client/types.ts';
import type { UsedRange } from '../model/ranges.ts';

/** What this tab is uploading. Uploads of others have no event, so that nobody sees them. */
export interface RunningUpload {
  device: Pick<Device, 'name'>;
  range: UsedRange;
  since: number;
}

export const uploads = signal<readonly RunningUpload[]>([]);
