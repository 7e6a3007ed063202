// SPDX-License-Identifier: Apache-2.0
import { useEffect, useRef, useState } from 'preact/hooks';
import { historyQuery, passes, readFilter } from '../../model/filter.ts';
import { windowOf } from '../../model/rows.ts';
import { type Ended, useHistory } from '../../state/history.ts';
import { route } from '../../state/router.ts';
import { store } from '../../state/transfers.ts';
import { Filters } from './filters.tsx';
import { EndedRow, LiveRow, RowHead } from './row.tsx';

/** A row: of a transfer that the page follows, by its id, or of one from the daemon's history. */
type Item = { id: string; ended?: Ended };

const NARROW = '(max-width: 900px)';
const ROW_HEIGHT = 44;
const NARROW_ROW_HEIGHT = 92;
/** How near the end, in rows, the next page is asked for. */
const AHEAD = 30;

export function Transfers() {
  const filter = readFilter(route.value.query);
  const history = useHistory(historyQuery(filter));
  const items = itemsOf(filter, history.transfers);
  const rowHeight = useMedia(NARROW) ? NARROW_ROW_HEIGHT : ROW_HEIGHT;
  const { scroller, scrolled, height } = useScroll();
  const shown = windowOf(items.length, rowHeight, scrolled, height);
  useEffect(() => {
    if (shown.end > items.length - AHEAD) history.more();
  });
  return (
    <>
      <Filters filter={filter} />
      <div class="panel list" role="table" aria-label="Transfers" aria-rowcount={items.length + 1}>
        <RowHead />
        <div class="rows" ref={scroller} role="rowgroup">
          <div role="presentation" style={{ height: `${items.length * rowHeight}px` }}>
            {items.slice(shown.first, shown.end).map(({ id, ended }, index) => {
              const at = shown.first + index;
              const place = { index: at + 2, top: at * rowHeight };
              return ended === undefined ? (
                <LiveRow key={id} id={id} {...place} />
              ) : (
                <EndedRow key={id} transfer={ended} {...place} />
              );
            })}
          </div>
          {items.length === 0 && (
            <p class="empty row" role="presentation">
              {history.error ??
                (history.next === undefined && historyQuery(filter) ? 'Loading' : 'No transfers')}
            </p>
          )}
        </div>
      </div>
    </>
  );
}

/** What goes on, the oldest first, then what is over, the latest first. */
function itemsOf(filter: ReturnType<typeof readFilter>, history: readonly Ended[]): Item[] {
  const known = (ids: readonly string[]) =>
    ids.filter((id) => {
      // Whether it passes changes with its status alone, and then the list changes too.
      const transfer = store.get(id)?.peek();
      return transfer !== undefined && passes(filter, transfer);
    });
  const active = known(store.active.value);
  const ended = known(store.ended.value);
  const followed = new Set([...store.active.value, ...store.ended.value]);
  const rest: Item[] = history
    .filter(({ id }) => !followed.has(id))
    .map((transfer) => ({ id: transfer.id, ended: transfer }));
  const over = [...ended.map((id): Item => ({ id })), ...rest];
  over.sort((a, b) => (a.id < b.id ? 1 : -1));
  return [...active.map((id): Item => ({ id })), ...over];
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
