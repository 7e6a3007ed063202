// SPDX-License-Identifier: Apache-2.0
import { writeSync } from 'node:fs';

const STDERR = 2;

/** Writes at once; what cannot be written, because there is no room or no reader, is given up. */
export function writeToStderr(text: string): void {
  try {
    writeSync(STDERR, text);
  } catch {
    // There is nowhere else to say it.
  }
}
