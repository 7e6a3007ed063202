// SPDX-License-Identifier: Apache-2.0

/** Of a place inside a JSON value (RFC 6901). */
export function jsonPointer(path: readonly PropertyKey[]): string {
  return path
    .map((part) => `/${String(part).replaceAll('~', '~0').replaceAll('/', '~1')}`)
    .join('');
}
