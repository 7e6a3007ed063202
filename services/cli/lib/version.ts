// SPDX-License-Identifier: Apache-2.0
import packageJson from '../../../package.json' with { type: 'json' };

/** dmactl's, which is the daemon's that it came with. */
export const VERSION: string = packageJson.version;
