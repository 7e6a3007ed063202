// SPDX-License-Identifier: Apache-2.0

/** The size of a SHA-256, in bytes. */
export const DIGEST_SIZE = 32;
