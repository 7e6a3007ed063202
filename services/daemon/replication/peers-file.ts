// SPDX-License-Identifier: Apache-2.0
import { dirname, resolve } from 'node:path';
import { createSecureContext } from 'node:tls';
import { z } from 'zod';
import { peerNameSchema } from '../../base/peer-name.ts';
import { parseYaml, readTrustedFile } from '../../base/trusted-file.ts';

/** The most bytes that the file, and each file that it names, may have. */
const MAX_FILE_SIZE = 2 ** 20;
const MAX_PEERS = 1024;
/** RFC 6750, 2.1. */
const TOKEN = /^[A-Za-z0-9\-._~+/]+=*$/;

/** A daemon that this one may read from. */
export interface Peer {
  name: string;
  url: string;
  token: string | undefined;
  /** PEM. */
  tls: { ca?: string; cert?: string; key?: string };
}

const path = z.string().min(1);

const peerSchema = z
  .strictObject({
    name: peerNameSchema,
    url: z
      .string()
      .refine(
        isBaseUrl,
        'must be http:// or https:// and a host, without user, password, query or fragment',
      ),
    token_file: path.optional(),
    ca: path.optional(),
    cert: path.optional(),
    key: path.optional(),
  })
  .superRefine(({ url, ca, cert, key }, context) => {
    const complain = (message: string, ...at: string[]) =>
      context.addIssue({ code: 'custom', path: at, message });
    if ((cert === undefined) !== (key === undefined)) complain('cert and key need each other');
    if (!url.startsWith('https:') && (ca ?? cert ?? key) !== undefined) {
      complain('must be https:// for ca, cert and key to be of use', 'url');
    }
  });

const fileSchema = z.strictObject({
  peers: z
    .array(peerSchema)
    .max(MAX_PEERS)
    .superRefine((peers, context) => {
      const seen = new Set<string>();
      for (const [index, { name }] of peers.entries()) {
        const message = "is another peer's name already";
        if (seen.has(name)) context.addIssue({ code: 'custom', path: [index, 'name'], message });
        seen.add(name);
      }
    }),
});

/**
 * Reads the peers file and all files that it names, whose paths may be relative to it.
 *
 * @throws Error saying in one line what is wrong and where; it never quotes what a file holds
 */
export function readPeersFile(file: string): Peer[] {
  const { peers } = parseYaml(readTrustedFile(file, MAX_FILE_SIZE), fileSchema);
  return peers.map(({ name, url, token_file: tokenFile, ...pem }) => {
    const read = (field: string, named: string) =>
      attempt(`${name}: ${field} ${named}`, () =>
        readTrustedFile(resolve(dirname(file), named), MAX_FILE_SIZE),
      );
    const tls = Object.fromEntries(
      Object.entries(pem).map(([field, named]) => [field, readPem(field, named as string, read)]),
    );
    attempt(`${name}: ca, cert or key`, () => createSecureContext(tls));
    const token = tokenFile && readToken(`${name}: token_file`, read('token_file', tokenFile));
    return { name, url, token, tls };
  });
}

function readToken(what: string, text: string): string {
  const token = text.trim();
  if (TOKEN.test(token)) return token;
  throw new Error(`${what}: it must hold one bearer token, and nothing else`);
}

function readPem(
  field: string,
  named: string,
  read: (field: string, named: string) => string,
): string {
  const text = read(field, named);
  // OpenSSL takes a file without any as an empty list.
  if (/^-----BEGIN /m.test(text)) return text;
  throw new Error(`${field} ${named}: there is nothing in PEM in it`);
}

function attempt<Result>(what: string, work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    throw new Error(`${what}: ${(error as Error).message}`);
  }
}

function isBaseUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, username, password, search, hash } = new URL(text);
  return /^https?:$/.test(protocol) && `${username}${password}${search}${hash}` === '';
}
