// SPDX-License-Identifier: Apache-2.0

/**
 * Starts a clock of the processor time that this process takes, user and system, in ms: a limit on
 * it holds on a machine that is busy with other work, too.
 */
export function cpuClock(): () => number {
  const began = process.cpuUsage();
  return () => {
    const { user, system } = process.cpuUsage(began);
    return (user + system) / 1000;
  };
}
