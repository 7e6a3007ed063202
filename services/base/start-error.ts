// SPDX-License-Identifier: Apache-2.0

/** Exit codes, after sysexits(3) if it has one that fits; README.md lists them. */
export const EXIT_CODES = {
  failure: 1,
  address_in_use: 69,
  /** The system refuses what any process needs: descriptors, memory, threads. */
  resources: 71,
  state_in_use: 75,
  configuration: 78,
} as const;

type Reason = keyof typeof EXIT_CODES;

/** Why the daemon does not start: one line for the operator, and an exit code for scripts. */
export class StartError extends Error {
  override readonly name = 'StartError';
  readonly exitCode: number;

  constructor(reason: Reason, message: string) {
    super(oneLine(message));
    this.exitCode = EXIT_CODES[reason];
  }
}

/** What the operator can do about errors that may come from anywhere, by their code. */
const REMEDIES: Readonly<Record<string, [Reason, string]>> = {
  EMFILE: ['resources', 'raise the limit of open files (ulimit -n, LimitNOFILE=) to 1024 or more'],
  ENFILE: ['resources', 'the system has no more open files to give (sysctl fs.file-max)'],
  ENOMEM: ['resources', 'give it more memory (ulimit -v, MemoryMax=)'],
  ERR_MEMORY_ALLOCATION_FAILED: ['resources', 'give it more memory (ulimit -v, MemoryMax=)'],
  EAGAIN: ['resources', 'raise the limit of threads (ulimit -u, TasksMax=, --pids-limit)'],
  ENOSPC: ['resources', 'make room on the disk'],
  EDQUOT: ['resources', 'make room in the quota'],
  EACCES: ['configuration', 'the user that the daemon runs as may not do that'],
  EPERM: ['configuration', 'the user that the daemon runs as may not do that'],
  EROFS: ['configuration', 'that file system is mounted read-only'],
  ERR_MODULE_NOT_FOUND: ['configuration', 'install and build it: npm ci && npm run build'],
};

/** A limit that is too low shows wherever it is met first, as loading a library or reading a file. */
const SHORTAGES: readonly [RegExp, keyof typeof REMEDIES][] = [
  [/\bEMFILE\b|Too many open files/, 'EMFILE'],
  [/\bENOMEM\b|Cannot allocate memory/, 'ENOMEM'],
];

/** How the process ends after an error: one line if the operator can do something about it. */
export function explainFailure(error: unknown): { message: string; exitCode: number } {
  const { code = '', message, stack } = error as NodeJS.ErrnoException;
  const [, shortage = code] = SHORTAGES.find(([pattern]) => pattern.test(message)) ?? [];
  const known = REMEDIES[shortage];
  if (known !== undefined) {
    const [reason, remedy] = known;
    return { message: `${oneLine(message)}: ${remedy}`, exitCode: EXIT_CODES[reason] };
  }
  if (error instanceof StartError) return error;
  return { message: stack ?? message, exitCode: EXIT_CODES.failure };
}

/** What a message quotes, such as a variable's value, may have line breaks of its own. */
function oneLine(text: string): string {
  return text.replaceAll(/[\r\n]+/g, ' ');
}
