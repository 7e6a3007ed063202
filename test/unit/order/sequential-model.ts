// SPDX-License-Identifier: Apache-2.0

/** Small enough that ranges meet often, and that every byte can be compared. */
export const DEVICES = 2;
export const DEVICE_BYTES = 12;

export interface Range {
  device: number;
  offset: number;
  size: number;
}

/** What an operation does with some bytes; the steps of one run one after the other. */
export type Step =
  | { kind: 'copy'; from: Range; to: Range }
  | { kind: 'fill'; to: Range }
  | { kind: 'read'; from: Range };

export interface Operation {
  /** Its place in the order. */
  index: number;
  steps: readonly Step[];
  lane: number;
  style: 'at once' | 'read early, write late';
}

export type Memory = Uint8Array[];

/** Every byte of its own value. */
export function createMemory(): Memory {
  return Array.from({ length: DEVICES }, (_, device) =>
    Uint8Array.from({ length: DEVICE_BYTES }, (_, at) => device * DEVICE_BYTES + at),
  );
}

export function readBytes(memory: Memory, { device, offset, size }: Range): string {
  return Buffer.from((memory[device] as Uint8Array).subarray(offset, offset + size)).toString(
    'hex',
  );
}

/** Runs an operation. @returns what it read */
export function execute({ index, steps }: Operation, memory: Memory): string {
  let seen = '';
  for (const [at, step] of steps.entries()) {
    if ('from' in step) seen += `${readBytes(memory, step.from)} `;
    if (step.kind === 'fill') {
      const { device, offset, size } = step.to;
      (memory[device] as Uint8Array).fill(100 + index * 8 + at, offset, offset + size);
    }
    if (step.kind === 'copy') {
      const { from, to } = step;
      const bytes = (memory[from.device] as Uint8Array).slice(from.offset, from.offset + from.size);
      (memory[to.device] as Uint8Array).set(bytes, to.offset);
    }
  }
  return seen;
}

/** Whether some byte is touched by both, and written by one. */
export function conflict(one: Operation, other: Operation): boolean {
  return rangesOf(one).some((a) =>
    rangesOf(other).some(
      (b) =>
        (a.write || b.write) &&
        a.device === b.device &&
        a.offset < b.offset + b.size &&
        b.offset < a.offset + a.size,
    ),
  );
}

function rangesOf({ steps }: Operation): (Range & { write: boolean })[] {
  return steps.flatMap((step) => [
    ...('from' in step ? [{ ...step.from, write: false }] : []),
    ...('to' in step ? [{ ...step.to, write: true }] : []),
  ]);
}
