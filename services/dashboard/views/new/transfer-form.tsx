// SPDX-License-Identifier: Apache-2.0
import { useEffect, useState } from 'preact/hooks';
import type { DmadError } from '../../../client/index.ts';
import type { DryRun, TransferRequest } from '../../../client/types.ts';
import {
  errorsBefore,
  errorsByField,
  type FieldErrors,
  type FieldName,
  hasField,
  ONE_RANGE,
  requestFrom,
  SEGMENTS,
} from '../../model/request.ts';
import { COLUMNS } from '../../model/segments.ts';
import { PRIORITIES } from '../../parts/actions.tsx';
import { AreaField, SelectField, TextField } from '../../parts/field.tsx';
import { client, messageOf } from '../../state/api.ts';
import type { FormProps } from './new.tsx';
import { Plan } from './plan.tsx';
import { Start } from './start.tsx';

type Operation = 'copy' | 'fill' | 'compare';

/** After the last key. */
const PLAN_AFTER_MS = 150;
const NOUNS: Record<Operation, string> = { copy: 'copy', fill: 'fill', compare: 'comparison' };

export function TransferForm({ operation, ...form }: FormProps & { operation: Operation }) {
  const { values, set, deviceNames } = form;
  const request = requestFrom(operation, values);
  const planned = usePlan(operation, request);
  const errors = { ...planned.errors, ...errorsBefore(operation, values) };
  const text = (
    name: FieldName,
    label: string,
    more: { placeholder?: string; hint?: string } = {},
  ) => hasField(operation, name, values) && <TextField {...field(name, label)} {...more} />;
  const select = (name: FieldName, label: string, options: readonly string[]) =>
    hasField(operation, name, values) && <SelectField {...field(name, label)} options={options} />;
  const field = (name: FieldName, label: string) => ({
    ...{ name, label, value: values[name], error: errors[name] },
    onValue: (value: string) => set({ [name]: value }),
  });
  const compares = operation === 'compare';
  const fills = operation === 'fill';
  const columns = COLUMNS[fills ? 'fill' : 'copy'];

  return (
    <Start
      noun={NOUNS[operation]}
      view="transfers"
      start={request && (() => client.createTransfer(request, { waitSeconds: 0 }))}
      beside={<Plan plan={planned.plan} values={values} error={errors.form} />}
    >
      <div class="fields">
        {select('device_name', compares ? 'First device' : 'From device', deviceNames)}
        {select('dst_device_name', compares ? 'Second device' : 'To device', deviceNames)}
        {select('ranges', 'Ranges', [ONE_RANGE, SEGMENTS])}
      </div>
      <div class="fields">
        {text('src_offset', compares ? 'First offset' : 'From offset', {
          hint: 'such as 4096, 0x1000, 1 MiB',
        })}
        {text('dst_offset', compares ? 'Second offset' : 'To offset')}
        {text('size', 'Size', { placeholder: 'such as 32 MiB' })}
        {text('pattern', 'Pattern', { hint: '1 to 64 bytes in hex digits' })}
      </div>
      {hasField(operation, 'segments', values) && (
        <AreaField
          {...field('segments', `Segments, one a line: ${columns}`)}
          placeholder={fills ? '0, 4 KiB\n1 MiB, 4 KiB' : '0, 1 MiB, 4 KiB\n8 KiB, 2 MiB, 4 KiB'}
          hint="up to 4096, as if one after the other"
        />
      )}
      <div class="fields">
        {select('engine', 'Engine', ['auto', 'dma', 'cpu'])}
        {select('durability', 'Durability', ['flush', 'none'])}
        {select('verify', 'Verify', ['none', 'crc32c'])}
        {select('priority', 'Priority', PRIORITIES)}
        {text('timeout_s', 'Timeout, in seconds', { placeholder: 'none' })}
        {text('labels', 'Labels', { placeholder: 'job=nightly' })}
      </div>
    </Start>
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
