// SPDX-License-Identifier: Apache-2.0
import type { FastifyRequest } from 'fastify';
import { authorize, type Touch, type Touches } from '../../http/access/authorize.ts';
import type { Client } from '../../http/access/client.ts';
import { Grants, type KnownDevice } from '../../http/access/grants.ts';

/** Whether a client's token is good for a host at all. */
export function mayUseHost({ hosts }: Pick<Client, 'hosts'>, host: string): boolean {
  return hosts?.has(host) ?? true;
}

/** What a client may touch on each host: its grants are for the devices of all that it may use. */
export class HostGrants {
  readonly #find: (host: string, device: string) => KnownDevice | undefined;
  readonly #grants = new WeakMap<Grants, Map<string, Grants>>();

  /** @param find a device as it was seen last */
  constructor(find: (host: string, device: string) => KnownDevice | undefined) {
    this.#find = find;
  }

  /** @returns undefined for every byte of every device */
  of({ grants }: Pick<Client, 'grants'>, host: string): Grants | undefined {
    if (grants === undefined) return undefined;
    let byHost = this.#grants.get(grants);
    if (byHost === undefined) {
      byHost = new Map();
      this.#grants.set(grants, byHost);
    }
    let onHost = byHost.get(host);
    if (onHost === undefined) {
      onHost = new Grants(grants.all, (device) => this.#find(host, device));
      byHost.set(host, onHost);
    }
    return onHost;
  }

  /** As {@link authorize}, of a host's devices. @throws Problem forbidden */
  authorize(
    request: FastifyRequest,
    host: string,
    touches: Touches,
    pointerOf?: (index: number) => string,
  ): void {
    const here: Touches = {
      length: touches.length,
      at: (index) => {
        const touch: Touch | undefined = touches.at(index);
        return touch && { ...touch, host };
      },
    };
    authorize(request, here, pointerOf, this.of(request.client, host));
  }
}
