// SPDX-License-Identifier: Apache-2.0
/**
 * Checks dependencies.yaml against what the sources import and include; see there for its format.
 * Usage: check-dependencies.mjs [ROOT]. Prints one line for each fault, and fails if there is any.
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, normalize, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseSync } from 'oxc-parser';
import { parse as parseYaml } from 'yaml';

/** TypeScript, JavaScript and C. */
const SOURCE = /\.(?:m?[jt]sx?|[ch])$/;
const HERE = dirname(fileURLToPath(import.meta.url));
const root = resolve(process.argv[2] ?? dirname(HERE));
const rules = parseYaml(readFileSync(join(root, 'dependencies.yaml'), 'utf8'));
const modules = new Map(Object.entries(rules.modules).map(([name, of]) => [name, rulesOf(of)]));
const packages = new Map(Object.entries(rules.packages ?? {}));
const faults = [];

/** A list, or a mapping with a list and another one of what may only be imported as types. */
function rulesOf(listed) {
  const { may = [], types = [], files } = Array.isArray(listed) ? { may: listed } : (listed ?? {});
  return { may: new Set(may), types: new Set(types), files, used: new Set() };
}

const listedIn = new Map(
  [...modules].flatMap(([name, { files = [] }]) => files.map((file) => [file, name])),
);

/** The module that lists a file, or the innermost that it lies in. */
function moduleOf(file) {
  if (listedIn.has(file)) return listedIn.get(file);
  for (let path = file; path !== '.'; path = dirname(path)) if (modules.has(path)) return path;
  return undefined;
}

function filesBelow(directory) {
  const path = join(root, directory);
  if (!existsSync(path)) return [];
  return readdirSync(path, { recursive: true })
    .map((name) => join(directory, name))
    .filter((name) => SOURCE.test(name) && statSync(join(root, name)).isFile());
}

/** Each specifier that a TypeScript or JavaScript file imports from, and whether for types alone. */
function importsOf(file, text) {
  const { module, errors } = parseSync(file, text);
  if (errors.length > 0) throw new Error(`${file}: ${errors[0].message}`);
  const declarations = [...module.staticImports, ...module.staticExports].flatMap((declaration) => {
    const [{ moduleRequest } = {}] = declaration.moduleRequest
      ? [declaration]
      : declaration.entries.filter((entry) => entry.moduleRequest);
    const typeOnly = /^(?:import|export)\s+type\b/.test(text.slice(declaration.start));
    return moduleRequest ? [{ specifier: moduleRequest.value, typeOnly }] : [];
  });
  const dynamic = module.dynamicImports.flatMap(({ moduleRequest: { start, end } }) => {
    const [, specifier] = /^(['"`])(.*)\1$/.exec(text.slice(start, end))?.slice(1) ?? [];
    return specifier === undefined ? [] : [{ specifier, typeOnly: false }];
  });
  return [...declarations, ...dynamic];
}

/** The path of what a C file includes, where it is one of ours. */
function included(file, name) {
  const folders = [dirname(file), ...(rules.include_folders ?? [])];
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(join(root, path)));
}

function includesOf(file, text) {
  return [...text.matchAll(/^[ \t]*#[ \t]*include[ \t]*["<]([^">]+)[">]/gm)].flatMap(([, name]) => {
    const target = included(file, name);
    return target === undefined ? [] : [{ target: normalize(target), typeOnly: false }];
  });
}

/** C without comments and strings, in which names mean nothing. */
function codeOf(file) {
  const text = readFileSync(join(root, file), 'utf8');
  return text.replace(/\/\*[\s\S]*?\*\/|\/\/.*|"(?:\\.|[^"\\])*"/g, ' ');
}

