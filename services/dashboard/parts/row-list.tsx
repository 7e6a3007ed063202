// SPDX-License-Identifier: Apache-2.0
import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { windowOf } from '../model/rows.ts';
import { type Place, RowHead } from './row.tsx';

const NARROW = '(max-width: 900px)';
/** As transfers.css has them. */
const ROW_HEIGHT = 44;
const NARROW_ROW_HEIGHT = 132;
/** How near the end, in rows, more is asked for. */
const AHEAD = 30;

interface RowListProps<T> {
  label: string;
  items: readonly T[];
  row: (item: T, place: Place) => ComponentChildren;
  /** Stands in the place of rows. */
  empty: ComponentChildren;
  onNearEnd: () => void;
}

/** A table of any length, of which no more rows are there than are seen. */
export function RowList<T>({ label, items, row, empty, onNearEnd }: RowListProps<T>) {
  const rowHeight = useMedia(NARROW) ? NARROW_ROW_HEIGHT : ROW_HEIGHT;
  const { scroller, scrolled, height } = useScroll();
  const shown = windowOf(items.length, rowHeight, scrolled, height);
  useEffect(() => {
    if (shown.end > items.length - AHEAD) onNearEnd();
  });
  return (
    <div class="panel list" role="table" aria-label={label} aria-rowcount={items.length + 1}>
      <RowHead />
      <div class="rows" ref={scroller} role="rowgroup" tabIndex={0}>
        <div role="presentation" style={{ height: `${items.length * rowHeight}px` }}>
          {items.slice(shown.first, shown.end).map((item, index) => {
            const at = shown.first + index;
            return row(item, { index: at + 2, top: at * rowHeight });
          })}
        </div>
        {items.length === 0 && (
          <div class="row" role="row" aria-rowindex={2}>
            <span class="empty" role="cell">
              {empty}
            </span>
          </div>
        )}
      </div>
    </div>
  );
}

function useScroll() {
  const scroller = useRef<HTMLDivElement>(null);
  const [place, setPlace] = useState({ scrolled: 0, height: 0 });
  useEffect(() => {
    const element = scroller.current;
    if (element === null) return;
    const read = () => setPlace({ scrolled: element.scrollTop, height: element.clientHeight });
    const observer = new ResizeObserver(read);
    observer.observe(element);
    element.addEventListener('scroll', read, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener('scroll', read);
    };
  }, []);
  return { scroller, ...place };
}

function useMedia(query: string): boolean {
  const [matches, setMatches] = useState(() => matchMedia(query).matches);
  useEffect(() => {
    const list = matchMedia(query);
    const read = () => setMatches(list.matches);
    list.addEventListener('change', read);
    return () => list.removeEventListener('change', read);
  }, [query]);
  return matches;
}
