// SPDX-License-Identifier: Apache-2.0
import { GROUPS, type Group, type ListFilter } from '../../model/filter.ts';
import { formatRoute } from '../../model/route.ts';
import { Chips } from '../../parts/chips.tsx';
import { devices, usePoll } from '../../state/poll.ts';
import { setQuery } from '../../state/router.ts';
import { service } from '../../state/service.ts';
import { store } from '../../state/transfers.ts';

const NAMES: Record<Group, string> = {
  all: 'All',
  running: 'Running',
  queued: 'Queued',
  succeeded: 'Succeeded',
  failed: 'Failed',
};

export function Filters({ filter }: { filter: ListFilter }) {
  const names = (usePoll(devices) ?? []).map(({ name }) => name);
  return (
    <div class="list-head">
      <ListTitle view="transfers" count={store.active.value.length} />
      <div class="filters">
        <Groups show={filter.show} />
        <Choice name="device" label="Device" values={names} value={filter.device} />
        <Choice
          name="operation"
          label="Operation"
          values={['copy', 'fill', 'compare']}
          value={filter.operation}
        />
        <Choice name="engine" label="Engine" values={['dma', 'cpu']} value={filter.engine} />
        <input
          class="label-filter"
          type="search"
          aria-label="Label, as key:value"
          placeholder="label, as key:value"
          value={filter.label ?? ''}
          onChange={({ currentTarget: { value } }) => setQuery({ label: value.trim() })}
        />
      </div>
    </div>
  );
}

const TITLES = { transfers: 'Transfers', replications: 'Replications' } as const;
type ListView = keyof typeof TITLES;

/** Which list it is, and beside it the way to the other one, which a daemon alone has. */
export function ListTitle({ view, count }: { view: ListView; count: number }) {
  const other = view === 'transfers' ? 'replications' : 'transfers';
  return (
    <div class="view-head">
      <h1>{TITLES[view]}</h1>
      <span class="quiet">{count === 0 ? 'none in progress' : `${count} in progress`}</span>
      {service.value === 'daemon' && <a href={formatRoute({ view: other })}>{TITLES[other]}</a>}
    </div>
  );
}

export function Groups({ show }: { show: Group }) {
  return (
    <Chips
      label="Status"
      values={GROUPS}
      names={NAMES}
      chosen={show}
      onChoose={(group) => setQuery({ show: group === 'all' ? undefined : group })}
    />
  );
}

interface ChoiceProps {
  name: string;
  label: string;
  values: readonly string[];
  value: string | undefined;
}

function Choice({ name, label, values, value }: ChoiceProps) {
  return (
    <select
      aria-label={label}
      value={value ?? ''}
      onChange={({ currentTarget }) => setQuery({ [name]: currentTarget.value })}
    >
      <option value="">any {label.toLowerCase()}</option>
      {values.map((each) => (
        <option key={each}>{each}</option>
      ))}
    </select>
  );
}
