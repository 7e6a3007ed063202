// SPDX-License-Identifier: Apache-2.0
// Numbers as people read them. Bytes are binary, as offsets and sizes of memory are.

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'] as const;
const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Three significant digits: `512 B`, `1.50 MiB`, `32 MiB`. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  // What would be rounded to 1024 of a unit is 1 of the next one.
  while (value >= 1023.5 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${significant(value)} ${UNITS[unit]}`;
}

/** Without loss: the largest unit of which it is a whole number, as the API takes it. */
export function exactBytes(bytes: number): string {
  for (const [power, unit] of [
    [30, 'GiB'],
    [20, 'MiB'],
    [10, 'KiB'],
  ] as const) {
    if (bytes >= 2 ** power && bytes % 2 ** power === 0) return `${bytes / 2 ** power}${unit}`;
  }
  return String(bytes);
}

/** For people, without loss: `32 MiB`, or `9.54 MiB (10,000,001 bytes)`. */
export function describeBytes(bytes: number): string {
  const short = formatBytes(bytes);
  const [value, unit] = short.split(' ');
  const said = Number(value) * 1024 ** UNITS.indexOf(unit as (typeof UNITS)[number]);
  return said === bytes ? short : `${short} (${bytes.toLocaleString('en')} bytes)`;
}

export function formatRate(bytesPerSecond: number): string {
  return `${formatBytes(bytesPerSecond)}/s`;
}

/** In hex, as maps of memory have it. */
export function formatOffset(offset: number): string {
  return `0x${offset.toString(16)}`;
}

/** As long as it is exact, with two decimals at most: `32 MiB`, `1.25 GiB`; else in hex. */
export function shortOffset(offset: number): string {
  if (offset === 0) return '0';
  for (let power = UNITS.length - 1; power > 0; power--) {
    const value = offset / 1024 ** power;
    if (value >= 1 && Number.isInteger(value * 100)) return `${value} ${UNITS[power]}`;
  }
  return formatOffset(offset);
}

/** Rough, for what is still to come or long ago: `3 s`, `2 min 5 s`, `4 h 10 min`. */
export function formatSeconds(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < MINUTE) return `${whole} s`;
  if (whole < HOUR) return parts(whole, MINUTE, 'min', 1, 's');
  if (whole < DAY) return parts(whole, HOUR, 'h', MINUTE, 'min');
  return parts(whole, DAY, 'd', HOUR, 'h');
}

/** Exact enough to compare phases: `148 µs`, `8.14 ms`, `1.20 s`. */
export function formatNanoseconds(ns: number): string {
  if (ns < 1000) return `${Math.round(ns)} ns`;
  if (ns < 1e6) return `${significant(ns / 1e3)} µs`;
  if (ns < 1e9) return `${significant(ns / 1e6)} ms`;
  const seconds = ns / 1e9;
  return seconds < MINUTE ? `${significant(seconds)} s` : formatSeconds(seconds);
}

/** Not 100 % before it is all. */
export function formatPercent(fraction: number): string {
  const percent = fraction >= 1 ? 100 : Math.min(99.9, Math.floor(fraction * 1000) / 10);
  return percent < 10 || (percent > 99 && percent < 100)
    ? `${percent.toFixed(1)} %`
    : `${Math.floor(percent)} %`;
}

/** `14:03:09`, and the date before it if it is another day. */
export function formatTime(time: Date, now: Date): string {
  const clock = time.toLocaleTimeString('en-GB');
  if (time.toDateString() === now.toDateString()) return clock;
  const date = time.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' });
  return `${date} ${clock}`;
}

export function formatCount(count: number, noun: string): string {
  return `${count.toLocaleString('en')} ${noun}${count === 1 ? '' : 's'}`;
}

function significant(value: number): string {
  if (Number.isInteger(value)) return String(value);
  if (value >= 99.95) return value.toFixed(0);
  return value >= 9.995 ? value.toFixed(1) : value.toFixed(2);
}

function parts(seconds: number, major: number, word: string, minor: number, rest: string): string {
  const whole = Math.floor(seconds / major);
  const left = Math.floor((seconds - whole * major) / minor);
  return left === 0 ? `${whole} ${word}` : `${whole} ${word} ${left} ${rest}`;
}
