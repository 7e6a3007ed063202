// SPDX-License-Identifier: Apache-2.0
import { expect, test } from '@jest/globals';
import { EXIT_MEANINGS, exitNameOf } from '../../../services/cli/lib/exit-codes.ts';
import { DmadError } from '../../../services/client/error.ts';
import { PROBLEMS, type ProblemCode } from '../../../services/http/problems/problem.ts';

const unknown = (Object.keys(PROBLEMS) as ProblemCode[]).filter((code) => /^unknown_/.test(code));

test.each(unknown)('%s means that there is no such thing, as not_found does', (code) => {
  const { status } = PROBLEMS[code];
  expect(exitNameOf(new DmadError({ code, status, message: 'none' }))).toBe('not_found');
  expect(EXIT_MEANINGS.not_found).toContain(` ${code.replace('unknown_', '')}`);
});
