// SPDX-License-Identifier: Apache-2.0
import { type ConnectedClient, DmadError, type Version } from '../../client/node.ts';
import { DEFAULT_SOCKET } from '../lib/connection.ts';
import { CliError } from '../lib/exit-codes.ts';
import { humanBytes } from '../lib/format.ts';
import { gatewayVersion, type Service } from '../lib/service.ts';
import { type Finding, ok, problem, unknown, warning } from './finding.ts';
import type { Host } from './host.ts';
import { type DaemonProcess, daemonsOf } from './processes.ts';

const UNITS = ['/etc/systemd/system/dmad.service', '/lib/systemd/system/dmad.service'];
const DEFAULT_STATE = '/var/lib/dmad';
/** Below that the journal may not take what comes in. */
const LITTLE_SPACE = 64 * 2 ** 20;
const SCARCE = 0.05;

export interface DaemonParts {
  host: Host;
  /** @throws DmadError if none answers */
  client(): Promise<ConnectedClient>;
  /** As the command line has it. */
  url: string | undefined;
  env: Readonly<Record<string, string | undefined>>;
  version: string;
}

/** The daemon as it answers, and what of it this host shows. */
export async function examineDaemon(parts: DaemonParts): Promise<Finding[]> {
  return [...(await examineAnswers(parts)), ...examineHost(parts)];
}

async function examineAnswers(parts: DaemonParts): Promise<Finding[]> {
  try {
    const client = await parts.client();
    return [
      ...(await examineVersion(client, parts)),
      ...(await examineReadiness(client)),
      ...(await examineAccess(client)),
    ];
  } catch (error) {
    if (!(error instanceof DmadError || error instanceof CliError)) throw error;
    return [unreachableDaemon(error, parts)];
  }
}

/** A host that was never meant to run one lacks nothing. */
function unreachableDaemon(error: unknown, { host, url, env }: DaemonParts): Finding {
  const { message } = error as Error;
  if (error instanceof CliError) return problem('daemon', message, 'mend that, and ask again');
  const expected =
    url !== undefined ||
    Boolean(env.DMAD_URL) ||
    [DEFAULT_SOCKET, ...UNITS].some((path) => host.exists(path));
  const remedy =
    'start it: systemctl start dmad, or npm start; or say where it is: --url, DMAD_URL';
  return expected
    ? problem('daemon', `it does not answer: ${message}`, remedy)
    : warning('daemon', `none answers: ${message}`, remedy);
}

async function examineVersion(client: ConnectedClient, { version }: DaemonParts) {
  const answer = await client.getVersion();
  const gateway = gatewayVersion(answer);
  if (gateway === undefined) return examineDaemonVersion(answer, version);
  return [ok('gateway', `dmad fleet ${gateway}`), ...otherVersion('gateway', gateway, version)];
}

function examineDaemonVersion({ daemon, module, abi, journal }: Version, version: string) {
  const findings = [
    ok(
      'daemon',
      `dmad ${daemon}, ${module === null ? 'without the module' : `module ${module}, ABI ${abi}`}`,
    ),
    ...otherVersion('daemon', daemon, version),
  ];
  if (module !== null && module !== daemon) {
    const message = `the daemon is ${daemon}, the kernel module ${module}`;
    findings.push(warning('version', message, 'load the module that came with the daemon'));
  }
  const { persistence } = journal;
  findings.push(
    persistence === 'backing_store'
      ? ok('journal', 'on a file system that keeps what is synced')
      : warning(
          'journal',
          `what is accepted may not survive a power failure (${persistence})`,
          'put DMAD_STATE_DIR on ext4, xfs, btrfs, f2fs or zfs',
        ),
  );
  return findings;
}

function otherVersion(service: Service, itsVersion: string, version: string): Finding[] {
  if (itsVersion === version) return [];
  const message = `the ${service} is ${itsVersion}, dmactl ${version}`;
  return [warning('version', message, `restart the ${service} after an upgrade`)];
}

async function examineReadiness(client: ConnectedClient): Promise<Finding[]> {
  const { ready, waiting_for, degraded = [] } = await client.isReady();
  const explain = 'look at its log (journalctl -u dmad), and at what is named here';
  return [
    ready
      ? ok('ready', 'it takes transfers')
      : problem('ready', `it takes none, and waits for ${waiting_for.join(', ')}`, explain),
    ...degraded.map((what) => warning('degraded', what, explain)),
  ];
}

