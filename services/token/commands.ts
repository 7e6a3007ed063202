// SPDX-License-Identifier: Apache-2.0
import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { type Document, isMap, isSeq, parseDocument } from 'yaml';
import { formatByteCount } from '../base/byte-count-text.ts';
import { parseTokens, readTokensFile, type Token } from '../http/access/tokens-file.ts';
import { changeFile } from './change-file.ts';

const SECRET_BYTES = 32;
/** By which a leaked secret is known for what it is. */
const SECRET_PREFIX = 'dmad_';
/** NAME:ro, or NAME:ro:OFFSET+SIZE. */
const DEVICE = /^([^:]+):(ro|rw)(?::([^:+]+)\+([^:+]+))?$/;

/** What is asked for makes no token: the file is as it was, and is not to blame. */
export class InvalidToken extends Error {
  override readonly name = 'InvalidToken';
}

/** A token to be made, as a command line has it. */
export interface NewToken {
  name: string;
  scopes: string[];
  devices: string[] | undefined;
  peers: string[] | undefined;
  transfersInFlight: string | undefined;
  bytesPerSecond: string | undefined;
}

/**
 * Adds a token to the file, which is made where it is missing. What else is in it stays, comments
 * included.
 *
 * @returns the token's secret, of which the file keeps the SHA-256 alone
 * @throws InvalidToken if the token is not valid
 * @throws Error if the file is not
 */
export function addToken(path: string, given: NewToken): string {
  if (existsSync(path) && hasToken(path, given.name)) {
    throw new InvalidToken(`there is a token "${given.name}" already: remove it, or name another`);
  }
  const secret = SECRET_PREFIX + randomBytes(SECRET_BYTES).toString('base64url');
  const { transfersInFlight, bytesPerSecond } = given;
  const token = {
    name: given.name,
    sha256: createHash('sha256').update(secret).digest('hex'),
    scopes: given.scopes,
    ...(given.devices && { devices: given.devices.map(readDevice) }),
    ...(given.peers && { peers: given.peers }),
    ...((transfersInFlight ?? bytesPerSecond) !== undefined && {
      limits: {
        ...(transfersInFlight !== undefined && { transfers_in_flight: Number(transfersInFlight) }),
        ...(bytesPerSecond !== undefined && { bytes_per_second: bytesPerSecond }),
      },
    }),
  };
  changeTokens(path, (document) => document.addIn(['tokens'], document.createNode(token)));
  return secret;
}

/** One line for each token: what it is good for, and nothing that it could be known by. */
export function listTokens(path: string): string[] {
  return readTokensFile(path).map(({ name, scopes, devices, peers, limits }) => {
    const about = [...(devices === undefined ? ['every device'] : devices.map(describeDevice))];
    about.push(...(peers ?? []).map((peer) => `from peer ${peer}`));
    const { transfers_in_flight: transfers, bytes_per_second: rate } = limits;
    if (transfers !== undefined) about.push(`${transfers} transfers in flight`);
    if (rate !== undefined) about.push(`${formatByteCount(rate)} per second`);
    return `${name}: ${scopes.join(' ')}; ${about.join(', ') || 'no device'}`;
  });
}

/** The same for programs. */
export function readTokens(path: string) {
  return readTokensFile(path).map(({ name, scopes, devices, peers, limits }) => ({
    ...{ name, scopes, devices: devices ?? null, peers: peers ?? null, limits },
  }));
}

export function hasToken(path: string, name: string): boolean {
  return readTokensFile(path).some((token) => token.name === name);
}

/** @throws Error where there is no such token */
export function removeToken(path: string, name: string): void {
  changeTokens(path, (document) => {
    const tokens = document.get('tokens');
    const items = isSeq(tokens) ? tokens.items : [];
    const index = items.findIndex((item) => isMap(item) && item.get('name') === name);
    if (index < 0) throw new Error(`${path} has no token ${name}`);
    document.deleteIn(['tokens', index]);
  });
}

/** What comes of it is checked as the daemon would, before it is there for the daemon to see. */
function changeTokens(path: string, change: (document: Document) => void): void {
  // Refuses what the daemon would refuse: what is wrong already is for a person to mend.
  if (existsSync(path)) readTokensFile(path);
  changeFile(path, (text) => {
    const document = parseDocument(text ?? 'tokens: []\n');
    change(document);
    // An empty list is written in brackets; what is added to it gets lines of its own.
    const tokens = document.get('tokens');
    if (isSeq(tokens)) tokens.flow = tokens.items.length === 0;
    const changed = document.toString();
    try {
      parseTokens(changed);
    } catch (error) {
      throw new InvalidToken((error as Error).message);
    }
    return changed;
  });
}

function readDevice(text: string) {
  const [, name, access, offset, size] = DEVICE.exec(text) ?? [];
  if (name === undefined) {
    throw new InvalidToken(`"${text}" is no device: use dax0.0:ro, dax0.0:rw or dax0.0:rw:0+1GiB`);
  }
  return { name, ...(offset !== undefined && { ranges: [{ offset, size }] }), access };
}

function describeDevice(device: NonNullable<Token['devices']>[number]): string {
  const { name, uuid, resource, ranges, access } = device;
  const about = [
    ...(uuid === undefined ? [] : [`uuid ${uuid}`]),
    ...(resource === undefined ? [] : [`resource 0x${resource.toString(16)}`]),
    ...(ranges ?? []).map(
      ({ offset, size }) => `${formatByteCount(offset)}+${formatByteCount(size)}`,
    ),
  ];
  return `${name} ${access}${about.length === 0 ? '' : ` (${about.join(' ')})`}`;
}
