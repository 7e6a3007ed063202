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
  const options: SecureContextOptions = {
    minVersion: 'TLSv1.2',
    cert: readPem(`${prefix}TLS_CERT`, cert),
    key: readPem(`${prefix}TLS_KEY`, key),
    ...(clientCa !== undefined && { ca: readPem(`${prefix}TLS_CLIENT_CA`, clientCa) }),
  };
  attempt(`${prefix}TLS_CERT ${cert}`, () => createSecureContext({ cert: options.cert }));
  attempt(`${prefix}TLS_KEY ${key}`, () => createSecureContext(options));
  return options;
}

function readPem(variable: string, path: string): string {
  const text = attempt(`${variable} ${path}`, () => readFileSync(path, 'utf8'));
  // OpenSSL takes a file without any as an empty list, and would then trust nobody or be nobody.
  if (/^-----BEGIN /m.test(text)) return text;
  throw new StartError('configuration', `${variable} ${path}: there is nothing in PEM in it`);
}

function attempt<Result>(what: string, work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    throw new StartError('configuration', `${what}: ${(error as Error).message}`);
  }
}
