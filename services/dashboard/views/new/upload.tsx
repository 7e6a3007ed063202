// SPDX-License-Identifier: Apache-2.0
import { useState } from 'preact/hooks';
import { crc32c, crc32cText, type DmadError } from '../../../client/index.ts';
import type { UploadResult } from '../../../client/types.ts';
import { parseAmount } from '../../model/amount.ts';
import { describeBytes, formatBytes } from '../../model/format.ts';
import { errorsByField, type FieldErrors } from '../../model/request.ts';
import { SelectField, TextField } from '../../parts/field.tsx';
import { messageOf, uploadClient } from '../../state/api.ts';
import type { FormProps } from './new.tsx';

/** How an upload stands. */
type Stage =
  | { is: 'idle' }
  | { is: 'sending'; sent: number; abort: AbortController }
  | { is: 'checking'; read: number }
  | { is: 'done'; result: UploadResult; equal: boolean }
  | { is: 'failed'; errors: FieldErrors };

export function UploadForm({ values, set, deviceNames }: FormProps) {
  const [file, setFile] = useState<File | undefined>(undefined);
  const [stage, setStage] = useState<Stage>({ is: 'idle' });
  const [over, setOver] = useState(false);
  const errors = stage.is === 'failed' ? stage.errors : {};
  const busy = stage.is === 'sending' || stage.is === 'checking';
  const offset = parseAmount(values.dst_offset);
  const pick = (files: FileList | null | undefined) => {
    setFile(files?.[0]);
    setStage({ is: 'idle' });
  };

  const start = async (event: Event) => {
    event.preventDefault();
    if (file === undefined || offset === undefined || busy) return;
    const abort = new AbortController();
    setStage({ is: 'sending', sent: 0, abort });
    const { dst_device_name: device, durability } = values;
    try {
      const client = uploadClient((sent) => setStage({ is: 'sending', sent, abort }));
      const result = await client.writeContent(device, file, {
        ...{ offset, signal: abort.signal, durability: durability as 'flush' },
      });
      const equal =
        (await checksumOf(file, (read) => setStage({ is: 'checking', read }))) === result.crc32c;
      setStage({ is: 'done', result, equal });
    } catch (error) {
      const stopped = abort.signal.aborted
        ? 'Stopped: what had arrived stays in the device.'
        : undefined;
      const { errors: list = [] } = error as Partial<DmadError>;
      setStage({
        is: 'failed',
        errors: errorsByField('upload', stopped ?? messageOf(error), list),
      });
    }
  };

  return (
    <form class="form" onSubmit={start} aria-label="Upload a file">
      <section class="panel" aria-label="What to upload">
        {/* biome-ignore lint/a11y/noStaticElementInteractions: the file field beside it does the same by keyboard */}
        <div
          class="drop"
          data-over={over}
          onDragOver={(event) => {
            event.preventDefault();
            setOver(true);
          }}
          onDragLeave={() => setOver(false)}
          onDrop={(event) => {
            event.preventDefault();
            setOver(false);
            pick(event.dataTransfer?.files);
          }}
        >
          <label for="file">Drop a file here, or choose one</label>
          <input
            id="file"
            type="file"
            onChange={({ currentTarget }) => pick(currentTarget.files)}
          />
          <span class="quiet">
            {file === undefined ? ' ' : `${file.name}, ${formatBytes(file.size)}`}
          </span>
        </div>
        <div class="fields">
          <SelectField
            {...{ name: 'dst_device_name', label: 'To device', options: deviceNames }}
            value={values.dst_device_name}
            error={errors.dst_device_name}
            onValue={(value) => set({ dst_device_name: value })}
          />
          <TextField
            {...{ name: 'dst_offset', label: 'To offset', value: values.dst_offset }}
            error={
              errors.dst_offset ?? (offset === undefined ? 'must be a number of bytes' : undefined)
            }
            hint="such as 4096, 0x1000, 1 MiB"
            onValue={(value) => set({ dst_offset: value })}
          />
          <SelectField
            {...{ name: 'durability', label: 'Durability', options: ['flush', 'none'] }}
            value={values.durability}
            onValue={(value) => set({ durability: value })}
          />
        </div>
        <div class="form-end">
          <button type="submit" class="button primary" disabled={file === undefined || busy}>
            Upload the file
          </button>
          {stage.is === 'sending' && (
            <button type="button" class="button" onClick={() => stage.abort.abort()}>
              Stop
            </button>
          )}
        </div>
      </section>
      <Result stage={stage} size={file?.size ?? 0} />
    </form>
  );
}

function Result({ stage, size }: { stage: Stage; size: number }) {
  return (
    <section class="panel plan" aria-label="Upload" aria-live="polite">
      <h2>Upload</h2>
      {stage.is === 'idle' && (
        <p class="quiet">It takes its place in the order of transfers when it starts.</p>
      )}
      {(stage.is === 'sending' || stage.is === 'checking') && (
        <>
          <p>
            {stage.is === 'sending'
              ? `${formatBytes(stage.sent)} of ${formatBytes(size)} sent`
              : `Comparing the checksum: ${formatBytes(stage.read)} of ${formatBytes(size)}`}
          </p>
          <progress
            aria-label="Progress"
            max={Math.max(1, size)}
            value={stage.is === 'sending' ? stage.sent : stage.read}
          />
        </>
      )}
      {stage.is === 'failed' && <p class="wrong">{stage.errors.form ?? 'See the fields.'}</p>}
      {stage.is === 'done' && (
        <dl class="facts">
          <dt>Written</dt>
          <dd>{describeBytes(stage.result.bytes_written)}</dd>
          <dt>CRC-32C</dt>
          <dd class={stage.equal ? undefined : 'wrong'}>
            <code>{stage.result.crc32c}</code>
            {stage.equal ? ', the same as the file' : ', but the file has another one'}
          </dd>
          <dt>Durability</dt>
          <dd>{stage.result.durability.achieved}</dd>
        </dl>
      )}
    </section>
  );
}

async function checksumOf(file: File, onProgress: (read: number) => void): Promise<string> {
  const reader = file.stream().getReader();
  let crc = 0;
  let read = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return crc32cText(crc);
    crc = crc32c(value, crc);
    read += value.length;
    onProgress(read);
  }
}
