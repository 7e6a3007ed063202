// SPDX-License-Identifier: Apache-2.0
import type { FastifyRequest } from 'fastify';
import { deviceNameOf } from '../devices/choice.ts';
import { Problem } from '../problems/problem.ts';
import type { Client } from './client.ts';

/** Bytes that a request is about to read or write. */
export interface Touch {
  /** As the client named it, which need not be a device that there is. */
  device: string;
  /** Bytes. */
  offset: number;
  /** Bytes; 0: none in particular. */
  size: number;
  write: boolean;
}

/**
 * Sees that the client of a request may touch these bytes, and notes them for the audit log. To be
 * asked before devices are looked at, so that the answer says nothing about those that the client
 * has no business with.
 *
 * @param pointerOf which field of the request says where a touch is (a JSON pointer), for errors
 * @throws Problem forbidden
 */
export function authorize(
  request: FastifyRequest,
  touches: readonly Touch[],
  pointerOf?: (index: number) => string,
): void {
  request.touches = touches;
  const { grants, name } = request.client;
  if (grants === undefined) return;
  for (const [index, touch] of touches.entries()) {
    if (grants.allow(deviceNameOf(touch.device), touch, touch.write)) continue;
    const { offset, size, write } = touch;
    const what = size === 0 ? 'there' : `${size} bytes at offset ${offset} of that device`;
    const detail = `The token ${name} has no right to ${write ? 'write' : 'read'} ${what}.`;
    const errors = pointerOf && [{ pointer: pointerOf(index), detail }];
    throw new Problem('forbidden', detail, errors && { errors });
  }
}

/** Whether a client may know of a device. */
export function maySee({ grants }: Client, device: string): boolean {
  return grants?.knows(deviceNameOf(device)) ?? true;
}
