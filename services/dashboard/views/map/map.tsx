// SPDX-License-Identifier: Apache-2.0
import { rangesOn, replicatedOn, streamedOn, type UsedRange } from '../../model/ranges.ts';
import type { Device } from '../../model/transfer.ts';
import { devices, streams, usePoll } from '../../state/poll.ts';
import { service } from '../../state/service.ts';
import { replications, store } from '../../state/transfers.ts';
import { DeviceSpace } from './device.tsx';
import { UsesTable } from './table.tsx';

/** A device and what is done to it now. */
export interface DeviceUse {
  device: Device;
  ranges: UsedRange[];
}

export function MapView() {
  const listed = usePoll(devices);
  const transfers = store.active.value.flatMap((id) => store.get(id)?.value ?? []);
  const replicated = replications.active.value.flatMap((id) => replications.get(id)?.value ?? []);
  const streamed = streams.value.value?.streams ?? [];
  const uses = (listed ?? []).map((device) => ({
    device,
    ranges: [
      ...transfers.flatMap((transfer) => rangesOn(device.name, transfer)),
      ...replicated.flatMap((replication) => replicatedOn(device.name, replication)),
      ...streamed.flatMap((stream) => streamedOn(device.name, stream)),
    ],
  }));
  return (
    <>
      <div class="view-head">
        <h1>Map</h1>
        <p class="legend">
          <span class="read">read</span>
          <span class="written">written</span>
          <span class="waiting">waiting</span>
          <span class="inconsistent">inconsistent</span>
          <span class="bad">bad blocks</span>
        </p>
      </div>
      {service.value === 'daemon' && <StreamsPoll />}
      {devices.error.value !== undefined && listed === undefined && (
        <p class="alert">{devices.error.value}</p>
      )}
      {listed === undefined && devices.error.value === undefined && <p class="empty">Loading</p>}
      <div class="map" hidden={listed === undefined}>
        <div class="devices">
          {uses.map((use) => (
            <DeviceSpace key={use.device.name} {...use} />
          ))}
        </div>
        <UsesTable uses={uses} />
      </div>
    </>
  );
}

/** Keeps looking for uploads and downloads, of a daemon, which alone tells of them. */
function StreamsPoll() {
  usePoll(streams);
  return null;
}
