// SPDX-License-Identifier: Apache-2.0
import type { Command } from 'commander';
import { type ConnectedClient, DmadError } from '../../client/node.ts';
import { type ConnectionOptions, openClient } from './connection.ts';
import { CliError, EXIT, type ExitName, exitNameOf } from './exit-codes.ts';
import { printable } from './format.ts';
import type { Interrupts } from './interrupts.ts';
import { type Service, serviceOf } from './service.ts';
import type { Terminal } from './terminal.ts';

/** Raised if a member of the JSON is removed or changes its meaning; members may be added at any time. */
export const SCHEMA_VERSION = 1;
/** The major version of the HTTP interface that this is written for. */
const API_MAJOR = 1;
const FIRST_ANSWER_MS = 10_000;

export interface GlobalOptions extends ConnectionOptions {
  json?: boolean;
  quiet?: boolean;
}

/** What a command has to work with. */
export interface Context {
  /** Its name, such as "token add". */
  command: string;
  options: GlobalOptions;
  terminal: Terminal;
  env: Readonly<Record<string, string | undefined>>;
  interrupts: Interrupts;
  /** Ends what the command does, unless it handles interrupts. */
  signal: AbortSignal;
  /**
   * The daemon or the gateway, which has answered once.
   *
   * @param service the one that alone has what the command asks for
   * @throws DmadError `unreachable`
   * @throws CliError `usage` if the other one has answered
   */
  client(service?: Service): Promise<ConnectedClient>;
  /** The result: one object with --json, else a text for people. */
  result(document: object, text: string): void;
  /** A message for people, on stderr. */
  say(message: string): void;
}

export type Handler = (context: Context, ...args: never[]) => Promise<ExitName | undefined>;

/** Makes a handler what commander calls. */
export type Runner = (handler: Handler) => (...args: unknown[]) => Promise<void>;

export interface Dependencies {
  terminal: Terminal;
  env: Readonly<Record<string, string | undefined>>;
  interrupts: Interrupts;
  /** Receives the exit code when the command has ended. */
  ended(code: number): void;
}

export function makeRunner({ terminal, env, interrupts, ended }: Dependencies): Runner {
  return (handler) =>
    async (...args) => {
      const command = args.pop() as Command;
      const options = command.optsWithGlobals<GlobalOptions>();
      const name = nameOf(command);
      let opening: Promise<Opened> | undefined;
      const context: Context = {
        ...{ command: name, options, terminal, env, interrupts, signal: interrupts.signal },
        client: async (needed) => {
          opening ??= connectAndAsk(options, env, context);
          const { client, service } = await opening;
          if (needed !== undefined && needed !== service) throw otherService(name, needed, service);
          return client;
        },
        result: (document, text) => {
          if (options.json) terminal.out(`${jsonLine(name, document)}\n`);
          else if (text !== '') terminal.print(`${text}\n`);
        },
        say: (message) => {
          if (!options.quiet) terminal.err(`${printable(message)}\n`);
        },
      };
      try {
        const exit = (await handler(context, ...(args as never[]))) ?? 'done';
        ended(EXIT[exit]);
      } catch (error) {
        reportError(terminal, name, error, options.json === true);
        ended(EXIT[exitNameOf(error)]);
      } finally {
        await opening?.then(
          ({ client }) => client.destroy(),
          () => {},
        );
      }
    };
}

/** An object with --json, or a line of a stream of them. */
export function jsonLine(command: string, document: object): string {
  return JSON.stringify({ schema_version: SCHEMA_VERSION, command, ...document });
}

/** For people on stderr, for programs on stdout. */
export function reportError(
  terminal: Terminal,
  command: string,
  error: unknown,
  json: boolean,
): void {
  const described = describeError(error);
  if (json) terminal.out(`${jsonLine(command, { error: described })}\n`);
  const errors = error instanceof DmadError ? error.errors : [];
  terminal.err(`${terminal.paint('dmactl:', 'red', 'stderr')} ${printable(described.message)}\n`);
  for (const { pointer, detail } of errors) {
    if (described.message.includes(detail)) continue;
    terminal.err(`  ${printable(`${pointer}: ${detail}`)}\n`);
  }
  const hint = HINTS[described.code];
  if (hint !== undefined) terminal.err(`  ${hint}\n`);
}

/** What to do about errors that have nothing to do with the request itself. */
const HINTS: Record<string, string> = {
  unreachable: '"dmactl doctor" says what is wrong; --url and DMAD_URL say where the daemon is',
  unauthenticated: 'the token is read from --token-file, DMAD_TOKEN or ~/.config/dmad/token',
};

export function describeError(error: unknown) {
  const exit = exitNameOf(error);
  const base = { exit_code: EXIT[exit] as number };
  if (error instanceof DmadError) {
    const { code, status, message, errors, transfer, replication, requestId } = error;
    const { bytesWritten } = error;
    return {
      ...base,
      code: code as string,
      status: status === 0 ? null : status,
      message: exit === 'unreachable' ? `no daemon answers: ${message}` : message,
      ...(errors.length > 0 && { errors }),
      ...(transfer !== undefined && { transfer }),
      ...(replication !== undefined && { replication }),
      ...(requestId !== undefined && { request_id: requestId }),
      ...(bytesWritten !== undefined && { bytes_written: bytesWritten }),
    };
  }
  const { message } = error as Error;
  const transfers = error instanceof CliError ? error.transfers : [];
  return {
    ...{ ...base, code: exit as string, status: null, message },
    ...(transfers.length === 1 && { transfer: transfers[0] }),
    ...(transfers.length > 1 && { transfers }),
  };
}

interface Opened {
  client: ConnectedClient;
  service: Service;
}

const SERVICES: Record<Service, string> = {
  daemon: "a host's daemon",
  gateway: "a fleet's gateway",
};

function otherService(command: string, needed: Service, found: Service): CliError {
  const message =
    `"dmactl ${command}" needs ${SERVICES[needed]}, and ${SERVICES[found]} answers there: ` +
    `name the ${needed} with --url or DMAD_URL`;
  return new CliError('usage', message);
}

async function connectAndAsk(
  options: GlobalOptions,
  env: Context['env'],
  { signal, say }: Context,
): Promise<Opened> {
  const client = await openClient(options, env);
  try {
    // Not tried again: a daemon that does not run is not waited for. Once it has answered, a restart is.
    const version = await client.getVersion({
      ...{ signal, retryForMs: 0, deadlineMs: FIRST_ANSWER_MS },
    });
    const service = serviceOf(version);
    const { major } = version.api;
    if (major !== API_MAJOR) {
      say(`warning: the ${service} has interface ${major}, this dmactl knows ${API_MAJOR}`);
    }
    return { client, service };
  } catch (error) {
    await client.destroy();
    throw error;
  }
}

/** A command's name without the program's: "token add". */
export function nameOf(command: Command): string {
  const names = [];
  for (let at: Command | null = command; at?.parent; at = at.parent) names.unshift(at.name());
  return names.join(' ');
}