async function examineAccess(client: ConnectedClient): Promise<Finding[]> {
  try {
    const devices = await client.listDevices();
    const real = devices.filter(({ kind }) => kind === 'devdax');
    const gone = devices.filter(({ state }) => state === 'gone');
    return [
      ok('access', `${devices.length} devices, of which ${real.length} are real`),
      ...gone.map(({ name, state_reason: reason }) =>
        problem(
          `device ${name}`,
          `the daemon waits for it: ${reason}`,
          'bring it back, or restart without it',
        ),
      ),
    ];
  } catch (error) {
    if (!(error instanceof DmadError)) throw error;
    if (error.code === 'unauthenticated') {
      const remedy = 'put the secret into ~/.config/dmad/token (mode 0600), or into DMAD_TOKEN';
      return [problem('access', 'it wants a token, and got none that it knows', remedy)];
    }
    if (error.code === 'forbidden') {
      return [unknown('access', "the token's scopes do not allow to list devices")];
    }
    throw error;
  }
}

/** Processes, sockets, tokens and disks, as far as they can be seen. */
function examineHost({ host, env }: DaemonParts): Finding[] {
  const findings: Finding[] = [];
  const daemons = daemonsOf(host);
  if (daemons.length > 1) {
    const pids = daemons.map(({ pid }) => pid).join(', ');
    const remedy = 'stop all but one, unless each has devices of its own: they cannot share one';
    findings.push(warning('processes', `${daemons.length} daemons run: ${pids}`, remedy));
  }
  for (const daemon of daemons) findings.push(...examineTokens(daemon, host));
  if (host.exists(DEFAULT_SOCKET) && !host.canWrite(DEFAULT_SOCKET)) {
    const remedy = 'join its group: see "ls -l" of it, and DMAD_SOCKET_GROUP';
    findings.push(warning('socket', `${DEFAULT_SOCKET} is not for this user`, remedy));
  }
  const states = daemons.flatMap(({ stateDir }) => stateDir ?? []);
  for (const state of new Set(
    daemons.length > 0 ? states : [env.DMAD_STATE_DIR || DEFAULT_STATE],
  )) {
    findings.push(...examineSpace(host, state));
  }
  return [...findings, ...examineClock(host)];
}

function examineTokens({ pid, settings }: DaemonProcess, host: Host): Finding[] {
  const subject = `tokens of ${pid}`;
  if (typeof settings === 'string') return [unknown(subject, settings)];
  const { tokens_file: tokens, insecure, host: address } = settings;
  if (insecure === '1') {
    const message = `DMAD_INSECURE=1: whoever reaches ${address ?? 'it'} may read and write all devices`;
    const remedy =
      'make tokens (dmactl token add), name the file in DMAD_TOKENS_FILE, and drop DMAD_INSECURE';
    return [problem(subject, message, remedy)];
  }
  if (!tokens) {
    return [ok(subject, 'none: that is allowed for emulated devices on loopback alone')];
  }
  if (!host.exists(tokens)) {
    const message = `${tokens} is not there, or not to be seen by this user`;
    return [unknown(subject, message)];
  }
  return [ok(subject, `in ${tokens}`)];
}

function examineSpace(host: Host, path: string): Finding[] {
  const space = host.space(path);
  if (space === undefined) return [];
  const { free, size } = space;
  const text = `${humanBytes(free)} of ${humanBytes(size)} free in ${path}`;
  const remedy = 'make room: what cannot be kept is refused with storage_full';
  if (free < LITTLE_SPACE) return [problem('disk', text, remedy)];
  if (free < size * SCARCE) return [warning('disk', text, remedy)];
  return [ok('disk', text)];
}

function examineClock(host: Host): Finding[] {
  const synchronized = host
    .output('timedatectl', 'show', '-p', 'NTPSynchronized', '--value')
    ?.trim();
  if (synchronized === 'yes') return [ok('clock', 'synchronized')];
  if (synchronized === 'no') {
    const remedy = 'switch on chrony or systemd-timesyncd: times in logs are wrong else';
    return [warning('clock', 'not synchronized', remedy)];
  }
  return [unknown('clock', 'nobody here says whether it is synchronized')];
}
