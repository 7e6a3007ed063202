// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { StartError } from '../base/start-error.ts';

/** Where certificates and keys are, all PEM. */
export interface TlsFiles {
  /** The daemon's certificate, and what it is signed by, up to a root. */
  cert: string;
  key: string;
  /** Who signs clients' certificates; where it is given, every client must have one. */
  clientCa: string | undefined;
}

/** What the daemon's configuration says of TLS; undefined where it is not to be used. */
export function tlsFilesOf(settings: {
  tls_cert?: string | undefined;
  tls_key?: string | undefined;
  tls_client_ca?: string | undefined;
}): TlsFiles | undefined {
  const { tls_cert: cert, tls_key: key, tls_client_ca: clientCa } = settings;
  return cert === undefined || key === undefined ? undefined : { cert, key, clientCa };
}

/**
 * @param prefix of the variables that name the files
 * @throws StartError configuration, where a file cannot be read, or they do not fit together
 */
export function readTls({ cert, key, clientCa }: TlsFiles, prefix = 'DMAD_'): SecureContextOptions {
  return {
    minVersion: 'TLSv1.2',
    ...readPems({
      cert: { variable: `${prefix}TLS_CERT`, path: cert },
      key: { variable: `${prefix}TLS_KEY`, path: key },
      ca:
        clientCa === undefined ? undefined : { variable: `${prefix}TLS_CLIENT_CA`, path: clientCa },
    }),
  };
}

/** A file, and the variable that names it. */
export interface NamedFile {
  variable: string;
  path: string;
}

type Pems<File> = { ca?: File | undefined; cert?: File | undefined; key?: File | undefined };

/** @throws StartError configuration, if a file cannot be read, or certificate and key do not fit together */
export function readPems(files: Pems<NamedFile>): Pems<string> {
  const pems: Pems<string> = {};
  for (const part of ['ca', 'cert', 'key'] as const) {
    const file = files[part];
    if (file === undefined) continue;
    pems[part] = readPem(file);
    // With all before it: a key has to fit its certificate.
    attempt(file, () => createSecureContext(pems));
  }
  return pems;
}

function readPem(file: NamedFile): string {
  const text = attempt(file, () => readFileSync(file.path, 'utf8'));
  // OpenSSL takes a file without any as an empty list, and would then trust nobody or be nobody.
  if (/^-----BEGIN /m.test(text)) return text;
  throw new StartError(
    'configuration',
    `${file.variable} ${file.path}: there is nothing in PEM in it`,
  );
}

function attempt<Result>({ variable, path }: NamedFile, work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    throw new StartError('configuration', `${variable} ${path}: ${(error as Error).message}`);
  }
}
