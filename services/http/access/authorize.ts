// SPDX-License-Identifier: Apache-2.0
import type { FastifyRequest } from 'fastify';
import { deviceNameOf } from '../../base/device-name.ts';
import { Problem } from '../problems/problem.ts';
import type { Client } from './client.ts';

/** Bytes that a request is about to read or write. */
export interface Touch {
  /** Of a fleet: the host that has the device. */
  host?: string;
  /** As the client named it, which need not be a device that there is. */
  device: string;
  /** Bytes. */
  offset: number;
  /** Bytes; 0: none in particular. */
  size: number;
  write: boolean;
}

/** Ranges of bytes, each of which is made when it is asked for: a transfer can touch thousands. */
export interface Touches {
  readonly length: number;
  at(index: number): Touch | undefined;
}

/**
 * Sees that the client of a request may touch these bytes, and notes them for the audit log. To be
 * asked before devices are looked at, so that the answer says nothing about those that the client
 * has no business with.
 *
 * @param pointerOf which field of the request says where a touch is (a JSON pointer), for errors
 * @param mayTouch what the client may touch, undefined for everything; in a fleet that depends on
 *   the host
 * @throws Problem forbidden
 */
export function authorize(
  request: FastifyRequest,
  touches: Touches,
  pointerOf?: (index: number) => string,
  mayTouch = mayTouchByGrants(request.client),
): void {
  request.touches = touches;
  const { name } = request.client;
  if (mayTouch === undefined) return;
  for (let index = 0; index < touches.length; index++) {
    const touch = touches.at(index) as Touch;
    if (mayTouch(touch)) continue;
    const { offset, size, write } = touch;
    const what = size === 0 ? 'there' : `${size} bytes at offset ${offset} of that device`;
    const detail = `The token ${name} has no right to ${write ? 'write' : 'read'} ${what}.`;
    const errors = pointerOf && [{ pointer: pointerOf(index), detail }];
    throw new Problem('forbidden', detail, errors && { errors });
  }
}

function mayTouchByGrants({ grants }: Client): ((touch: Touch) => boolean) | undefined {
  return grants && ((touch) => grants.allow(deviceNameOf(touch.device), touch, touch.write));
}

/**
 * Sees that the client of a request may replicate from a peer: what is read there is what the daemon's
 * own token may read, whatever the client's may.
 *
 * @throws Problem forbidden
 */
export function authorizePeer({ client: { name, peers } }: FastifyRequest, peer: string): void {
  if (peers === undefined || peers.has(peer)) return;
  const detail = `The token ${name} has no right to replicate from that peer.`;
  throw new Problem('forbidden', detail, { errors: [{ pointer: '/peer', detail }] });
}

/** Whether a client may know of a device. */
export function maySee({ grants }: Client, device: string): boolean {
  return grants?.knows(deviceNameOf(device)) ?? true;
}
