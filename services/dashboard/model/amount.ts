// SPDX-License-Identifier: Apache-2.0

const UNIT: Readonly<Record<string, number>> = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 };

/** A number of bytes as the API takes it in a string: `4096`, `0x1000`, `32MiB`; spaces do no harm. */
export function parseAmount(text: string): number | undefined {
  const [, digits, unit] = /^\s*(0x[0-9a-fA-F]+|\d+)\s*(KiB|MiB|GiB)?\s*$/.exec(text) ?? [];
  if (digits === undefined || (unit !== undefined && digits.startsWith('0x'))) return undefined;
  const bytes = Number(digits) * (unit === undefined ? 1 : (UNIT[unit] ?? 1));
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}
