// SPDX-License-Identifier: Apache-2.0
import { useEffect, useState } from 'preact/hooks';
import type { DmadError } from '../../../client/index.ts';
import type { DryRun, TransferRequest } from '../../../client/types.ts';
import {
  errorsByField,
  type FieldErrors,
  type FieldName,
  hasField,
  requestFrom,
} from '../../model/request.ts';
import { formatRoute } from '../../model/route.ts';
import { PRIORITIES } from '../../parts/actions.tsx';
import { SelectField, TextField } from '../../parts/field.tsx';
import { client, messageOf } from '../../state/api.ts';
import type { FormProps } from './new.tsx';
import { Plan } from './plan.tsx';

type Operation = 'copy' | 'fill' | 'compare';

/** After the last key. */
const PLAN_AFTER_MS = 150;
const NOUNS: Record<Operation, string> = { copy: 'copy', fill: 'fill', compare: 'comparison' };

export function TransferForm({ operation, ...form }: FormProps & { operation: Operation }) {
  const { values, set, deviceNames } = form;
  const request = requestFrom(operation, values);
  const { plan, errors } = usePlan(operation, request);
  const [outcome, setOutcome] = useState<{ id?: string; error?: string }>({});
  const [sending, setSending] = useState(false);

  const start = async (event: Event) => {
    event.preventDefault();
    if (request === undefined || sending) return;
    setSending(true);
    try {
      const { id } = await client.createTransfer(request, { waitSeconds: 0 });
      setOutcome({ id });
    } catch (error) {
      setOutcome({ error: messageOf(error) });
    }
    setSending(false);
  };

  const text = (
    name: FieldName,
    label: string,
    more: { placeholder?: string; hint?: string } = {},
  ) => hasField(operation, name) && <TextField {...field(name, label)} {...more} />;
  const select = (name: FieldName, label: string, options: readonly string[]) =>
    hasField(operation, name) && <SelectField {...field(name, label)} options={options} />;
  const field = (name: FieldName, label: string) => ({
    ...{ name, label, value: values[name], error: errors[name] },
    onValue: (value: string) => set({ [name]: value }),
  });
  const compares = operation === 'compare';

  return (
    <form class="form" onSubmit={start} aria-label={`New ${NOUNS[operation]}`}>
      <section class="panel" aria-label="What to do">
        <div class="fields">
          {select('device_name', compares ? 'First device' : 'From device', deviceNames)}
          {text('src_offset', compares ? 'First offset' : 'From offset', {
            hint: 'such as 4096, 0x1000, 1 MiB',
          })}
          {text('size', 'Size', { placeholder: 'such as 32 MiB' })}
        </div>
        <div class="fields">
          {select('dst_device_name', compares ? 'Second device' : 'To device', deviceNames)}
          {text('dst_offset', compares ? 'Second offset' : 'To offset')}
          {text('pattern', 'Pattern', { hint: '1 to 64 bytes in hex digits' })}
        </div>
        <div class="fields">
          {select('engine', 'Engine', ['auto', 'dma', 'cpu'])}
          {select('durability', 'Durability', ['flush', 'none'])}
          {select('verify', 'Verify', ['none', 'crc32c'])}
          {select('priority', 'Priority', PRIORITIES)}
          {text('timeout_s', 'Timeout, in seconds', { placeholder: 'none' })}
          {text('labels', 'Labels', { placeholder: 'job=nightly' })}
        </div>
        <div class="form-end">
          <button type="submit" class="button primary" disabled={request === undefined || sending}>
            Start the {NOUNS[operation]}
          </button>
          <span role="status">
            {outcome.id !== undefined && (
              <a href={formatRoute({ view: 'transfers', id: outcome.id })}>
                Accepted: transfer {outcome.id}
              </a>
            )}
            {outcome.error !== undefined && <span class="wrong">{outcome.error}</span>}
          </span>
        </div>
      </section>
      <Plan plan={plan} error={errors.form} />
    </form>
  );
}

interface Planned {
  plan?: DryRun;
  errors: FieldErrors;
}

/** What the daemon would do, asked for anew after each change. */
function usePlan(operation: Operation, request: TransferRequest | undefined): Planned {
  const [planned, setPlanned] = useState<Planned>({ errors: {} });
  // Stands for the request, which is another object each time.
  const key = JSON.stringify(request);
  useEffect(() => {
    if (request === undefined) {
      setPlanned({ errors: {} });
      return;
    }
    const abort = new AbortController();
    const timer = setTimeout(async () => {
      try {
        const plan = await client.planTransfer(request, { signal: abort.signal, retryForMs: 0 });
        if (!abort.signal.aborted) setPlanned({ plan, errors: {} });
      } catch (error) {
        if (abort.signal.aborted) return;
        const { errors } = error as Partial<DmadError>;
        setPlanned({ errors: errorsByField(operation, messageOf(error), errors ?? []) });
      }
    }, PLAN_AFTER_MS);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [key, operation]);
  return planned;
}
