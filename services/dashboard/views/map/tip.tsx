// SPDX-License-Identifier: Apache-2.0
import { formatOffset, formatTime } from '../../model/format.ts';
import { type FaultyRange, type UsedRange, within } from '../../model/ranges.ts';
import { now } from '../../state/clock.ts';
import { userOf } from './user.ts';

interface TipProps {
  /** Where the cursor is, in pixels. */
  at: number;
  width: number;
  offset: number;
  /** Bytes under a pixel. */
  pixel: number;
  ranges: readonly UsedRange[];
  faulty: readonly FaultyRange[];
}

const MOST = 4;

/** Who does what to the bytes under the cursor, and since when. */
export function Tip({ at, width, offset, pixel, ranges, faulty }: TipProps) {
  const here = { offset: offset - 2 * pixel, size: 4 * pixel };
  const ids = [...new Set(within(ranges, here).map(({ user }) => user))];
  const faults = new Set(
    faulty
      .filter((one) => one.offset < offset + pixel && one.offset + one.size > offset)
      .map(({ fault }) => fault),
  );
  const side = at < width / 2 ? { left: `${at}px` } : { right: `${width - at}px` };
  return (
    <div class="tip" role="tooltip" style={side}>
      <p class="quiet mono">{formatOffset(Math.floor(offset))}</p>
      {faults.has('bad') && <p class="wrong">A bad block: it can be neither read nor written.</p>}
      {faults.has('inconsistent') && (
        <p class="wrong">Not proven: neither what it was nor what its source is.</p>
      )}
      {ids.length === 0 && faults.size === 0 && <p class="quiet">Nobody uses these bytes.</p>}
      {ids.slice(0, MOST).map((id) => (
        <TipLine key={id} id={id} />
      ))}
      {ids.length > MOST && <p class="quiet">and {ids.length - MOST} more</p>}
    </div>
  );
}

function TipLine({ id }: { id: string }) {
  const user = userOf(id);
  if (user === undefined) return null;
  return (
    <p>
      {user.what}
      <br />
      <span class="quiet">
        {user.client !== undefined && `${user.client}, `}
        {user.waits ? 'waiting since' : 'since'} {formatTime(user.since, new Date(now.value))}
      </span>
    </p>
  );
}
