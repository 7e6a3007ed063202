// SPDX-License-Identifier: Apache-2.0
import { GROUPS, type Group, type ListFilter } from '../../model/filter.ts';
import { Chips } from '../../parts/chips.tsx';
import { devices, usePoll } from '../../state/poll.ts';
import { setQuery } from '../../state/router.ts';
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
  const count = store.active.value.length;
  return (
    <div class="view-head filters">
      <h1>Transfers</h1>
      <Chips
        label="Status"
        values={GROUPS}
        names={NAMES}
        chosen={filter.show}
        onChoose={(group) => setQuery({ show: group === 'all' ? undefined : group })}
      />
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
      <span class="quiet">{count === 0 ? 'none in progress' : `${count} in progress`}</span>
    </div>
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
