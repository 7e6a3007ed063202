// SPDX-License-Identifier: Apache-2.0
import fp from 'fastify-plugin';
import { routeOf } from './route-of.ts';

/** Holds requests back until the daemon has recovered what an earlier one left. */
export class RecoveryGate {
  #open = false;
  #waiting: (() => void)[] = [];

  get isOpen(): boolean {
    return this.#open;
  }

  /** Lets through all requests that wait, and all that come later. */
  open(): void {
    this.#open = true;
    for (const resume of this.#waiting.splice(0)) resume();
  }

  /** @param done is called once the gate is open: at once if it is */
  whenOpen(done: () => void): void {
    if (this.#open) done();
    else this.#waiting.push(done);
  }
}

/** Puts the gate before every route that is not public: public ones report the daemon's state. */
export default fp<{ gate: RecoveryGate }>(
  async (app, { gate }) => {
    app.addHook('onRequest', (request, _reply, done) => {
      if (routeOf(request).config.access === 'public') done();
      else gate.whenOpen(done);
    });
  },
  { name: 'recovery-gate', dependencies: ['access'] },
);
