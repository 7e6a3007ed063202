// SPDX-License-Identifier: Apache-2.0
import { fieldProblem, Problem } from '../../http/problems/problem.ts';
import type { ActiveTransfer } from './active.ts';
import type { Transfer } from './transfer.ts';

/**
 * What others need to know of a transfer that they depend on. If that is not finished, this is the
 * transfer itself and changes with it; else it is without segments, for thousands may be asked for at once.
 */
export type Dependency = Pick<Transfer, 'id' | 'status' | 'finished'> & {
  readonly origin: Pick<Transfer['origin'], 'client'>;
};

/**
 * Which transfers wait for others to succeed. That a transfer starts only behind those that it
 * depends on is the order's doing; this tells it what became of them.
 */
export class Dependents {
  /** By the id of the transfer that they depend on. */
  readonly #byId = new Map<string, Set<ActiveTransfer>>();

  add(dependent: ActiveTransfer): void {
    for (const { id } of dependent.dependencies) {
      const dependents = this.#byId.get(id) ?? new Set();
      this.#byId.set(id, dependents.add(dependent));
    }
  }

  remove(dependent: ActiveTransfer): void {
    for (const { id } of dependent.dependencies) {
      const dependents = this.#byId.get(id);
      if (dependents?.delete(dependent) && dependents.size === 0) this.#byId.delete(id);
    }
  }

  /** A transfer is finished: what waits for others yet does not keep its segments in memory. */
  finished({ id, status, finished, origin: { client } }: Transfer): void {
    const dependents = this.#byId.get(id);
    if (dependents === undefined) return;
    const dependency = { id, status, finished, origin: { client } };
    for (const dependent of dependents) {
      dependent.dependOn(
        dependent.dependencies.map((other) => (other.id === id ? dependency : other)),
      );
    }
  }

  /** Those that have not stopped yet and depend on a transfer. */
  of(id: string): ActiveTransfer[] {
    return [...(this.#byId.get(id) ?? [])];
  }
}

/** The ids of those that have not succeeded, or not yet. */
export function openIdsOf(dependencies: readonly Dependency[]): string[] {
  return dependencies.filter(({ status }) => status !== 'succeeded').map(({ id }) => id);
}

/** Why a transfer must not run; undefined if all that it depends on has succeeded, or may yet. */
export function dependencyProblem(dependencies: readonly Dependency[]): Problem | undefined {
  const failed = dependencies.find(({ finished, status }) => finished && status !== 'succeeded');
  if (failed === undefined) return undefined;
  const detail = `It depends on the transfer ${failed.id}, which has ended as ${failed.status}: nothing was moved.`;
  return new Problem('dependency_failed', detail);
}

/**
 * @param ids as a request names them
 * @param find gives the same object for the same id; `earlier`: another request of the list is to make it
 * @returns those of these transfers that have not succeeded
 * @throws Problem unknown_transfer for one that there is not, or that is another client's
 */
export function dependenciesOf(
  ids: readonly string[],
  client: string,
  find: (id: string) => Dependency | 'earlier' | undefined,
): Dependency[] {
  const found = ids.flatMap((id, index) => {
    const dependency = find(id);
    if (dependency === 'earlier') return [];
    if (dependency?.origin.client === client) return dependency;
    const detail = `There is no transfer ${JSON.stringify(id.slice(0, 40))} of this client, or it ended too long ago.`;
    throw fieldProblem('unknown_transfer', `/depends_on/${index}`, detail);
  });
  return [...new Set(found)].filter(({ status }) => status !== 'succeeded');
}
