// SPDX-License-Identifier: Apache-2.0
import type { FastifyRequest } from 'fastify';
import { deviceNameOf } from '../../base/device-name.ts';
import { authorize, type Touch, type Touches } from '../../http/access/authorize.ts';
import type { Client } from '../../http/access/client.ts';
import { Grants, type KnownDevice } from '../../http/access/grants.ts';

/** Whether a client's token is good for a host at all. */
export function mayUseHost({ hosts }: Pick<Client, 'hosts'>, host: string): boolean {
  return hosts?.has(host) ?? true;
}

/** The same of all of several hosts. */
export function mayUseHosts(client: Pick<Client, 'hosts'>, hosts: readonly string[]): boolean {
  return hosts.every((host) => mayUseHost(client, host));
}

/** {@link Touches} that name the host of each device. */
export interface HostTouches extends Touches {
  at(index: number): (Touch & { host: string }) | undefined;
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

  /** As {@link authorize}, of devices of hosts. @throws Problem forbidden */
  authorize(
    request: FastifyRequest,
    touches: HostTouches,
    pointerOf?: (index: number) => string,
  ): void {
    const { client } = request;
    const mayTouch = (touch: Touch) =>
      this.of(client, touch.host ?? '')?.allow(deviceNameOf(touch.device), touch, touch.write) ??
      true;
    authorize(request, touches, pointerOf, client.grants && mayTouch);
  }
}
