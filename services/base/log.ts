// SPDX-License-Identifier: Apache-2.0
import { hostname } from 'node:os';
import { getSystemErrorName } from 'node:util';
import { type DestinationStream, type Level, type Logger, pino } from 'pino';
import { isJournalStream, journalPrefix } from './journald.ts';
import { loadShim, type Shim } from './native/shim.ts';
import { StartError } from './start-error.ts';

/** What a line is, which decides how long it is kept while the log cannot be written. */
type Kind = 'ordinary' | 'important' | 'audit';

const MIB = 2 ** 20;
/** Most bytes that may wait, by the kind of what is added: requests are lost first, audit lines last. */
const LIMITS: Record<Kind, number> = { ordinary: 1 * MIB, important: 2 * MIB, audit: 8 * MIB };
const CAPACITY = Math.max(...Object.values(LIMITS));
/** As long as less room than this is left, an audit line may not fit. */
const LONGEST_LINE = MIB / 16;
/** A log that takes nothing for so long is in trouble. */
const STALL_MS = 1000;
/** How often to look whether a log that lost lines can be written again. */
const RECOVERY_CHECK_MS = 1000;
/** How long the end of the process may wait for the log. */
const DRAIN_MS = 1000;
const STDOUT = 1;
const { info: INFO = 30, warn: WARN = 40 } = pino.levels.values;
const STATE_SIZE = 24;

/** Lines that were lost, since the start. */
export interface LostLines {
  readonly daemon: number;
  readonly audit: number;
}

/** How the log fares, for metrics and probes. */
export interface LogHealth {
  readonly lost: LostLines;
  /** Bytes that are not written yet. */
  readonly waiting: number;
  /** Why the log cannot be written just now; undefined while it can. */
  readonly trouble: string | undefined;
  /** Whether audit lines are lost just now. */
  readonly auditLost: boolean;
}

/** The members of an audit line, one at least; those that are undefined are left out. */
export type AuditEntry = Readonly<Record<string, unknown>>;

/** The daemon's log, and the audit log beside it. */
export interface Log {
  readonly logger: Logger;
  /** Writes a line of the audit log, whatever the logger's level is, but for `silent`. */
  readonly audit: (entry: AuditEntry) => void;
  readonly health: LogHealth;
}

/**
 * Lines on their way to a descriptor, which the shim's thread writes: no call waits for it, whatever
 * reads it. What one turn of the event loop logs is handed over together, at the turn's end. A
 * process that ends, however badly, waits a second at most for what is left.
 */
class LogQueue implements LogHealth {
  /** Says in the log that lines were lost. */
  reportLost: (lost: LostLines) => void = () => {};
  readonly lost = { daemon: 0, audit: 0 };
  readonly #shim: Shim;
  readonly #writer: unknown;
  readonly #state = Buffer.alloc(STATE_SIZE);
  #turn: { kind: Kind; line: string }[] = [];
  #unreported = { daemon: 0, audit: 0 };
  #recovery: NodeJS.Timeout | undefined;
  readonly #forJournal = isJournalStream(STDOUT, process.env.JOURNAL_STREAM);

