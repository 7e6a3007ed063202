// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

/** A key and a certificate, as paths of PEM files. */
export interface Certificate {
  cert: string;
  key: string;
}

/**
 * Makes a certificate with openssl(1), for localhost and 127.0.0.1.
 *
 * @param ca signs it; without one it is self-signed
 */
export function makeCertificate(directory: string, name: string, ca?: Certificate): Certificate {
  const [cert, key] = [join(directory, `${name}.crt`), join(directory, `${name}.key`)];
  const issuer = ca === undefined ? [] : ['-CA', ca.cert, '-CAkey', ca.key];
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
      ...['-days', '2', '-subj', `/CN=${name}`, '-keyout', key, '-out', cert, ...issuer],
      ...['-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'],
      ...(ca === undefined ? [] : ['-addext', 'basicConstraints=critical,CA:FALSE']),
    ],
    { stdio: 'pipe' },
  );
  return { cert, key };
}
