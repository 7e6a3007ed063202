// SPDX-License-Identifier: Apache-2.0
// Writes what is made from the command tree: `npm run manual`.
import { readFileSync, writeFileSync } from 'node:fs';
import { generatedFiles } from './generated.ts';

for (const [path, make] of Object.entries(generatedFiles)) {
  const before = readIfThere(path);
  const text = make(before);
  if (text !== before) writeFileSync(path, text);
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
