// SPDX-License-Identifier: Apache-2.0
import { cpSync, existsSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { run } from './support.ts';

/** The longest that one RUN may take, in milliseconds: it may fetch every package. */
const RUN_TIMEOUT_MS = 180_000;

export interface Instruction {
  keyword: string;
  /** `--name=value` before the arguments. */
  flags: Record<string, string>;
  rest: string;
}

export function parseDockerfile(text: string): Instruction[] {
  const lines = text
    .split('\n')
    .filter((line) => line.trim() !== '' && !line.trim().startsWith('#'))
    .join('\n')
    .replace(/\\\n\s*/g, ' ')
    .split('\n');
  return lines.map((line) => {
    const [, keyword = '', ...parts] = /^(\w+)\s+((?:--\S+\s+)*)(.*)$/.exec(line) ?? [];
    const [flags = '', rest = ''] = parts;
    return {
      keyword: keyword.toUpperCase(),
      flags: Object.fromEntries(
        flags.split(/\s+/).flatMap((flag) => {
          const [, name, value = ''] = /^--([\w-]+)(?:=(.*))?$/.exec(flag) ?? [];
          return name === undefined ? [] : [[name, value]];
        }),
      ),
      rest: rest.trim(),
    };
  });
}

/** The pairs of an ENV or LABEL. */
export function pairs(rest: string): Record<string, string> {
  const found = rest.matchAll(/([\w.-]+)=(?:"([^"]*)"|(\S*))/g);
  return Object.fromEntries([...found].map(([, key, quoted, bare]) => [key, quoted ?? bare]));
}

/** What a .dockerignore leaves of a path: the last pattern that matches it or a parent decides. */
export function isSent(path: string, patterns: string[]): boolean {
  const parents = path.split('/').map((_, i, parts) => parts.slice(0, i + 1).join('/'));
  let sent = true;
  for (const pattern of patterns) {
    const negated = pattern.startsWith('!');
    const source = pattern
      .replace(/^!/, '')
      .replace(/[.+^${}()|[\]\\]/g, '\\$&')
      .replace(/\*+/g, (stars) => (stars === '*' ? '[^/]*' : '.*'));
    const regex = new RegExp(`^${source}$`);
    if (parents.some((parent) => regex.test(parent))) sent = negated;
  }
  return sent;
}

/** Copies what `docker build` would send. */
export function copyContext(from: string, to: string, dockerignore: string): void {
  const patterns = dockerignore.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  const visit = (path: string) => {
    for (const { name } of readdirSync(join(from, path), { withFileTypes: true })) {
      const at = path === '' ? name : `${path}/${name}`;
      const source = join(from, at);
      if (statSync(source, { throwIfNoEntry: false })?.isDirectory()) {
        const within = patterns.some((pattern) => pattern.startsWith(`!${at}/`));
        if (within || isSent(at, patterns)) visit(at);
      } else if (isSent(at, patterns)) {
        mkdirSync(dirname(join(to, at)), { recursive: true });
        cpSync(source, join(to, at));
      }
    }
  };
  visit('');
}

export interface Stage {
  /** Where its "/" is. */
  root: string;
  /** As a path in the image. */
  workdir: string;
  env: Record<string, string>;
  labels: Record<string, string>;
  args: Record<string, string>;
  /** The last of each other keyword, such as ENTRYPOINT. */
  last: Record<string, Instruction>;
}

export interface Built {
  final: Stage;
  /** RUNs that are about the base image, which here is this machine. */
  notRun: string[];
}

/**
 * Follows a Dockerfile without an engine: each stage is a directory, COPY copies between them, RUN
 * runs in them on this machine. A RUN that names absolute paths is left out.
 *
 * @throws Error where a COPY finds nothing or a RUN fails
 */
export async function buildStages(
  instructions: Instruction[],
  { context, into }: { context: string; into: string },
): Promise<Built> {
  const stages: Record<string, Stage> = {};
  const globalArgs: Record<string, string> = {};
  const notRun: string[] = [];
  let stage: Stage | undefined;
  let count = 0;
  for (const instruction of instructions) {
    const { keyword, flags, rest } = instruction;
    if (keyword === 'FROM') {
      const [base = '', , name = String(count)] = rest.split(/\s+/);
      stage = startStage(join(into, `stage${count++}`), stages[base]);
      stages[name] = stage;
    } else if (keyword === 'ARG') {
      const [name = '', value] = rest.split('=', 2);
      const scope = stage?.args ?? globalArgs;
      scope[name] = value ?? globalArgs[name] ?? '';
    } else if (stage === undefined) {
      throw new Error(`${keyword} before FROM`);
    } else if (keyword === 'WORKDIR') {
      stage.workdir = rest;
      mkdirSync(join(stage.root, rest), { recursive: true });
    } else if (keyword === 'COPY') {
      copy(stage, flags.from === undefined ? context : stages[flags.from]?.root, rest);
    } else if (keyword === 'RUN') {
      if (/(^|\s)\//.test(rest)) notRun.push(rest);
      else await runIn(stage, rest);
    } else if (keyword === 'ENV') {
      Object.assign(stage.env, pairs(rest));
    } else if (keyword === 'LABEL') {
      const { args } = stage;
      Object.assign(stage.labels, pairs(rest.replace(/\$\{(\w+)\}/g, (_, arg) => args[arg] ?? '')));
    } else {
      stage.last[keyword] = instruction;
    }
  }
  if (stage === undefined) throw new Error('there is no FROM');
  return { final: stage, notRun };
}

function startStage(root: string, base: Stage | undefined): Stage {
  mkdirSync(root);
  if (base !== undefined) cpSync(base.root, root, { recursive: true, verbatimSymlinks: true });
  const { workdir = '/', env = {} } = base ?? {};
  return { root, workdir, env: { ...env }, labels: {}, args: {}, last: {} };
}

function copy({ root, workdir }: Stage, from: string | undefined, rest: string): void {
  if (from === undefined) throw new Error(`COPY from no known stage: ${rest}`);
  const sources = rest.split(/\s+/);
  const target = sources.pop() ?? '';
  const destination = target.startsWith('/') ? join(root, target) : join(root, workdir, target);
  for (const source of sources) {
    const path = join(from, source);
    if (!existsSync(path)) throw new Error(`COPY finds no ${source}`);
    const isFile = !statSync(path).isDirectory();
    const to = isFile && target.endsWith('/') ? join(destination, basename(source)) : destination;
    mkdirSync(dirname(to), { recursive: true });
    cpSync(path, to, { recursive: true, verbatimSymlinks: true });
  }
}

async function runIn({ root, workdir, env }: Stage, command: string): Promise<void> {
  const cwd = join(root, workdir);
  const timeout = RUN_TIMEOUT_MS;
  const result = await run('sh', ['-ec', command], { cwd, env: bareEnvironment(env), timeout });
  if (result.code !== 0) throw new Error(`RUN ${command}: ${JSON.stringify(result)}`);
}

/** Without what npm and jest add, this repository's node_modules/.bin in the PATH included. */
function bareEnvironment(env: Record<string, string>): NodeJS.ProcessEnv {
  const mine = Object.entries(process.env).filter(
    ([name]) =>
      !/^(npm_(package|lifecycle)|NODE_OPTIONS$|NODE_ENV$|JEST_|DMAD_|INIT_CWD$)/.test(name),
  );
  const PATH = process.env.PATH?.split(':').filter((part) => !part.includes('node_modules'));
  return { ...Object.fromEntries(mine), PATH: PATH?.join(':'), ...env };
}
