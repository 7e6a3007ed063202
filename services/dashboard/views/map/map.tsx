// SPDX-License-Identifier: Apache-2.0
import type { Device } from '../../../client/types.ts';
import { rangesOn, type UsedRange } from '../../model/ranges.ts';
import { devices, usePoll } from '../../state/poll.ts';
import { store } from '../../state/transfers.ts';
import { uploads } from '../../state/uploads.ts';
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
  const uses = (listed ?? []).map((device) => ({
    device,
    ranges: [
      ...transfers.flatMap((transfer) => rangesOn(device.name, transfer)),
      ...uploads.value
        .filter(({ device: { name } }) => name === device.name)
        .map(({ range }) => range),
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
          <span class="bad">bad blocks</span>
        </p>
      </div>
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
