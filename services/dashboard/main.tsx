// SPDX-License-Identifier: Apache-2.0
import { render } from 'preact';
import { App } from './app.tsx';
import { Feed } from './state/feed.ts';
import { link, setLink } from './state/link.ts';
import { clearPolls, refreshPolls } from './state/poll.ts';
import { token } from './state/session.ts';
import { clearTransfers } from './state/transfers.ts';

let feed: Feed | undefined;
// Another token sees other transfers: all begins anew.
token.subscribe(() => {
  if (feed !== undefined) {
    feed.stop();
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
