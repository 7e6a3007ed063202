// SPDX-License-Identifier: Apache-2.0
import { z } from 'zod';

/** The name of a daemon that this one may read from. */
export const peerNameSchema = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, 'must be 1 to 63 letters, digits, ".", "_" or "-"');
