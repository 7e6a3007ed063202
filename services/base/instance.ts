// SPDX-License-Identifier: Apache-2.0

/**
 * The header of an answer with content or digests that names this run of the daemon: another one that
 * reads from it as its peer can tell whether that is itself.
 */
export const INSTANCE_HEADER = 'x-dmad-instance';
