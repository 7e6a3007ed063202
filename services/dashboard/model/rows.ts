// SPDX-License-Identifier: Apache-2.0

/** Which rows of a long list are shown. */
export interface Window {
  first: number;
  /** The first one behind those that are shown. */
  end: number;
}

/** Rows above and below that are kept ready for scrolling. */
const SPARE = 6;

/**
 * @param scrolled how far, in pixels
 * @param visible the height of what is shown, in pixels
 */
export function windowOf(
  count: number,
  rowHeight: number,
  scrolled: number,
  visible: number,
): Window {
  const first = Math.max(0, Math.floor(scrolled / rowHeight) - SPARE);
  const end = Math.min(count, Math.ceil((scrolled + visible) / rowHeight) + SPARE);
  return { first: Math.min(first, end), end };
}
