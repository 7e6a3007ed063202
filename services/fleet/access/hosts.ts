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
  readonly #look: (host: string, device: string) => Promise<unknown>;
  readonly #grants = new WeakMap<Grants, Map<string, Grants>>();

  /** @param find a device as it was seen last @param look asks the host for it, unless it is known */
  constructor(
    find: (host: string, device: string) => KnownDevice | undefined,
    look: (host: string, device: string) => Promise<unknown>,
  ) {
    this.#find = find;
    this.#look = look;
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

  /**
   * As {@link authorize}, of devices of hosts. What a device is known by beside its name is asked for
   * before it is refused.
   *
   * @throws Problem forbidden
   */
  async authorize(
    request: FastifyRequest,
    touches: HostTouches,
    pointerOf?: (index: number) => string,
  ): Promise<void> {
    const { client } = request;
    const asked = new Set<string>();
    for (;;) {
      let refused: Touch | undefined;
      const mayTouch = (touch: Touch) => {
        const { host = '', device, write } = touch;
        const allowed = this.of(client, host)?.allow(deviceNameOf(device), touch, write) ?? true;
        if (!allowed) refused = touch;
        return allowed;
      };
      try {
        return authorize(request, touches, pointerOf, client.grants && mayTouch);
      } catch (error) {
        const { host = '', device = '' } = refused ?? {};
        const name = deviceNameOf(device);
        const place = `${host}/${name}`;
        if (asked.has(place) || !isForOneDevice(client, name)) throw error;
        asked.add(place);
        await this.#look(host, name);
      }
    }
  }
}

/** Whether a client has grants for a device that depend on more than its name. */
function isForOneDevice({ grants }: Client, device: string): boolean {
  return (
    grants?.all.some(
      ({ name, uuid, resource }) =>
        name === device && (uuid !== undefined || resource !== undefined),
    ) ?? false
  );
}
