// SPDX-License-Identifier: Apache-2.0
import { useState } from 'preact/hooks';
import type { DmadError } from '../../../client/index.ts';
import { parseAmount } from '../../model/amount.ts';
import { formatBytes, formatCount } from '../../model/format.ts';
import {
  errorsByField,
  type FieldErrors,
  type FieldName,
  type FormValues,
  replicationFrom,
} from '../../model/request.ts';
import { PRIORITIES } from '../../parts/actions.tsx';
import { SelectField, TextField } from '../../parts/field.tsx';
import { client, messageOf } from '../../state/api.ts';
import { usePoll, whoami } from '../../state/poll.ts';
import { replications } from '../../state/transfers.ts';
import type { FormProps } from './new.tsx';
import { Start } from './start.tsx';

const DEFAULT_BLOCK = 2 ** 20;

export function ReplicateForm({ values, set, deviceNames }: FormProps) {
  const [errors, setErrors] = useState<FieldErrors>({});
  const request = replicationFrom(values);
  const peers = useKnownPeers();
  const field = (name: FieldName, label: string) => ({
    ...{ name, label, value: values[name], error: errors[name] },
    onValue: (value: string) => {
      setErrors({ ...errors, [name]: undefined });
      set({ [name]: value });
    },
  });
  const onError = (error: unknown) => {
    const { errors: list } = error as Partial<DmadError>;
    const found = errorsByField('replicate', messageOf(error), list ?? []);
    setErrors(found);
    return found.form;
  };
  const start = request && (() => client.createReplication(request, { waitSeconds: 0 }));

  return (
    <Start
      {...{ noun: 'replication', view: 'replications', start, onError }}
      beside={<Outlook values={values} />}
    >
      <div class="fields">
        <TextField {...field('peer', 'Peer')} offers={peers} hint="as DMAD_PEERS_FILE names it" />
        <TextField {...field('src_device_name', 'From device')} placeholder="such as dax0.0" />
        <TextField {...field('src_offset', 'From offset')} hint="such as 4096, 0x1000, 1 MiB" />
        <TextField {...field('size', 'Size')} placeholder="such as 1 GiB" />
        <SelectField {...field('dst_device_name', 'To device')} options={deviceNames} />
        <TextField {...field('dst_offset', 'To offset')} />
      </div>
      <div class="fields">
        <SelectField {...field('mode', 'Mode')} options={['delta', 'full']} />
        <TextField {...field('block_size', 'Block size')} placeholder="1 MiB" />
        <TextField {...field('bytes_per_second', 'Bytes a second')} placeholder="no limit" />
        <SelectField {...field('priority', 'Priority')} options={PRIORITIES} />
        <TextField {...field('timeout_s', 'Timeout, in seconds')} placeholder="none" />
        <TextField {...field('labels', 'Labels')} placeholder="job=nightly" />
      </div>
    </Start>
  );
}

/** What can be said without the peer: the daemon plans no replication. */
function Outlook({ values }: { values: FormValues }) {
  const size = parseAmount(values.size);
  const block = values.block_size.trim() === '' ? DEFAULT_BLOCK : parseAmount(values.block_size);
  return (
    <section class="panel plan" aria-label="Plan" aria-live="polite">
      <h2>Plan</h2>
      {size === undefined || block === undefined || block === 0 ? (
        <p class="quiet">What it comes to stands here as you type.</p>
      ) : (
        <p>
          {formatBytes(size)} in {formatCount(Math.ceil(size / block), 'block')}.{' '}
          {values.mode === 'full'
            ? 'All of it is read from the peer.'
            : 'Blocks that differ are read from the peer, by their SHA-256.'}
        </p>
      )}
      <p class="quiet after">
        The daemon reads from the peer by itself and goes on after a restart. Until its end, what it
        writes is neither what it was nor what the source is; at its end every block is proven
        equal.
      </p>
    </section>
  );
}

/** Peers that this client may name, as far as the page knows. */
function useKnownPeers(): string[] {
  const allowed = usePoll(whoami)?.peers ?? [];
  const ids = [...replications.active.value, ...replications.ended.value];
  const used = ids.flatMap((id) => replications.get(id)?.peek().peer ?? []);
  return [...new Set([...allowed, ...used])].sort();
}
