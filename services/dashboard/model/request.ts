// SPDX-License-Identifier: Apache-2.0
// What somebody has typed into a form, as a request; and what is wrong with it, by field.
import type { Problem, TransferRequest } from '../../client/types.ts';

export const OPERATIONS = ['copy', 'fill', 'compare', 'upload', 'download'] as const;
export type FormOperation = (typeof OPERATIONS)[number];

/** All fields of all forms: what is typed for one is there for the next. */
export interface FormValues {
  device_name: string;
  src_offset: string;
  size: string;
  dst_device_name: string;
  dst_offset: string;
  pattern: string;
  engine: string;
  durability: string;
  verify: string;
  priority: string;
  timeout_s: string;
  labels: string;
}

export type FieldName = keyof FormValues;
export type FieldErrors = Partial<Record<FieldName | 'form', string>>;

export const EMPTY: FormValues = {
  device_name: '',
  src_offset: '0',
  size: '',
  dst_device_name: '',
  dst_offset: '0',
  pattern: '00',
  engine: 'auto',
  durability: 'flush',
  verify: 'none',
  priority: 'normal',
  timeout_s: '',
  labels: '',
};

const FIELDS: Record<FormOperation, readonly FieldName[]> = {
  copy: [
    ...(['device_name', 'src_offset', 'size', 'dst_device_name', 'dst_offset', 'engine'] as const),
    ...(['durability', 'verify', 'priority', 'timeout_s', 'labels'] as const),
  ],
  fill: [
    ...(['dst_device_name', 'dst_offset', 'size', 'pattern', 'engine', 'durability'] as const),
    ...(['verify', 'priority', 'timeout_s', 'labels'] as const),
  ],
  compare: [
    ...(['device_name', 'src_offset', 'size', 'dst_device_name', 'dst_offset', 'engine'] as const),
    ...(['priority', 'timeout_s', 'labels'] as const),
  ],
  upload: ['dst_device_name', 'dst_offset', 'durability'],
  download: ['device_name', 'src_offset', 'size'],
};

export function hasField(operation: FormOperation, field: FieldName): boolean {
  return FIELDS[operation].includes(field);
}

/** What the daemon is to be asked; undefined while fields that it needs are empty. */
export function requestFrom(
  operation: 'copy' | 'fill' | 'compare',
  values: FormValues,
): TransferRequest | undefined {
  const has = (field: FieldName) => hasField(operation, field) && values[field].trim() !== '';
  const device = operation === 'fill' ? values.dst_device_name : values.device_name;
  if (device === '' || values.size.trim() === '' || values.dst_offset.trim() === '')
    return undefined;
  return {
    operation,
    device_name: device,
    ...(operation !== 'fill' && {
      dst_device_name: values.dst_device_name || device,
      src_offset: amount(values.src_offset),
    }),
    dst_offset: amount(values.dst_offset),
    size: amount(values.size),
    ...(has('pattern') && { pattern: values.pattern.trim() }),
    ...(has('engine') && { engine: values.engine as 'auto' }),
    ...(has('durability') && { durability: values.durability as 'flush' }),
    ...(has('verify') && { verify: values.verify as 'none' }),
    ...(has('priority') && { priority: values.priority as 'normal' }),
    ...(has('timeout_s') && { timeout_ms: Number(values.timeout_s) * 1000 }),
    ...(has('labels') && { labels: labelsFrom(values.labels) }),
  };
}

/** People write `32 MiB`, the daemon takes `32MiB`. */
export function amount(text: string): string {
  return text.replace(/\s+/g, '');
}

/** `job=nightly, host=a`. */
function labelsFrom(text: string): Record<string, string> {
  const pairs = text
    .split(',')
    .map((pair) => pair.trim())
    .filter(Boolean);
  return Object.fromEntries(
    pairs.map((pair) => {
      const equals = pair.indexOf('=');
      return equals < 0
        ? [pair, '']
        : [pair.slice(0, equals).trim(), pair.slice(equals + 1).trim()];
    }),
  );
}

/** Puts what the daemon says of the request at the fields of the form. */
export function errorsByField(
  operation: FormOperation,
  detail: string,
  errors: NonNullable<Problem['errors']>,
): FieldErrors {
  const found: FieldErrors = {};
  for (const { pointer, detail: text } of errors) {
    const field = fieldOf(operation, pointer);
    found[field] = found[field] === undefined ? text : `${found[field]}; ${text}`;
  }
  return errors.length === 0 ? { form: detail } : found;
}

function fieldOf(operation: FormOperation, pointer: string): FieldName | 'form' {
  const [, name = ''] = pointer.split('/');
  if (name === 'timeout_ms') return 'timeout_s';
  // A fill names what it writes as device_name, an upload in its path.
  if (name === 'device_name' && !hasField(operation, 'device_name')) return 'dst_device_name';
  if (name === 'offset') return operation === 'download' ? 'src_offset' : 'dst_offset';
  return FIELDS[operation].find((field) => field === name) ?? 'form';
}
