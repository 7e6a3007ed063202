// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from '@jest/globals';
import { type IWatchResponse, Watcher } from 'etcd3';
import { resumeExactly } from '../../../services/fleet/etcd/exact-resume.ts';

/** A watcher of etcd3's own, whose connection a test plays. */
function watcherFrom(revision: number) {
  type Manager = ConstructorParameters<typeof Watcher>[0];
  type Namespace = ConstructorParameters<typeof Watcher>[1];
  const namespace = { unprefix: (key: Buffer) => key } as unknown as Namespace;
  const watcher = new Watcher({ attach: () => {} } as unknown as Manager, namespace, {
    start_revision: String(revision),
  });
  const completed: number[] = [];
  const completedBy = resumeExactly(watcher, revision);
  watcher.on('data', (response: IWatchResponse) => completed.push(completedBy(response)));
  return {
    completed,
    says: (event: 'connected' | 'data', atRevision: number, ...modified: number[]) =>
      watcher.emit(event, {
        header: { revision: String(atRevision) },
        events: modified.map((each) => ({ type: 'Put', kv: { mod_revision: String(each) } })),
      }),
    resumesAt: () => {
      watcher.emit('disconnected', new Error('the connection was lost'));
      return Number(watcher.lastRevision());
    },
  };
}

describe('a watch whose connection is lost', () => {
  test('before its first event begins where it began', () => {
    const { says, resumesAt } = watcherFrom(10);
    expect(resumesAt()).toBe(10);
    says('connected', 500);
    expect(resumesAt()).toBe(10);
  });

  test('while it catches up goes on behind the last event', () => {
    const { completed, says, resumesAt } = watcherFrom(10);
    says('connected', 500);
    says('data', 500, 10, 11, 11);
    expect(resumesAt()).toBe(12);
    says('connected', 600);
    expect(resumesAt()).toBe(12);
    says('data', 600, 300);
    says('data', 700);
    expect(completed).toEqual([11, 300, 700]);
    expect(resumesAt()).toBe(701);
  });
});
