// SPDX-License-Identifier: Apache-2.0
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Range } from '../../../client/types.ts';
import { exactBytes, formatBytes } from '../../model/format.ts';
import { faultsOf } from '../../model/ranges.ts';
import { clampView, offsetAt, pan, zoom } from '../../model/viewport.ts';
import { contextOf, usePalette, useWidth } from '../../parts/canvas.ts';
import { route, setQuery } from '../../state/router.ts';
import { drawOverview, drawSpace, OVERVIEW_HEIGHT, spaceHeight } from './draw.ts';
import type { DeviceUse } from './map.tsx';
import { Tip } from './tip.tsx';

const WHEEL_STEP = 1.0015;
const STEP = 2;

/** A device as its address space, from terabytes down to pages. */
export function DeviceSpace({ device, ranges }: DeviceUse) {
  const { name, size, kind, state } = device;
  const faulty = faultsOf(device);
  const { element, width } = useWidth<HTMLDivElement>();
  const overview = useRef<HTMLCanvasElement>(null);
  const space = useRef<HTMLCanvasElement>(null);
  const palette = usePalette();
  const [cursor, setCursor] = useState<number | undefined>(undefined);
  const view = viewOf(name, size);
  const show = (next: Range) => setView(name, next, size);

  useEffect(() => {
    if (width === 0 || overview.current === null || space.current === null) return;
    const all = { ranges, faulty, view, width, palette, size };
    drawOverview(contextOf(overview.current, width, OVERVIEW_HEIGHT), all);
    drawSpace(contextOf(space.current, width, spaceHeight(width)), all);
  });

  const onWheel = (event: WheelEvent) => {
    // The page scrolls, unless somebody means the map.
    if (!event.ctrlKey && !event.shiftKey) return;
    event.preventDefault();
    const at = event.offsetX / width;
    const delta = event.deltaY || event.deltaX;
    show(zoom(view, WHEEL_STEP ** delta, at, size));
  };
  useWheel(space, onWheel);

  const onPointerDown = (event: PointerEvent) => {
    const canvas = event.currentTarget as HTMLCanvasElement;
    canvas.setPointerCapture(event.pointerId);
    const from = event.clientX;
    canvas.onpointermove = ({ clientX }) => show(pan(view, (from - clientX) / width, size));
    canvas.onpointerup = () => {
      canvas.onpointermove = null;
    };
  };
  const onOverview = (event: PointerEvent) => {
    const middle = (event.offsetX / width) * size;
    show({ ...view, offset: middle - view.size / 2 });
  };
  const counts = countUses(ranges);

  return (
    <section class="panel" aria-label={`Device ${name}`}>
      <div class="device-head">
        <h2>{name}</h2>
        <span class="quiet">
          {formatBytes(size)} {kind}
          {state !== 'online' && <strong class="wrong"> {state}</strong>}
          {device.stale && <strong class="wrong"> as seen last</strong>}
        </span>
        <span class="counts">{counts}</span>
        <div class="zoom">
          <button
            type="button"
            class="button plain"
            aria-label={`Move left in ${name}`}
            onClick={() => show(pan(view, -0.25, size))}
          >
            ←
          </button>
          <button
            type="button"
            class="button plain"
            aria-label={`Move right in ${name}`}
            onClick={() => show(pan(view, 0.25, size))}
          >
            →
          </button>
          <button
            type="button"
            class="button plain"
            aria-label={`Zoom out of ${name}`}
            onClick={() => show(zoom(view, STEP, 0.5, size))}
          >
            −
          </button>
          <button
            type="button"
            class="button plain"
            aria-label={`Zoom into ${name}`}
            onClick={() => show(zoom(view, 1 / STEP, 0.5, size))}
          >
            +
          </button>
          <button
            type="button"
            class="button plain"
            disabled={view.size === size}
            onClick={() => show({ offset: 0, size })}
            aria-label={`Show all of ${name}`}
          >
            All
          </button>
        </div>
      </div>
      <div class="strip" ref={element}>
        <canvas
          class="overview"
          style={{ height: `${OVERVIEW_HEIGHT}px` }}
          ref={overview}
          role="img"
          aria-label={`All of ${name}`}
          data-all={view.size === size}
          onPointerDown={onOverview}
        />
        <canvas
          class="space"
          style={{ height: `${spaceHeight(width)}px` }}
          ref={space}
          role="img"
          aria-label={`${name} from ${exactBytes(view.offset)} to ${exactBytes(view.offset + view.size)}: ${counts}. The table has the same.`}
          onDblClick={(event) => show(zoom(view, 1 / 4, event.offsetX / width, size))}
          onPointerDown={onPointerDown}
          onMouseMove={(event) => setCursor(event.offsetX)}
          onMouseLeave={() => setCursor(undefined)}
        />
        {cursor !== undefined && (
          <Tip
            at={cursor}
            width={width}
            offset={offsetAt(cursor, view, width)}
            pixel={view.size / width}
            ranges={ranges}
            faulty={faulty}
          />
        )}
      </div>
    </section>
  );
}

/** What is shown of a device is in the address, so that it can be sent to somebody. */
function viewOf(name: string, size: number): Range {
  const [offset, shown] = (route.value.query[name] ?? '').split(' ').map(Number);
  if (!offset && !shown) return { offset: 0, size };
  return clampView({ offset: offset || 0, size: shown || size }, size);
}

function setView(name: string, next: Range, size: number): void {
  const view = clampView(next, size);
  setQuery({ [name]: view.size === size ? undefined : `${view.offset} ${view.size}` });
}

/** A listener that may keep the page from scrolling, which Preact's own are not. */
function useWheel(
  canvas: { current: HTMLCanvasElement | null },
  listener: (event: WheelEvent) => void,
) {
  const latest = useRef(listener);
  latest.current = listener;
  useEffect(() => {
    const element = canvas.current;
    const onWheel = (event: WheelEvent) => latest.current(event);
    element?.addEventListener('wheel', onWheel, { passive: false });
    return () => element?.removeEventListener('wheel', onWheel);
  }, [canvas]);
}

function countUses(ranges: DeviceUse['ranges']): string {
  const of = (...uses: string[]) =>
    new Set(ranges.filter(({ use }) => uses.includes(use)).map(({ user }) => user)).size;
  const parts = [
    [of('read'), 'reading'],
    [of('write'), 'writing'],
    [of('read_later', 'write_later'), 'waiting'],
  ].filter(([count]) => count !== 0);
  return parts.length === 0 ? 'idle' : parts.map(([count, what]) => `${count} ${what}`).join(', ');
}
