// SPDX-License-Identifier: Apache-2.0
import type { Range } from '../../../client/types.ts';
import { formatOffset, formatTime } from '../../model/format.ts';
import { type UsedRange, within } from '../../model/ranges.ts';
import { sentenceOf } from '../../model/sentence.ts';
import { now } from '../../state/clock.ts';
import { store } from '../../state/transfers.ts';

interface TipProps {
  /** Where the cursor is, in pixels. */
  at: number;
  width: number;
  offset: number;
  /** Bytes under a pixel. */
  pixel: number;
  ranges: readonly UsedRange[];
  bad: readonly Range[];
}

const MOST = 4;

/** Who does what to the bytes under the cursor, and since when. */
export function Tip({ at, width, offset, pixel, ranges, bad }: TipProps) {
  const here = { offset: offset - 2 * pixel, size: 4 * pixel };
  const ids = [...new Set(within(ranges, here).map(({ transfer }) => transfer))];
  const isBad = bad.some((one) => one.offset < offset + pixel && one.offset + one.size > offset);
  const side = at < width / 2 ? { left: `${at}px` } : { right: `${width - at}px` };
  return (
    <div class="tip" role="tooltip" style={side}>
      <p class="quiet mono">{formatOffset(Math.floor(offset))}</p>
      {isBad && <p class="wrong">A bad block: it can be neither read nor written.</p>}
      {ids.length === 0 && !isBad && <p class="quiet">Nobody uses these bytes.</p>}
      {ids.slice(0, MOST).map((id) => (
        <TipLine key={id} id={id} />
      ))}
      {ids.length > MOST && <p class="quiet">and {ids.length - MOST} more</p>}
    </div>
  );
}

function TipLine({ id }: { id: string }) {
  const transfer = store.get(id)?.value;
  if (transfer === undefined) return <p>An upload of this tab.</p>;
  const { started_at: started, created_at: created, client } = transfer;
  const since = formatTime(new Date(started ?? created), new Date(now.value));
  return (
    <p>
      {sentenceOf(transfer)}
      <br />
      <span class="quiet">
        {client !== undefined && `${client}, `}
        {started === null ? 'waiting since' : 'since'} {since}
      </span>
    </p>
  );
}
