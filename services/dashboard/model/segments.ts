// SPDX-License-Identifier: Apache-2.0
// A segment on each line, as somebody types or pastes them.

export interface SegmentTexts {
  src_offset?: string;
  dst_offset: string;
  size: string;
}

/** What a line has, for people. */
export const COLUMNS = { copy: 'from, to, size', fill: 'to, size' } as const;

/** People write `32 MiB`, the daemon takes `32MiB`. */
export function amount(text: string): string {
  return text.replace(/\s+/g, '');
}

/**
 * Reads lines such as `0, 1 MiB, 4 KiB`, or with spaces or tabs between. Lines that are empty, or
 * begin with #, are passed over.
 */
export function segmentsFrom(
  text: string,
  fills: boolean,
): { segments: SegmentTexts[]; wrong: string | undefined } {
  const columns = fills ? 2 : 3;
  const segments: SegmentTexts[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    const trimmed = line.trim();
    if (trimmed === '' || trimmed.startsWith('#')) continue;
    // Without commas, the spaces that lie before a unit separate nothing.
    const cells = trimmed.includes(',')
      ? trimmed.split(',')
      : trimmed.replace(/(\d)\s+(?=[KMG]iB\b)/g, '$1').split(/\s+/);
    const [first = '', second = '', third = ''] = cells.map(amount);
    if (cells.length !== columns || cells.some((cell) => cell.trim() === '')) {
      const wrong = `line ${index + 1}: write ${COLUMNS[fills ? 'fill' : 'copy']}`;
      return { segments, wrong };
    }
    segments.push(
      fills
        ? { dst_offset: first, size: second }
        : { src_offset: first, dst_offset: second, size: third },
    );
  }
  return { segments, wrong: undefined };
}
