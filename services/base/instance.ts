// SPDX-License-Identifier: Apache-2.0

/**
 * The header that names a run of the daemon, in its answers with content or digests, and in its requests
 * for them: a daemon that reads from a peer, and a peer that is read, can each tell whether that is
 * itself. A proxy between them may pass on only one of the two.
 */
export const INSTANCE_HEADER = 'x-dmad-instance';
