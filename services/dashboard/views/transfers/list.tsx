// SPDX-License-Identifier: Apache-2.0
import type { CallOptions } from '../../../client/index.ts';
import { historyQuery, passes, passesAll, readFilter } from '../../model/filter.ts';
import { adoptTransfer } from '../../model/transfer.ts';
import { EmptyList } from '../../parts/empty-list.tsx';
import { RowList } from '../../parts/row-list.tsx';
import { client } from '../../state/api.ts';
import { type Position, useHistory } from '../../state/history.ts';
import { route } from '../../state/router.ts';
import { store } from '../../state/transfers.ts';
import { mergeLists } from '../merge-lists.ts';
import { Filters } from './filters.tsx';
import { type Ended, EndedRow, LiveRow } from './row.tsx';

type HistoryQuery = NonNullable<ReturnType<typeof historyQuery>>;

async function askForHistory(query: HistoryQuery & Position, options: CallOptions) {
  const page = await client.listTransfers(query, options);
  return {
    items: page.transfers.map((each) => adoptTransfer<Ended>(each)),
    next: page.next_page_token,
  };
}

export function Transfers() {
  const filter = readFilter(route.value.query);
  const query = historyQuery(filter);
  const history = useHistory(query, askForHistory);
  const items = mergeLists(store, history.items, (transfer) => passes(filter, transfer));
  return (
    <>
      <Filters filter={filter} />
      <RowList
        label="Transfers"
        items={items}
        empty={
          <EmptyList
            nouns="transfers"
            error={history.error}
            loading={history.next === undefined && query !== undefined}
            filtered={!passesAll(filter)}
            start={{ view: 'new', query: {} }}
          />
        }
        onNearEnd={history.more}
        row={({ id, ended }, place) =>
          ended === undefined ? (
            <LiveRow key={id} id={id} {...place} />
          ) : (
            <EndedRow key={id} transfer={ended} {...place} />
          )
        }
      />
    </>
  );
}
