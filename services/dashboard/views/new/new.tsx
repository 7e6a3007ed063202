// SPDX-License-Identifier: Apache-2.0
import { signal } from '@preact/signals';
import { EMPTY, type FormOperation, type FormValues, OPERATIONS } from '../../model/request.ts';
import { Chips } from '../../parts/chips.tsx';
import { devices, usePoll } from '../../state/poll.ts';
import { route, setQuery } from '../../state/router.ts';
import { service } from '../../state/service.ts';
import { DownloadForm } from './download.tsx';
import { ReplicateForm } from './replicate.tsx';
import { TransferForm } from './transfer-form.tsx';
import { UploadForm } from './upload.tsx';

const NAMES: Record<FormOperation, string> = {
  copy: 'Copy',
  fill: 'Fill',
  compare: 'Compare',
  upload: 'Upload',
  download: 'Download',
  replicate: 'Replicate',
};

/** Kept while somebody looks elsewhere, and from one form to the next. */
const typed = signal<FormValues>(EMPTY);

export interface FormProps {
  values: FormValues;
  set: (changes: Partial<FormValues>) => void;
  deviceNames: readonly string[];
}

export function New() {
  const names = (usePoll(devices) ?? []).map(({ name }) => name);
  // A fleet's hosts replicate: the daemon there is asked.
  const operations = OPERATIONS.filter((each) => each !== 'replicate' || service.value !== 'fleet');
  const operation = operations.find((each) => each === route.value.query.operation) ?? 'copy';
  const values = withDevices(typed.value, names);
  const set = (changes: Partial<FormValues>) => {
    typed.value = { ...values, ...changes };
  };
  const form = { values, set, deviceNames: names };
  return (
    <>
      <div class="view-head">
        <h1>New</h1>
        <Chips
          label="Operation"
          values={operations}
          names={NAMES}
          chosen={operation}
          onChoose={(chosen) => setQuery({ operation: chosen })}
        />
      </div>
      {operation === 'upload' ? (
        <UploadForm {...form} />
      ) : operation === 'download' ? (
        <DownloadForm {...form} />
      ) : operation === 'replicate' ? (
        <ReplicateForm {...form} />
      ) : (
        <TransferForm key={operation} operation={operation} {...form} />
      )}
    </>
  );
}

/** From the first device to the second one, until somebody says otherwise. */
function withDevices(values: FormValues, [first = '', second = first]: string[]): FormValues {
  return {
    ...values,
    device_name: values.device_name || first,
    dst_device_name: values.dst_device_name || second,
  };
}
