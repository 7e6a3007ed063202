// SPDX-License-Identifier: Apache-2.0
import { readFileSync, statSync } from 'node:fs';
import { connect as connectSocket } from 'node:net';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { type ConnectedClient, connect } from '../../client/node.ts';
import { CliError } from './exit-codes.ts';
import { fileErrorText } from './file-error.ts';

export const DEFAULT_SOCKET = '/run/dmad/dmad.sock';
export const DEFAULT_URL = 'http://127.0.0.1:8080';

/** Where the daemon is, and who asks; as the command line and the environment have it. */
export interface ConnectionOptions {
  url?: string;
  tokenFile?: string;
  ca?: string;
  cert?: string;
  key?: string;
  /** Milliseconds. */
  retryFor?: number;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Nothing is sent yet. @throws CliError `configuration` */
export async function openClient(
  options: ConnectionOptions,
  env: Environment,
): Promise<ConnectedClient> {
  const url = await findUrl(options, env);
  const token = readToken(options, env);
  const { ca, cert, key, retryFor } = options;
  const tls = { ca: readPem(ca), cert: readPem(cert), key: readPem(key) };
  return connect({ url, token, tls, retryForMs: retryFor });
}

/** --url, else DMAD_URL, else the socket if somebody listens there, else the default port. */
export async function findUrl({ url }: ConnectionOptions, env: Environment): Promise<string> {
  const given = url ?? (env.DMAD_URL || undefined);
  if (given === undefined) {
    return (await canConnect(DEFAULT_SOCKET)) ? `unix:${DEFAULT_SOCKET}` : DEFAULT_URL;
  }
  if (/^unix:\/./.test(given)) return given;
  const parsed = URL.canParse(given) ? new URL(given) : undefined;
  if (parsed !== undefined && /^https?:$/.test(parsed.protocol)) return given;
  throw new CliError(
    url === undefined ? 'configuration' : 'usage',
    `"${given}" is no address: write http://HOST:PORT, https://HOST:PORT or unix:/PATH`,
  );
}

function canConnect(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connectSocket(path, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** @throws CliError `configuration` if the token cannot be used */
export function readToken({ tokenFile }: ConnectionOptions, env: Environment): string | undefined {
  if (tokenFile !== undefined) return readTokenFile(tokenFile);
  if (env.DMAD_TOKEN) return checkToken(env.DMAD_TOKEN, 'DMAD_TOKEN');
  const config = env.XDG_CONFIG_HOME || join(env.HOME || homedir(), '.config');
  return readTokenFile(join(config, 'dmad/token'), { optional: true });
}

function readTokenFile(path: string, { optional = false } = {}): string | undefined {
  let token: string;
  try {
    const { mode } = statSync(path);
    if ((mode & 0o077) !== 0) {
      const message = `${path} can be read by others: run "chmod 600 ${path}"`;
      throw new CliError('configuration', message);
    }
    token = readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof CliError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    if (optional && (code === 'ENOENT' || code === 'ENOTDIR')) return undefined;
    throw new CliError('configuration', fileErrorText(error));
  }
  return checkToken(token, path);
}

/** @param from where it was found */
function checkToken(text: string, from: string): string {
  const token = text.trim();
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw new CliError('configuration', `${from} must have the token's secret and nothing else`);
}

function readPem(path: string | undefined): string | undefined {
  if (path === undefined) return undefined;
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new CliError('configuration', fileErrorText(error));
  }
}
