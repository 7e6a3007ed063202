// SPDX-License-Identifier: Apache-2.0

/** Exit codes, after sysexits(3) where it has one that fits. */
export const EXIT_CODES = {
  failure: 1,
  address_in_use: 69,
  state_in_use: 75,
  configuration: 78,
} as const;

/** Why the daemon does not start: one line for the operator, and an exit code for scripts. */
export class StartError extends Error {
  override readonly name = 'StartError';
  readonly exitCode: number;

  constructor(reason: keyof typeof EXIT_CODES, message: string) {
    // What it quotes, such as a variable's value, may have line breaks of its own.
    super(message.replaceAll(/[\r\n]+/g, ' '));
    this.exitCode = EXIT_CODES[reason];
  }
}
