// SPDX-License-Identifier: Apache-2.0
import { effect } from '@preact/signals';
import { options, render } from 'preact';
import { App } from './app.tsx';
import { Feed } from './state/feed.ts';
import { link, setLink } from './state/link.ts';
import { clearPolls, refreshPolls } from './state/poll.ts';
import { token } from './state/session.ts';
import { clearTransfers } from './state/transfers.ts';

// However many events come, the page is drawn once a frame; not at all in a tab that nobody sees.
options.debounceRendering = (draw) => requestAnimationFrame(draw);

let feed: Feed | undefined;
effect(() => {
  // Read here, so that another token begins anew.
  const fresh = feed === undefined;
  void token.value;
  feed?.stop();
  if (!fresh) {
    clearTransfers();
    clearPolls();
  }
  setLink({ state: 'connecting' });
  feed = new Feed();
  feed.start();
});
// A daemon that has come back is asked at once.
link.subscribe(({ state }) => {
  if (state === 'live') refreshPolls();
});

render(<App />, document.getElementById('app') as HTMLElement);