/** A function or variable at the start of a line; what is static has no users elsewhere. */
const DEFINITION =
  /^(?!static\b|extern\b|typedef\b|else\b)[A-Za-z_][\w \t*\n]*?[\s*](\w+)(?:\s*\([^;{}]*\)\s*\{|(?:\[\w*\])*\s*(?:=|;))/gm;

/** The file that defines each symbol of C files. */
const definedIn = new Map(
  (rules.symbol_folders ?? [])
    .flatMap(filesBelow)
    .filter((file) => file.endsWith('.c'))
    .flatMap((file) => [...codeOf(file).matchAll(DEFINITION)].map(([, symbol]) => [symbol, file])),
);

function usedBy(file) {
  if (![...definedIn.values()].includes(file)) return [];
  // Not the names of types, which may be a function's too.
  const code = codeOf(file).replace(/\b(?:struct|enum|union)\s+\w+/g, ' ');
  const symbols = new Set(code.match(/\b[A-Za-z_]\w*/g));
  return [...symbols].flatMap((symbol) => {
    const target = definedIn.get(symbol);
    return target === undefined || target === file ? [] : [{ target, typeOnly: false, symbol }];
  });
}

/** Files that a file needs; packages are checked on the way. */
function targetsOf(file) {
  const text = readFileSync(join(root, file), 'utf8');
  if (/\.[ch]$/.test(file)) return [...includesOf(file, text), ...usedBy(file)];
  return importsOf(file, text).flatMap(({ specifier, typeOnly }) => {
    if (specifier.startsWith('.')) {
      return [{ target: normalize(join(dirname(file), specifier)), typeOnly }];
    }
    checkPackage(file, specifier, typeOnly);
    return [];
  });
}

const packagesUsed = new Set();

function checkPackage(file, specifier, typeOnly) {
  const [name] = /^(?:@[^/]+\/)?[^/]+/.exec(specifier) ?? [];
  const users = packages.get(name);
  if (users === undefined || typeOnly) return;
  const user = moduleOf(file);
  packagesUsed.add(`${name} ${user}`);
  if (!users.includes(user)) faults.push(`${file}: only ${users.join(', ')} may import ${name}`);
}

function check(file) {
  const from = moduleOf(file);
  if (from === undefined) return faults.push(`${file}: dependencies.yaml has no module for it`);
  const { may, types, used } = modules.get(from);
  for (const { target, typeOnly, symbol } of targetsOf(file)) {
    const to = moduleOf(target);
    if (to === from) continue;
    if (to !== undefined && (may.has(to) || (typeOnly && types.has(to)))) used.add(to);
    else if (to !== undefined && types.has(to)) {
      faults.push(`${file}: may import only types from ${to} (${target})`);
    } else {
      const what = symbol === undefined ? target : `${symbol} of ${target}`;
      faults.push(`${file}: ${from} may not depend on ${to ?? target} (${what})`);
    }
  }
}

/** A way from a module back to itself; undefined if there is none. */
function circleFrom(name, path = [], done = new Set()) {
  if (path.includes(name)) return [...path.slice(path.indexOf(name)), name];
  if (done.has(name)) return undefined;
  done.add(name);
  const { may = [], types = [] } = modules.get(name) ?? {};
  for (const next of [...may, ...types]) {
    const circle = circleFrom(next, [...path, name], done);
    if (circle !== undefined) return circle;
  }
  return undefined;
}

for (const folder of rules.folders) for (const file of filesBelow(folder)) check(file);
for (const [name, { may, types, used, files = [] }] of modules) {
  for (const file of files) {
    if (!existsSync(join(root, file))) faults.push(`dependencies.yaml: there is no ${file}`);
  }
  if (files.length === 0 && !existsSync(join(root, name))) {
    faults.push(`dependencies.yaml: there is no ${name}`);
  }
  for (const listed of [...may, ...types]) {
    if (!used.has(listed)) {
      faults.push(`dependencies.yaml: ${name} does not use ${listed}: remove the entry`);
    }
  }
}
for (const [name, users] of packages) {
  for (const user of users) {
    if (!packagesUsed.has(`${name} ${user}`)) {
      faults.push(`dependencies.yaml: ${user} does not import ${name}: remove the entry`);
    }
  }
}
const done = new Set();
for (const name of modules.keys()) {
  const circle = circleFrom(name, [], done);
  if (circle !== undefined) faults.push(`dependencies.yaml: a circle: ${circle.join(' -> ')}`);
}

for (const fault of faults) process.stderr.write(`${fault}\n`);
process.exit(faults.length > 0 ? 1 : 0);
