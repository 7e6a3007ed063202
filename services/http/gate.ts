// SPDX-License-Identifier: Apache-2.0
import fp from 'fastify-plugin';
import { routeOf } from './route-of.ts';

/** Holds requests back while the daemon is not what they should find. */
export class Gate {
  #open = false;
  #waiting: (() => void)[] = [];

  get isOpen(): boolean {
    return this.#open;
  }

  /** Lets all in that wait, and all that come. */
  open(): void {
    this.#open = true;
    for (const pass of this.#waiting.splice(0)) pass();
  }

  /** @param done is called once the gate is open */
  pass(done: () => void): void {
    if (this.#open) done();
    else this.#waiting.push(done);
  }
}

/** Puts a gate before all routes but public ones, which tell how the daemon fares. */
export default fp<{ gate: Gate }>(
  async (app, { gate }) => {
    app.addHook('onRequest', (request, _reply, done) => {
      if (routeOf(request).config.access === 'public') done();
      else gate.pass(done);
    });
  },
  { name: 'gate', dependencies: ['access'] },
);
