// SPDX-License-Identifier: Apache-2.0
// Exits 0 if the daemon with this configuration answers GET /livez, else 1 with the reason; with the argument
// "fleet" the same of a gateway.
import http from 'node:http';
import https from 'node:https';
import { reachableHost } from '../base/host-address.ts';
import { readConfig } from '../daemon/config.ts';
import { readFleetConfig } from '../fleet/config.ts';

/** Below the HEALTHCHECK's own timeout, so that the reason is still written. */
const TIMEOUT_MS = 3000;
/** The alerts that a client without a certificate gets, by TLS 1.3 and 1.2. */
const CERTIFICATE_REQUIRED = /alert (?:certificate required|handshake failure)/;

function fail(reason: string): never {
  console.error(`/livez: ${reason}`);
  process.exit(1);
}

function readListener() {
  if (process.argv[2] !== 'fleet') return readConfig(process.env);
  return { ...readFleetConfig(process.env), socket: undefined };
}

/** Where it listens; on its Unix socket if it has one, which asks for no certificate. */
function target() {
  const { socket, host, port, tls_cert, tls_client_ca } = readListener();
  if (socket !== undefined) return { protocol: http, address: { socketPath: socket } };
  if (port === 0) fail('port 0 does not say where it listens: name a port, or set DMAD_SOCKET');
  const address = { host: reachableHost(host), port };
  return tls_cert === undefined
    ? { protocol: http, address }
    : // The certificate is the business of those who trust it; here, an answer is enough.
      { protocol: https, address: { ...address, rejectUnauthorized: false }, tls_client_ca };
}

setTimeout(fail, TIMEOUT_MS, `no answer within ${TIMEOUT_MS} ms`);
try {
  const { protocol, address, tls_client_ca } = target();
  protocol
    .request({ ...address, path: '/livez', headers: { host: 'localhost' } }, ({ statusCode }) => {
      if (statusCode !== 200) fail(`status ${statusCode}`);
      process.exit(0);
    })
    .on('error', ({ message }) => {
      // Only an event loop that runs asks for the certificate that this client does not have.
      if (tls_client_ca !== undefined && CERTIFICATE_REQUIRED.test(message)) process.exit(0);
      fail(message);
    })
    .end();
} catch (error) {
  fail((error as Error).message);
}
