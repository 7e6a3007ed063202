// SPDX-License-Identifier: Apache-2.0
import { pino } from 'pino';
import { Inventory } from '../../../services/daemon/devices/device.ts';
import { UnflushedDevices } from '../../../services/daemon/devices/unflushed.ts';
import type { Engine } from '../../../services/daemon/engines/engine.ts';
import type { JobListener } from '../../../services/daemon/engines/jobs-in-flight.ts';
import type { Job } from '../../../services/daemon/engines/records.ts';
import { BATCH_KEY, readBatch } from '../../../services/daemon/journal/batch-row.ts';
import { readClocks } from '../../../services/daemon/journal/elapsed.ts';
import { KNOWS_CHANGES } from '../../../services/daemon/journal/format.ts';
import type { Journal } from '../../../services/daemon/journal/journal.ts';
import {
  readRecords,
  type TransferRecord,
  transferOf,
} from '../../../services/daemon/transfers/record.ts';
import { recover } from '../../../services/daemon/transfers/recovery.ts';
import {
  TransferService,
  type TransferServiceOptions,
} from '../../../services/daemon/transfers/service.ts';
import type { Transfer } from '../../../services/daemon/transfers/transfer.ts';
import { makeChooser, noDma } from '../../support/fake-dma.ts';
import { MemoryStore, MemoryWatermark, memoryJournal } from '../../support/memory-store.ts';
import {
  CLOCK,
  completion,
  createOne,
  makeDevice,
  makeOrigin,
  makePlan,
  makeQueue,
  type PlanMembers,
} from './make-transfer.ts';

const ECANCELED = -125;

/** What a test brings of a service; an engine that does as much as it needs. */
type Parts = Pick<TransferServiceOptions, 'queue' | 'journal'> &
  Partial<Omit<TransferServiceOptions, 'engine'>> & { engine: Partial<Engine> | object };

/** A service without DMA, that nobody observes, unless a test brings that. */
export function makeService({ engine, dma = noDma(), ...parts }: Parts): TransferService {
  return new TransferService({
    ...{ engine: engine as Engine, dma, chooser: makeChooser('auto', dma), clock: CLOCK },
    ...{ unflushed: new UnflushedDevices(false), log: pino({ level: 'silent' }) },
    observer: { progressed: () => {}, finished: () => {} },
    ...{ beforeWrite: () => undefined, written: () => {} },
    ...parts,
  });
}

/** A service whose jobs end when its test says so, over a disk in memory. */
export class ServiceBench {
  readonly store: MemoryStore;
  readonly watermark: MemoryWatermark;
  /** In the order in which they started. */
  readonly jobs: { job: Job; listener: JobListener }[] = [];
  /** What they may take since a change of that; by the tag of the job. */
  readonly timeouts = new Map<number, number | undefined>();
  readonly queue = makeQueue();
  readonly journal: Journal;
  readonly service: TransferService;

  constructor(
    disk: {
      store?: MemoryStore;
      watermark?: MemoryWatermark;
      mark?: Parameters<typeof memoryJournal>[1];
      heapBytes?: number;
      beforeWrite?: TransferServiceOptions['beforeWrite'];
    } = {},
  ) {
    const { store = new MemoryStore(), watermark = new MemoryWatermark(), mark } = disk;
    this.store = store;
    this.watermark = watermark;
    const engine = {
      submit: (job: Job, listener: JobListener) => this.jobs.push({ job, listener }),
      setTimeout: (tag: number, ms: number | undefined) => this.timeouts.set(tag, ms),
      cancel: (tag: number) => this.end(tag - 1, { status: ECANCELED, bytesDone: 5 }),
    };
    this.journal = memoryJournal(store, mark, undefined, false, watermark).journal;
    this.service = makeService({
      ...{ engine, queue: this.queue, journal: this.journal },
      ...(disk.heapBytes !== undefined && { heapBytes: disk.heapBytes }),
      ...(disk.beforeWrite !== undefined && { beforeWrite: disk.beforeWrite }),
    });
  }

  /** With all that earlier daemons left: that of another bench, if it is given. */
  static async after(earlier?: ServiceBench): Promise<ServiceBench> {
    const store = new MemoryStore(earlier?.rows() ?? []);
    const bench = new ServiceBench({ store });
    const records = [...bench.recorded().values()];
    const recovered = records.map((record) =>
      recover(record, {
        inventory: new Inventory([makeDevice()]),
        ...{
          chooser: makeChooser('auto', noDma()),
          doubt: undefined,
          writer: KNOWS_CHANGES,
          clock: CLOCK,
        },
        host: readClocks(),
      }),
    );
    const unfinished = recovered.filter(({ kind }) => kind !== 'finished');
    await bench.service.earlier.restore(unfinished, records.at(-1)?.id);
    bench.service.earlier.add(recovered.filter(({ kind }) => kind === 'finished'));
    bench.service.earlier.settle(undefined);
    return bench;
  }

  /** @param client anna unless told */
  async create(
    journaled: boolean,
    members: PlanMembers = {},
    key?: string,
    client?: string,
  ): Promise<Transfer> {
    const plan = makePlan(members);
    const origin = makeOrigin(key, client);
    return createOne(this.service, plan, origin, journaled);
  }

  /** Ends the job that started as the n-th, counted from 0. */
  end(index: number, members: Parameters<typeof completion>[0] = {}): void {
    this.jobs[index]?.listener.done(completion(members));
  }

  /** Ends as a daemon does that is told to: with all that it has to write. */
  async shutDown(): Promise<void> {
    await this.service.interrupt();
    this.service.close();
    await this.journal.close();
  }

  /** The rows that a crash would leave to count. */
  rows(): [string, string][] {
    const { uncommitted } = readBatch(this.store.rows, this.watermark.value);
    return this.store.sorted().filter(([key]) => key !== BATCH_KEY && !uncommitted.has(key));
  }

  /** What the next daemon would read, by id. */
  recorded(): Map<string, TransferRecord> {
    const records = readRecords(this.rows(), (key) => {
      throw new Error(`${key} cannot be read`);
    });
    return new Map(records.map((record) => [record.id, record]));
  }

  /** A transfer as the next daemon would show it. */
  recordedTransfer({ id }: Transfer): Transfer {
    return transferOf(this.recorded().get(id) as TransferRecord, CLOCK);
  }
}

export const turn = () => new Promise((resolve) => setImmediate(resolve));
