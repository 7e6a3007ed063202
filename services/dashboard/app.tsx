// SPDX-License-Identifier: Apache-2.0
import { useEffect, useRef } from 'preact/hooks';
import { formatRoute, type View } from './model/route.ts';
import { link } from './state/link.ts';
import { dismiss, notice } from './state/notice.ts';
import { paused, togglePause } from './state/pause.ts';
import { readiness, usePoll, whoami } from './state/poll.ts';
import { route } from './state/router.ts';
import { service } from './state/service.ts';
import { asksForToken, forgetToken, lockedOut, token } from './state/session.ts';
import { Engines } from './views/engines.tsx';
import { Health } from './views/health.tsx';
import { Hosts } from './views/hosts.tsx';
import { MapView } from './views/map/map.tsx';
import { New } from './views/new/new.tsx';
import { Replications } from './views/replications/list.tsx';
import { ReplicationPage } from './views/replications/page.tsx';
import { TokenDialog } from './views/token-dialog.tsx';
import { Transfers } from './views/transfers/list.tsx';
import { TransferPage } from './views/transfers/page.tsx';

const LABELS: Record<View, string> = {
  map: 'Map',
  transfers: 'Transfers',
  replications: 'Replications',
  engines: 'Engines',
  hosts: 'Hosts',
  new: 'New',
  health: 'Health',
};

/** What the bar on top leads to. Replications are reached from transfers. */
function viewsOf(served: typeof service.value): View[] {
  const own = served === 'fleet' ? 'hosts' : 'engines';
  return ['map', 'transfers', own, 'new', 'health'];
}

/** The view in the bar that a view belongs to. */
function partOf(view: View): View {
  return view === 'replications' ? 'transfers' : view;
}

export function App() {
  return (
    <div class="shell">
      <button type="button" class="button skip" onClick={skipToMain}>
        Skip to the view
      </button>
      <Top />
      <Main />
      <Notice />
      <TokenDialog />
    </div>
  );
}

function skipToMain(): void {
  document.getElementById('main')?.focus();
}

function Top() {
  return (
    <header class="top">
      <a class="brand" href={formatRoute({ view: 'map' })} aria-label="dmad, map">
        <svg viewBox="0 0 16 16" aria-hidden="true">
          <rect x="1" y="2" width="14" height="5" rx="1" fill="var(--read)" />
          <rect x="1" y="9" width="9" height="5" rx="1" fill="var(--write)" />
          <rect x="11" y="9" width="4" height="5" rx="1" fill="var(--write-rest)" />
        </svg>
        dmad
      </a>
      <nav class="nav" aria-label="Views">
        {viewsOf(service.value).map((view) => (
          <a
            key={view}
            href={formatRoute({ view })}
            data-label={LABELS[view]}
            aria-current={partOf(route.value.view) === view ? 'page' : undefined}
          >
            {LABELS[view]}
          </a>
        ))}
      </nav>
      <div class="status">
        <LinkState />
        <button
          type="button"
          class="button"
          aria-pressed={paused.value}
          title="Let the page stand still; transfers go on"
          onClick={togglePause}
        >
          Pause
        </button>
        {lockedOut.value !== undefined && (
          <button
            type="button"
            class="button"
            onClick={() => {
              asksForToken.value = true;
            }}
          >
            Give a token
          </button>
        )}
        {token.value !== undefined && (
          <button type="button" class="button" onClick={forgetToken}>
            Forget token
          </button>
        )}
      </div>
    </header>
  );
}

/** Whether what is shown is how things stand. */
function LinkState() {
  usePoll(whoami);
  const ready = usePoll(readiness);
  const { state } = link.value;
  const waiting = state === 'live' && ready !== undefined && !ready.ready;
  return (
    <span class="link" role="status" data-state={waiting ? 'lost' : state}>
      {paused.value ? 'paused' : waiting ? 'not ready' : STATES[state]}
    </span>
  );
}

const STATES = {
  connecting: 'connecting',
  live: 'live',
  lost: 'reconnecting',
  refused: 'no access',
} as const;

function Main() {
  const { view, id } = route.value;
  const main = useRef<HTMLElement>(null);
  const place = `${view} ${id ?? ''}`;
  const isList = partOf(view) === 'transfers' && id === undefined;
  const first = useRef(place);
  useEffect(() => {
    const noun = view === 'replications' ? 'Replication' : 'Transfer';
    const title = id === undefined ? LABELS[view] : `${noun} ${id.slice(0, 13)}`;
    document.title = `${title} – dmad`;
    // Somebody who cannot see it hears that the view has changed.
    if (first.current !== place) main.current?.focus();
    first.current = place;
  }, [view, id, place]);
  return (
    <main id="main" key={place} ref={main} tabIndex={0} class={isList ? 'view list-view' : 'view'}>
      {view === 'map' && <MapView />}
      {view === 'transfers' && (id === undefined ? <Transfers /> : <TransferPage id={id} />)}
      {view === 'replications' &&
        (id === undefined ? <Replications /> : <ReplicationPage id={id} />)}
      {view === 'engines' && <Engines />}
      {view === 'hosts' && <Hosts />}
      {view === 'new' && <New />}
      {view === 'health' && <Health />}
    </main>
  );
}

function Notice() {
  const said = notice.value;
  return (
    <div aria-live="polite">
      {said !== undefined && (
        <div class="notice">
          <span>{said.text}</span>
          <button type="button" class="button" onClick={dismiss}>
            Dismiss
          </button>
        </div>
      )}
    </div>
  );
}
