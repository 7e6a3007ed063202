// SPDX-License-Identifier: Apache-2.0
import { chromium } from 'playwright-core';
import { Daemon } from '../../support/daemon.ts';
import { EtcdCluster } from '../../support/etcd.ts';
import { Gateway } from '../../support/gateway.ts';
import { writePeers } from '../../support/peers.ts';
import { ARGS, BROWSER, eventually, type Lab, makeDirectory } from './support.ts';

/** A gateway with two hosts, of which hostb can pull from hosta. */
export interface FleetLab extends Lab {
  hosta: Daemon;
  hostb: Daemon;
}

const LIFETIME = { lifetimeMs: 600_000 };
const HOST = {
  DMAD_DEVICES: 'emulated:dax0.0=64MiB,emulated:dax1.0=64MiB',
  DMAD_FAULTS: '1',
};

export async function startFleetLab(): Promise<FleetLab> {
  const directory = makeDirectory();
  const etcd = await EtcdCluster.start();
  const gateway = new Gateway(etcd.urls, {}, LIFETIME);
  const url = await gateway.ready();
  await eventually(async () => (await fetch(`${url}/readyz`)).ok);
  const hosta = new Daemon(HOST, LIFETIME);
  const peers = [{ name: 'hosta', url: await hosta.ready() }];
  const environment = { ...HOST, DMAD_PEERS_FILE: writePeers(directory.path, peers) };
  const hostb = new Daemon(environment, LIFETIME);
  for (const [name, host] of Object.entries({ hosta, hostb })) {
    await fetch(`${url}/hosts/${name}`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ url: await host.ready() }),
    });
  }
  const browser = await chromium.launch({ executablePath: BROWSER, args: ARGS });
  await eventually(async () => {
    const { devices } = (await (await fetch(`${url}/devices`)).json()) as { devices: unknown[] };
    return devices.length === 4;
  });
  const close = async () => {
    await browser.close();
    await Promise.all([gateway, hosta, hostb].map((each) => each.stop('SIGKILL')));
    await etcd.stop();
    directory.remove();
  };
  return { daemon: gateway, url, browser, hosta, hostb, close };
}
