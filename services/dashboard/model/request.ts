// SPDX-License-Identifier: Apache-2.0
// What somebody has typed into a form, as a request; and what is wrong with it, by field.
import type { Problem, ReplicationRequest, TransferRequest } from '../../client/types.ts';
import { amount, type SegmentTexts, segmentsFrom } from './segments.ts';
import { splitDevice } from './transfer.ts';

export const OPERATIONS = ['copy', 'fill', 'compare', 'upload', 'download', 'replicate'] as const;
export type FormOperation = (typeof OPERATIONS)[number];

/** All fields of all forms: what is typed for one is there for the next. */
export interface FormValues {
  device_name: string;
  src_offset: string;
  size: string;
  /** Whether there is one range, or a segment on each line of `segments`. */
  ranges: string;
  segments: string;
  dst_device_name: string;
  dst_offset: string;
  pattern: string;
  engine: string;
  durability: string;
  verify: string;
  priority: string;
  timeout_s: string;
  labels: string;
  peer: string;
  /** At the peer. */
  src_device_name: string;
  mode: string;
  block_size: string;
  bytes_per_second: string;
}

export const ONE_RANGE = 'one';
export const SEGMENTS = 'several segments';

export type FieldName = keyof FormValues;
export type FieldErrors = Partial<Record<FieldName | 'form', string>>;

export const EMPTY: FormValues = {
  device_name: '',
  src_offset: '0',
  size: '',
  ranges: ONE_RANGE,
  segments: '',
  dst_device_name: '',
  dst_offset: '0',
  pattern: '00',
  engine: 'auto',
  durability: 'flush',
  verify: 'none',
  priority: 'normal',
  timeout_s: '',
  labels: '',
  peer: '',
  src_device_name: '',
  mode: 'delta',
  block_size: '',
  bytes_per_second: '',
};

const FIELDS: Record<FormOperation, readonly FieldName[]> = {
  copy: [
    ...(['device_name', 'src_offset', 'size', 'ranges', 'segments', 'dst_device_name'] as const),
    ...(['dst_offset', 'engine', 'durability', 'verify', 'priority', 'timeout_s'] as const),
    'labels',
  ],
  fill: [
    ...(['dst_device_name', 'dst_offset', 'size', 'ranges', 'segments', 'pattern'] as const),
    ...(['engine', 'durability', 'verify', 'priority', 'timeout_s', 'labels'] as const),
  ],
  compare: [
    ...(['device_name', 'src_offset', 'size', 'ranges', 'segments', 'dst_device_name'] as const),
    ...(['dst_offset', 'engine', 'priority', 'timeout_s', 'labels'] as const),
  ],
  upload: ['dst_device_name', 'dst_offset', 'durability'],
  download: ['device_name', 'src_offset', 'size'],
  replicate: [
    ...(['peer', 'src_device_name', 'src_offset', 'size', 'dst_device_name'] as const),
    ...(['dst_offset', 'mode', 'block_size', 'bytes_per_second', 'priority'] as const),
    ...(['timeout_s', 'labels'] as const),
  ],
};

/** Of which there are more with segments. */
const OF_ONE_RANGE: readonly FieldName[] = ['src_offset', 'dst_offset', 'size'];
/** What a replication has not. */
const ON_ONE_HOST: readonly FieldName[] = ['ranges', 'segments', 'engine', 'durability', 'verify'];

/** Whether it goes from one host of a fleet to another: then it is a replication. */
function isBetweenHosts({ device_name: source, dst_device_name: to }: FormValues): boolean {
  return splitDevice(source).host !== splitDevice(to).host;
}

/** Whether the form has a field, as the others are filled in. */
export function hasField(
  operation: FormOperation,
  field: FieldName,
  values: FormValues = EMPTY,
): boolean {
  const between = operation === 'copy' && isBetweenHosts(values);
  if (between && ON_ONE_HOST.includes(field)) return false;
  const several = FIELDS[operation].includes('segments') && values.ranges === SEGMENTS && !between;
  if (field === 'segments' && !several) return false;
  if (several && OF_ONE_RANGE.includes(field)) return false;
  return FIELDS[operation].includes(field);
}

type TransferOperation = 'copy' | 'fill' | 'compare';

/** What the daemon is to be asked; undefined while fields that it needs are empty. */
export function requestFrom(
  operation: TransferOperation,
  values: FormValues,
): TransferRequest | undefined {
  const device = operation === 'fill' ? values.dst_device_name : values.device_name;
  const pieces = piecesFrom(operation, values);
  if (device === '' || pieces === undefined) return undefined;
  const given = givenOf(operation, values);
  return {
    operation,
    device_name: device,
    ...(operation !== 'fill' && { dst_device_name: values.dst_device_name || device }),
    ...pieces,
    ...(given('pattern') && { pattern: values.pattern.trim() }),
    ...(given('engine') && { engine: values.engine as 'auto' }),
    ...(given('durability') && { durability: values.durability as 'flush' }),
    ...(given('verify') && { verify: values.verify as 'none' }),
    ...settingsFrom(operation, values),
  };
}