  /** @throws StartError where there is no memory or no thread to be had */
  constructor(fd: number) {
    this.#shim = loadShim();
    const out: [unknown] = [null];
    const status = this.#shim.writerOpen(fd, CAPACITY, out);
    if (status < 0) {
      throw new StartError('resources', `cannot log: ${getSystemErrorName(status)}`);
    }
    this.#writer = out[0];
    process.on('exit', () => this.#end());
  }

  add(kind: Kind, level: number, line: string): void {
    if (this.#turn.length === 0) setImmediate(() => this.endTurn());
    const prefix = this.#forJournal ? journalPrefix(level) : '';
    this.#turn.push({ kind, line: prefix + line });
  }

  endTurn(): void {
    if (this.#turn.length === 0) return;
    const turn = this.#turn;
    this.#turn = [];
    if (this.#put(turn.map(({ line }) => line).join(''), 'ordinary')) return;
    for (const { kind, line } of turn) if (!this.#put(line, kind)) this.#lose(kind);
  }

  get waiting(): number {
    return this.#read().waiting;
  }

  get trouble(): string | undefined {
    const { waiting, stalledMs, error } = this.#read();
    if (waiting === 0) return undefined;
    if (error < 0) return `it cannot be written (${getSystemErrorName(error)})`;
    return stalledMs < STALL_MS ? undefined : 'nobody reads it';
  }

  get auditLost(): boolean {
    return this.lost.audit > 0 && this.waiting > LIMITS.audit - LONGEST_LINE;
  }

  #put(text: string, kind: Kind): boolean {
    const bytes = Buffer.from(text);
    return this.#shim.writerPut(this.#writer, bytes, bytes.length, LIMITS[kind]) === 0;
  }

  #lose(kind: Kind): void {
    const log = kind === 'audit' ? 'audit' : 'daemon';
    this.lost[log]++;
    this.#unreported[log]++;
    this.#recovery ??= setInterval(() => this.#report(), RECOVERY_CHECK_MS).unref();
  }

  /** Once there is room again for all kinds of lines. */
  #report(): void {
    if (this.waiting > LIMITS.ordinary / 2) return;
    clearInterval(this.#recovery);
    this.#recovery = undefined;
    const lost = this.#unreported;
    this.#unreported = { daemon: 0, audit: 0 };
    this.reportLost(lost);
  }

  #read() {
    this.#shim.writerState(this.#writer, this.#state);
    return {
      waiting: Number(this.#state.readBigUInt64LE(0)),
      stalledMs: Number(this.#state.readBigUInt64LE(8)) / 1e6,
      error: this.#state.readInt32LE(16),
    };
  }

  #end(): void {
    this.endTurn();
    this.#shim.writerDrain(this.#writer, DRAIN_MS);
    this.#shim.leaveTerminal();
  }
}

/** Where the logger writes. pino notes the level of each line here before it writes it. */
class Lines implements DestinationStream {
  readonly [pino.symbols.needsMetadataGsym] = true;
  lastLevel = 0;
  readonly #queue: LogQueue;

  constructor(queue: LogQueue) {
    this.#queue = queue;
  }

  write(line: string): void {
    this.#queue.add(this.lastLevel < WARN ? 'ordinary' : 'important', this.lastLevel, line);
  }
}

/**
 * Audit lines as pino would make them. pino makes JSON of each member by itself, which takes 3 µs more: each of
 * thousands of small transfers a second has such a line.
 */
function auditLog(queue: LogQueue): Log['audit'] {
  const bindings = JSON.stringify({ pid: process.pid, hostname: hostname(), log: 'audit' });
  return (entry) => {
    const members = `${bindings.slice(1, -1)},${JSON.stringify(entry).slice(1, -1)}`;
    const line = `{"level":${INFO},"time":${Date.now()},${members},"msg":"audit"}\n`;
    queue.add('audit', INFO, line);
  };
}

/**
 * The log on stdout, as lines of JSON, which systemd's journal gets with their priorities.
 * @throws StartError where there is no thread to write it
 */
export function openLog(level: Level | 'silent'): Log {
  const queue = new LogQueue(STDOUT);
  const logger = pino({ level }, new Lines(queue));
  queue.reportLost = (lost) => logger.warn({ lost }, 'lines of the log were lost: it was full');
  const audit = level === 'silent' ? () => {} : auditLog(queue);
  return { logger, audit, health: queue };
}

/** A log that goes nowhere, for what has nobody to read one. */
export function silentLog(): Log {
  const logger = pino({ level: 'silent' });
  const lost = { daemon: 0, audit: 0 };
  const health = { lost, waiting: 0, trouble: undefined, auditLost: false };
  return { logger, audit: () => {}, health };
}
