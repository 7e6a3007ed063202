// SPDX-License-Identifier: Apache-2.0
import packageJson from '../../package.json' with { type: 'json' };

/** The daemon's version, which package.json has. */
export const DAEMON_VERSION: string = packageJson.version;

/** Of the HTTP interface: within a major version answers and requests only gain. */
export const API_VERSION = { major: 1, minor: 0 } as const;
