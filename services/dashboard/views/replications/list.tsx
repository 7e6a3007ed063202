// SPDX-License-Identifier: Apache-2.0
import type { CallOptions, ReplicationListQuery } from '../../../client/index.ts';
import { endsOf, GROUPS, type Group, passesGroup } from '../../model/filter.ts';
import { EmptyList } from '../../parts/empty-list.tsx';
import { RowList } from '../../parts/row-list.tsx';
import { client } from '../../state/api.ts';
import { type Position, useHistory } from '../../state/history.ts';
import { route } from '../../state/router.ts';
import { replications } from '../../state/transfers.ts';
import { mergeLists } from '../merge-lists.ts';
import { Groups, ListTitle } from '../transfers/filters.tsx';
import { EndedReplicationRow, LiveReplicationRow } from './row.tsx';

async function askForHistory(query: ReplicationListQuery & Position, options: CallOptions) {
  const page = await client.listReplications(query, options);
  return { items: page.replications, next: page.next_page_token };
}

export function Replications() {
  const show = GROUPS.find((group) => group === route.value.query.show) ?? 'all';
  const query = queryOf(show);
  const history = useHistory(query, askForHistory);
  const items = mergeLists(replications, history.items, ({ status }) => passesGroup(show, status));
  return (
    <>
      <div class="list-head">
        <ListTitle view="replications" count={replications.active.value.length} />
        <Groups show={show} />
      </div>
      <RowList
        label="Replications"
        items={items}
        empty={
          <EmptyList
            nouns="replications"
            error={history.error}
            loading={history.next === undefined && query !== undefined}
            filtered={show !== 'all'}
            start={{ view: 'new', query: { operation: 'replicate' } }}
          />
        }
        onNearEnd={history.more}
        row={({ id, ended }, place) =>
          ended === undefined ? (
            <LiveReplicationRow key={id} id={id} {...place} />
          ) : (
            <EndedReplicationRow key={id} replication={ended} {...place} />
          )
        }
      />
    </>
  );
}

function queryOf(show: Group): ReplicationListQuery | undefined {
  const ends = endsOf(show);
  return ends.length === 0 ? undefined : { status: ends.join(',') };
}
