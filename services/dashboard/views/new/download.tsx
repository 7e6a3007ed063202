// SPDX-License-Identifier: Apache-2.0
import { useState } from 'preact/hooks';
import type { DmadError } from '../../../client/index.ts';
import { parseAmount } from '../../model/amount.ts';
import { formatBytes } from '../../model/format.ts';
import { errorsByField, type FieldErrors } from '../../model/request.ts';
import { SelectField, TextField } from '../../parts/field.tsx';
import { client, messageOf } from '../../state/api.ts';
import type { FormProps } from './new.tsx';
import { openTarget, type Target } from './target.ts';

type Stage =
  | { is: 'idle' }
  | { is: 'reading'; read: number; size: number; abort: AbortController }
  | { is: 'done'; size: number; name: string }
  | { is: 'failed'; errors: FieldErrors };

export function DownloadForm({ values, set, deviceNames }: FormProps) {
  const [stage, setStage] = useState<Stage>({ is: 'idle' });
  const { device_name: device } = values;
  const offset = parseAmount(values.src_offset);
  const size = values.size.trim() === '' ? undefined : (parseAmount(values.size) ?? Number.NaN);
  const readable = offset !== undefined && !Number.isNaN(size);
  const errors = stage.is === 'failed' ? stage.errors : {};

  const start = async (event: Event) => {
    event.preventDefault();
    if (!readable || stage.is === 'reading') return;
    const abort = new AbortController();
    let target: Target | undefined;
    try {
      // A device of a fleet begins with its host.
      const name = `${device.replace('/', '-')}-${offset}.bin`;
      target = await openTarget(name, size);
      const { signal } = abort;
      const download = await client.readContent(device, {
        ...{ offset, signal, ...(size !== undefined && { size }) },
        onProgress: (read) =>
          setStage({ is: 'reading', read, size: download?.size ?? read, abort }),
      });
      setStage({ is: 'reading', read: 0, size: download.size, abort });
      await target.write(download.stream, download.size);
      setStage({ is: 'done', size: download.size, name });
    } catch (error) {
      await target?.discard();
      if ((error as Error).name === 'AbortError') {
        setStage({ is: 'idle' });
        return;
      }
      const { errors: list = [] } = error as Partial<DmadError>;
      setStage({ is: 'failed', errors: errorsByField('download', messageOf(error), list) });
    }
  };

  return (
    <form class="form" onSubmit={start} aria-label="Download bytes">
      <section class="panel" aria-label="What to download">
        <div class="fields">
          <SelectField
            {...{ name: 'device_name', label: 'From device', options: deviceNames, value: device }}
            error={errors.device_name}
            onValue={(value) => set({ device_name: value })}
          />
          <TextField
            {...{ name: 'src_offset', label: 'From offset', value: values.src_offset }}
            error={
              errors.src_offset ?? (offset === undefined ? 'must be a number of bytes' : undefined)
            }
            hint="such as 4096, 0x1000, 1 MiB"
            onValue={(value) => set({ src_offset: value })}
          />
          <TextField
            {...{ name: 'size', label: 'Size', value: values.size }}
            error={errors.size ?? (Number.isNaN(size) ? 'must be a number of bytes' : undefined)}
            hint="to the end of the device, if it is empty"
            onValue={(value) => set({ size: value })}
          />
        </div>
        <div class="form-end">
          <button
            type="submit"
            class="button primary"
            disabled={!readable || stage.is === 'reading'}
          >
            Download the bytes
          </button>
          {stage.is === 'reading' && (
            <button type="button" class="button" onClick={() => stage.abort.abort()}>
              Stop
            </button>
          )}
        </div>
      </section>
      <section class="panel plan" aria-label="Download" aria-live="polite">
        <h2>Download</h2>
        {stage.is === 'idle' && (
          <p class="quiet">It reads at once, whatever is being written meanwhile.</p>
        )}
        {stage.is === 'reading' && (
          <>
            <p>
              {formatBytes(stage.read)} of {formatBytes(stage.size)}
            </p>
            <progress aria-label="Progress" max={Math.max(1, stage.size)} value={stage.read} />
          </>
        )}
        {stage.is === 'failed' && <p class="wrong">{stage.errors.form ?? 'See the fields.'}</p>}
        {stage.is === 'done' && (
          <p>
            {formatBytes(stage.size)} in {stage.name}
          </p>
        )}
      </section>
    </form>
  );
}
