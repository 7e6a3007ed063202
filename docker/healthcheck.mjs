// SPDX-License-Identifier: Apache-2.0
// Exits 0 where the daemon of this container answers /livez, else 1 with the reason. Where it
// listens must be in the environment: a file named by DMAD_CONFIG is not read here.
import http from 'node:http';
import https from 'node:https';

/** Below the HEALTHCHECK's own timeout, so that the reason is still written. */
const TIMEOUT_MS = 3000;

const { DMAD_SOCKET, DMAD_PORT = '8080', DMAD_TLS_CERT } = process.env;
// The Unix socket asks for no client certificate, so it is the surer way where there is one.
const target = DMAD_SOCKET
  ? { socketPath: DMAD_SOCKET }
  : // The certificate names the host, not loopback; what is asked is only whether it answers.
    { host: '127.0.0.1', port: DMAD_PORT, rejectUnauthorized: false };
const { request } = DMAD_TLS_CERT && !DMAD_SOCKET ? https : http;

function fail(reason) {
  console.error(`/livez: ${reason}`);
  process.exit(1);
}

setTimeout(fail, TIMEOUT_MS, `no answer within ${TIMEOUT_MS} ms`);
request({ ...target, path: '/livez' }, ({ statusCode }) => {
  if (statusCode !== 200) fail(`status ${statusCode}`);
  process.exit(0);
})
  .on('error', ({ message }) => fail(message))
  .end();
