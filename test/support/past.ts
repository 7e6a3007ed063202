// SPDX-License-Identifier: Apache-2.0
import { ClassicLevel } from 'classic-level';
import { seal } from '../../services/daemon/journal/stored-rows.ts';

const BATCH = 1000;

/** Has a journal that nobody has open say of many transfers, all older, what it says of one. */
export async function multiply(path: string, id: string, times: number): Promise<void> {
  const journal = new ClassicLevel(path);
  await journal.open();
  const rows = await Promise.all(
    ['accepted', 'ended'].map(async (part) => {
      const { key: _, ...row } = JSON.parse(((await journal.get(`${id}/${part}`)) ?? '').slice(8));
      return [part, JSON.stringify(part === 'accepted' ? { ...row, key: null } : row)] as const;
    }),
  );
  for (let from = 0; from < times; from += BATCH) {
    const puts = Array.from({ length: Math.min(BATCH, times - from) }, (_, n) => {
      const past = `${id.slice(0, 9)}0000-7000-8000-${(from + n).toString(16).padStart(12, '0')}`;
      return rows.map(([part, row]) => {
        const key = `${past}/${part}`;
        return { type: 'put' as const, key, value: seal(key, row) };
      });
    });
    await journal.batch(puts.flat());
  }
  await journal.close();
}
