// SPDX-License-Identifier: Apache-2.0
import {
  appendFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { ClassicLevel } from 'classic-level';
import { pino } from 'pino';
import { StartError } from '../../../services/base/start-error.ts';
import { DoubtMark } from '../../../services/daemon/journal/doubt.ts';
import { openJournal } from '../../../services/daemon/journal/open.ts';
import { openStore } from '../../../services/daemon/journal/store.ts';
import { deepTest } from '../../support/depth.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'dmad-journal-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const ignore = async () => {};

/** Some rows that end up in LevelDB's own log, in the order of the given numbers. */
async function write(numbers: number[]): Promise<void> {
  const { store } = await openStore(directory, ignore);
  for (const number of numbers) {
    await store.write(new Map([[key(number), `value ${number} ${'x'.repeat(100)}`]]), true);
  }
  await store.close();
}

const key = (number: number) => `key ${String(number).padStart(3, '0')}`;
const count = (rows: [string, string][]) => rows.filter(([name]) => name.startsWith('key')).length;
const file = (end: RegExp) => {
  const names = readdirSync(directory).filter((name) => end.test(name) && name !== 'LOG');
  const [largest] = names
    .map((name) => join(directory, name))
    .sort((a, b) => statSync(b).size - statSync(a).size);
  return largest as string;
};

/** Changes a byte, counted from the end. */
function garble(path: string, fromEnd: number): void {
  const bytes = readFileSync(path);
  const at = bytes.length - fromEnd;
  bytes.writeUInt8(bytes.readUInt8(at) ^ 0xff, at);
  writeFileSync(path, bytes);
}

async function read() {
  const { store, rows: stored } = await openStore(directory, ignore);
  const rows: [string, string][] = [];
  for await (const slice of stored.slices()) rows.push(...slice);
  await store.close();
  return { rows, damage: stored.damage };
}

describe('openStore', () => {
  const hundred = Array.from({ length: 100 }, (_, i) => i);

  test('gives back what was written, in order, without what was taken away', async () => {
    await write([3, 1, 2]);
    const { store } = await openStore(directory, ignore);
    await store.write(new Map([[key(2), undefined]]), true);
    expect(await store.size()).toBeGreaterThan(100);
    await store.reopen();
    await store.write(new Map([[key(5), 'five']]), true);
    await store.close();
    const { rows, damage } = await read();
    expect(rows.map(([name]) => name)).toEqual([key(1), key(3), key(5)]);
    expect(rows[2]?.[1]).toBe('five');
    expect(damage).toBeUndefined();
  });

  test.each([1, 7, 60, 150])('a tail cut short by %i bytes costs the last rows', async (bytes) => {
    await write(hundred);
    const log = file(/\.log$/);
    truncateSync(log, statSync(log).size - bytes);
    const { rows, damage } = await read();
    expect(count(rows)).toBe(bytes < 140 ? 99 : 98);
    expect(damage).toMatch(/ends in the middle of a record/);
  });

  deepTest('a garbled byte, wherever near the end, is found', async () => {
    await write(hundred);
    const log = file(/\.log$/);
    const intact = readFileSync(log);
    // The last record is some 150 bytes long, and begins with its checksum, length and type.
    for (const bytes of [1, 60, ...Array.from({ length: 20 }, (_, i) => 135 + i), 1000, 5000]) {
      rmSync(directory, { recursive: true });
      await write([]);
      writeFileSync(file(/\.log$/), intact);
      garble(file(/\.log$/), bytes);
      const { rows, damage } = await read();
      expect(count(rows)).toBeLessThan(100);
      for (const [name, value] of rows) expect(value).toContain(`value ${Number(name.slice(4))} `);
      expect(damage).toBeDefined();
    }
  });

  test('records that are cut at the ends of blocks are no damage', async () => {
    const { store } = await openStore(directory, ignore);
    for (let i = 0; i < 30; i++) {
      // Of all lengths, so that some leave too little of a block for a header.
      await store.write(new Map([[key(i), 'x'.repeat(32_700 + i * 3)]]), false);
    }
    await store.close();
    const { rows, damage } = await read();
    expect(count(rows)).toBe(30);
    expect(damage).toBeUndefined();
  });

  test.each([0x5a, 0])('a tail of bytes %i is left out, and told', async (byte) => {
    await write(hundred);
    appendFileSync(file(/\.log$/), Buffer.alloc(100_000, byte));
    const { rows, damage } = await read();
    expect(count(rows)).toBe(100);
    expect(damage).toBeDefined();
  });

  test('a row that is not as it was written is left out', async () => {
    await write([1]);
    const database = new ClassicLevel(directory);
    await database.put(key(2), 'no checksum');
    await database.close();
    const { rows, damage } = await read();
    expect(rows.map(([name]) => name)).toEqual([key(1)]);
    expect(damage).toContain(key(2));
  });

  test.each([
    ['without CURRENT', () => rmSync(join(directory, 'CURRENT'))],
    ['with an empty CURRENT', () => writeFileSync(join(directory, 'CURRENT'), '')],
    ['without its manifest', () => rmSync(file(/^MANIFEST/))],
    ['with a garbled manifest', () => garble(file(/^MANIFEST/), 20)],
  ])('%s it is repaired, and not begun anew', async (_name, spoil) => {
    await write(hundred);
    // Opened once more, so that rows are in a table.
    await write([100]);
    spoil();
    const { rows, damage } = await read();
    expect(count(rows)).toBe(101);
    expect(damage).toBeDefined();
    expect((await read()).damage).toBeUndefined();
  });

  test.each([
    ['a torn log', () => truncateSync(file(/\.log$/), statSync(file(/\.log$/)).size - 60)],
    ['a garbled log', () => garble(file(/\.log$/), 1000)],
    ['no CURRENT', () => rmSync(join(directory, 'CURRENT'))],
    ['no manifest', () => rmSync(file(/^MANIFEST/))],
  ])(
    '%s is told before it is mended, so that a crash in between hides nothing',
    async (_, spoil) => {
      await write(hundred);
      spoil();
      const crash = async () => {
        throw new Error('crash');
      };
      for (let i = 0; i < 2; i++)
        await expect(openStore(directory, crash)).rejects.toThrow('crash');
      expect((await read()).damage).toBeDefined();
      expect((await read()).damage).toBeUndefined();
    },
  );

  test('a missing table is reported, and the others are used', async () => {
    await write(hundred);
    await write([100]);
    rmSync(file(/\.(ldb|sst)$/));
    const { rows, damage } = await read();
    expect(count(rows)).toBe(1);
    expect(damage).toBeDefined();
  });

  test('where it cannot be opened, it says so, and what to do', async () => {
    writeFileSync(join(directory, 'file'), '');
    const opened = openStore(join(directory, 'file'), ignore);
    await expect(opened).rejects.toBeInstanceOf(StartError);
    await expect(opened).rejects.toThrow(/cannot open the journal .*move it away/);
  });
});

describe('openJournal', () => {
  const observer = { synced: () => {}, failed: () => {} };
  const log = pino({ level: 'silent' });
  const open = () => openJournal(directory, log, observer);

  test('is in doubt from the damage on, until that has been dealt with', async () => {
    const { journal } = await open();
    for (let i = 0; i < 50; i++) await journal.accept(new Map([[key(i), 'x']]), () => {});
    await journal.close();
    const store = directory;
    directory = join(store, 'journal');
    garble(file(/\.log$/), 30);
    directory = store;

    // A daemon that does not get as far as to do something about it leaves it to the next one.
    for (const doubt of [/damaged/, /could not be written/]) {
      const damaged = await open();
      expect(damaged.doubt).toMatch(doubt);
      await damaged.journal.accept(new Map([['a', 'b']]), () => {});
      await damaged.journal.close();
    }
    const dealtWith = await open();
    expect(dealtWith.doubt).toBeDefined();
    dealtWith.journal.trust();
    await dealtWith.journal.close();
    const mark = await DoubtMark.open(join(directory, 'journal.trust'));
    expect(mark.set).toBe(false);
    await mark.make();
    await mark.close();

    const marked = await open();
    expect(marked.doubt).toMatch(/could not be written/);
    marked.journal.trust();
    await marked.journal.close();
    const trusted = await open();
    expect(trusted.doubt).toBeUndefined();
    await trusted.journal.close();
  });

  test('a torn tail of what nobody relied on is no damage; of what was synced it is', async () => {
    const { journal } = await open();
    await journal.accept(new Map([[key(1), 'x']]), () => {});
    await journal.record(new Map([[key(2), 'x']]));
    journal.writeSoon(new Map([[key(3), 'x'.repeat(100)]]));
    await journal.close();
    const [log] = readdirSync(join(directory, 'journal')).filter((name) => name.endsWith('.log'));
    const path = join(directory, 'journal', log as string);
    truncateSync(path, statSync(path).size - 10);

    // Cut in the unsynced row.
    const harmless = await open();
    expect(harmless.doubt).toBeUndefined();
    expect(harmless.rows.keys).toEqual(['batch', key(1), key(2)]);
    const mark = readFileSync(join(directory, 'journal.trust'), 'latin1');
    expect(mark).toBe('trusted\n');
    await harmless.journal.record(new Map([[key(4), 'x']]));
    await harmless.journal.close();
    const [next] = readdirSync(join(directory, 'journal')).filter((name) => name.endsWith('.log'));
    const nextPath = join(directory, 'journal', next as string);
    truncateSync(nextPath, statSync(nextPath).size - 10);
    const harmed = await open();
    expect(harmed.doubt).toMatch(/damaged/);
    await harmed.journal.close();
  });

  test('refuses what a later version wrote', async () => {
    const { journal } = await open();
    await journal.accept(new Map([['format', '2']]), () => {});
    await journal.close();
    await expect(open()).rejects.toThrow(/format 2/);
    // And leaves it closed.
    await expect(open()).rejects.toThrow(/format 2/);
  });

  test('says where the mark cannot be used', async () => {
    await expect(openJournal(join(directory, 'none'), log, observer)).rejects.toThrow(
      /journal\.trust/,
    );
  });
});
