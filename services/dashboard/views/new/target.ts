// SPDX-License-Identifier: Apache-2.0

/** Where a download goes. */
export interface Target {
  write(stream: ReadableStream<Uint8Array>, size: number): Promise<void>;
  /** What has been written of a download that failed is no file. */
  discard(): Promise<void>;
}

/** Up to this many bytes pass through memory; more are written to a file as they come. */
const MOST_IN_MEMORY = 256 * 2 ** 20;

/** Of the File System Access API, which not all browsers have. */
interface PickerWindow {
  showSaveFilePicker?: (options: { suggestedName: string }) => Promise<FileSystemFileHandle>;
}

/** @param size undefined: not known yet @throws AbortError if somebody chose no file */
export async function openTarget(name: string, size: number | undefined): Promise<Target> {
  const { showSaveFilePicker: pick } = window as PickerWindow;
  if (pick === undefined || (size !== undefined && size <= MOST_IN_MEMORY)) return inMemory(name);
  const file = await pick({ suggestedName: name });
  const writable = await file.createWritable();
  return {
    write: (stream) => stream.pipeTo(writable as WritableStream<Uint8Array>),
    discard: () => writable.abort().catch(() => {}),
  };
}

function inMemory(name: string): Target {
  return {
    async write(stream, size) {
      if (size > MOST_IN_MEMORY) {
        await stream.cancel();
        throw new Error(
          'This browser cannot write so much to a file as it comes: use "dmactl get" for more than 256 MiB.',
        );
      }
      save(name, await new Response(stream).blob());
    },
    discard: async () => {},
  };
}

function save(name: string, blob: Blob): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // The browser has begun to read it by then.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
