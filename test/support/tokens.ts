// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { SCOPES, type Scope } from '../../services/http/access/scopes.ts';

/** All but `transfers:all`: what does not show a client the transfers of others. */
const OWN_SCOPES = SCOPES.filter((scope) => scope !== 'transfers:all');

/** A token as a test wants it; what it leaves out is everything that is its own. */
export interface TestToken {
  name: string;
  scopes?: readonly Scope[];
  /** Of a fleet's token. */
  hosts?: string[];
  devices?: object[];
  peers?: string[];
  limits?: object;
}

/** What stands behind a test token's name. */
export function secretOf(name: string): string {
  return `secret-of-${name}-0123456789abcdef`;
}

export function sha256Of(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}

/** The header by which a token is shown. */
export function bearer(name: string): { authorization: string } {
  return { authorization: `Bearer ${secretOf(name)}` };
}

export function tokensText(tokens: readonly TestToken[]): string {
  return stringify({
    tokens: tokens.map(({ name, scopes = OWN_SCOPES, ...rest }) => ({
      name,
      sha256: sha256Of(secretOf(name)),
      scopes: [...scopes],
      ...rest,
    })),
  });
}

/** @returns the path of a tokens file */
export function writeTokens(directory: string, tokens: readonly TestToken[]): string {
  const path = join(directory, 'tokens.yaml');
  writeFileSync(path, tokensText(tokens), { mode: 0o600 });
  return path;
}
