// SPDX-License-Identifier: Apache-2.0
import { z } from 'zod';

/** What a host is called in a fleet: a label of DNS, so that it fits into paths, metrics and URLs. */
export const hostNameSchema = z
  .string()
  .regex(
    /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/,
    'must be 1 to 63 lower-case letters, digits or "-"',
  );