/** The same for a replication. */
export function replicationFrom(values: FormValues): ReplicationRequest | undefined {
  const { peer, src_device_name: source, dst_device_name: destination } = values;
  const given = givenOf('replicate', values);
  const needed = ['peer', 'src_device_name', 'src_offset', 'dst_offset', 'size'] as const;
  if (destination === '' || !needed.every(given)) return undefined;
  return {
    ...{ peer: peer.trim(), src_device_name: source.trim(), dst_device_name: destination },
    ...{ src_offset: amount(values.src_offset), dst_offset: amount(values.dst_offset) },
    ...{ size: amount(values.size), mode: values.mode as 'delta' },
    ...(given('block_size') && { block_size: amount(values.block_size) }),
    ...(given('bytes_per_second') && { bytes_per_second: amount(values.bytes_per_second) }),
    ...settingsFrom('replicate', values),
  };
}

function givenOf(operation: FormOperation, values: FormValues) {
  return (field: FieldName) => hasField(operation, field, values) && values[field].trim() !== '';
}

function settingsFrom(operation: FormOperation, values: FormValues) {
  const given = givenOf(operation, values);
  return {
    ...(given('priority') && { priority: values.priority as 'normal' }),
    ...(given('timeout_s') && { timeout_ms: Number(values.timeout_s) * 1000 }),
    ...(given('labels') && { labels: labelsFrom(values.labels) }),
  };
}

/** Undefined while there is nothing to ask about, or a line is no segment. */
function piecesFrom(operation: TransferOperation, values: FormValues): Pieces | undefined {
  const fills = operation === 'fill';
  if (hasField(operation, 'segments', values)) {
    const { segments, wrong } = segmentsFrom(values.segments, fills);
    return wrong === undefined && segments.length > 0 ? { segments } : undefined;
  }
  if (values.size.trim() === '' || values.dst_offset.trim() === '') return undefined;
  return {
    ...(!fills && { src_offset: amount(values.src_offset) }),
    dst_offset: amount(values.dst_offset),
    size: amount(values.size),
  };
}

type Pieces = { segments: SegmentTexts[] } | SegmentTexts;

/** What can be told without the daemon: lines that are no segments. */
export function errorsBefore(operation: TransferOperation, values: FormValues): FieldErrors {
  if (!hasField(operation, 'segments', values)) return {};
  const { wrong } = segmentsFrom(values.segments, operation === 'fill');
  return wrong === undefined ? {} : { segments: wrong };
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

/** Of many segments that are wrong in the same way nobody reads more. */
const MOST_ERRORS = 5;

/** Puts what the daemon says of the request at the fields of the form. */
export function errorsByField(
  operation: FormOperation,
  detail: string,
  errors: NonNullable<Problem['errors']>,
): FieldErrors {
  if (errors.length === 0) return { form: detail };
  const texts = new Map<FieldName | 'form', string[]>();
  for (const { pointer, detail: text } of errors) {
    const field = fieldOf(operation, pointer);
    texts.set(field, [...(texts.get(field) ?? []), placeOf(pointer) + text]);
  }
  return Object.fromEntries(
    [...texts].map(([field, all]) => {
      const more = all.length > MOST_ERRORS ? [`and ${all.length - MOST_ERRORS} more`] : [];
      return [field, [...all.slice(0, MOST_ERRORS), ...more].join('; ')];
    }),
  );
}

/** Which segment it is, counted as people do. */
function placeOf(pointer: string): string {
  const [, index, member] = /^\/segments\/(\d+)(?:\/(\w+))?/.exec(pointer) ?? [];
  if (index === undefined) return '';
  return `segment ${Number(index) + 1}${member ? `, ${member.replace('_', ' ')}` : ''}: `;
}

function fieldOf(operation: FormOperation, pointer: string): FieldName | 'form' {
  const [, name = ''] = pointer.split('/');
  if (name === 'timeout_ms') return 'timeout_s';
  // A fill names what it writes as device_name, an upload in its path.
  if (name === 'device_name' && !hasField(operation, 'device_name')) return 'dst_device_name';
  if (name === 'offset') return operation === 'download' ? 'src_offset' : 'dst_offset';
  return FIELDS[operation].find((field) => field === name) ?? 'form';
}
