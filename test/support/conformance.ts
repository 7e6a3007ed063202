// SPDX-License-Identifier: Apache-2.0
import { expect } from '@jest/globals';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import type { FastifyInstance } from 'fastify';

/** An answer, wherever it came from. */
export interface Answer {
  status: number;
  headers: Record<string, string | string[] | number | undefined>;
  body: Buffer;
}

type Json = Record<string, unknown>;
interface MediaType {
  schema?: Json;
}
interface Operation {
  responses: Record<string, { content?: Record<string, MediaType> }>;
}

const PROBLEM_TYPE = 'application/problem+json';
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
/** Answered before a route is looked at, or by what stands in front of all routes. */
const ROUTELESS = new Set([400, 404, 405, 415, 421]);

/**
 * Holds answers to the OpenAPI document that the daemon itself gives out: a documented status, a
 * documented media type, and a body that its schema allows. The validator is another one than the
 * daemon's, so that a slip in making the document shows too.
 */
export class Conformance {
  readonly #http: FastifyInstance;
  #ownContract: Contract | undefined;

  constructor(http: FastifyInstance) {
    this.#http = http;
  }

  /** Made when it is needed: to make a document takes longer than to start an app. */
  get #contract(): Contract {
    this.#ownContract ??= contractOf(this.#http);
    return this.#ownContract;
  }

  /** The documented operation that a request meets; undefined if there is none. */
  operation(method: string, url: string): string | undefined {
    return this.#contract.find(method, url)?.name;
  }

  /** @throws where the answer is not what the document, and the contract for errors, allow */
  check(method: string, url: string, answer: Answer): void {
    const { status, headers } = answer;
    const mediaType = String(headers['content-type'] ?? '').split(';', 1)[0] as string;
    const where = `${method} ${url} answered ${status}: ${answer.body.toString('utf8', 0, 600)}`;
    if (headers['x-request-id'] === undefined) throw new Error(`no x-request-id: ${where}`);
    const isReadiness = url.startsWith('/readyz') && status === 503;
    if (status >= 400 && method !== 'HEAD' && !isReadiness) checkProblem(answer, where);

    const found = this.#contract.find(method, url);
    if (found === undefined) return;
    const documented = found.operation.responses[String(status)];
    if (documented === undefined) {
      if (ROUTELESS.has(status)) return;
      throw new Error(`${found.name} does not document this status: ${where}`);
    }
    if (method === 'HEAD' || documented.content === undefined) return;
    const minimal = /\breturn=minimal\b/.test(String(headers['preference-applied']));
    if (minimal && status < 300 && answer.body.length === 0) return;
    const schema = documented.content[mediaType]?.schema;
    if (schema === undefined) throw new Error(`undocumented type "${mediaType}": ${where}`);
    if (!mediaType.endsWith('json')) return;
    const name = `${found.name} ${status} ${mediaType}`;
    const wrong = this.#contract.validate(name, schema, JSON.parse(answer.body.toString()));
    if (wrong !== undefined) throw new Error(`${name}: ${wrong}: ${where}`);
  }
}

/** By its routes: apps with the same ones have the same document. */
const contracts = new Map<string, Contract>();

function contractOf(http: FastifyInstance): Contract {
  const routes = http.printRoutes();
  const known = contracts.get(routes);
  if (known !== undefined) return known;
  const contract = new Contract(closed(JSON.parse(JSON.stringify(http.swagger()))) as Json);
  contracts.set(routes, contract);
  return contract;
}

/** A document's operations, and validators of what it describes. */
class Contract {
  readonly #operations: { method: string; path: RegExp; operation: Operation; name: string }[] = [];
  readonly #validators = new Map<string, ValidateFunction>();
  readonly #ajv: Ajv2020;

  constructor(document: Json) {
    this.#ajv = new Ajv2020({
      strict: false,
      allErrors: true,
      // Most validators are used a few times: they shall be quick to make.
      ...{ inlineRefs: false, code: { optimize: false } },
      formats: { uuid: UUID, 'date-time': isTime, binary: true, uri: true },
    });
    this.#ajv.addSchema(document, 'openapi');
    const paths = document.paths as Record<string, Record<string, Operation>>;
    for (const [path, methods] of Object.entries(paths)) {
      const pattern = new RegExp(`^${path.replace(/\{[^}]+\}/g, '[^/]+')}$`);
      for (const [method, operation] of Object.entries(methods)) {
        const name = `${method} ${path}`;
        this.#operations.push({ method: method.toUpperCase(), path: pattern, operation, name });
      }
    }
  }

  find(method: string, url: string) {
    const [path = ''] = url.split('?', 1);
    const asked = method === 'HEAD' ? 'GET' : method;
    const matching = this.#operations.filter((each) => each.method === asked);
    return matching.find((each) => each.path.test(path));
  }

  /** @returns what is wrong with the value; undefined if nothing is */
  validate(name: string, schema: Json, value: unknown): string | undefined {
    const validate = this.#validator(name, schema);
    return validate(value) ? undefined : this.#ajv.errorsText(validate.errors);
  }

  #validator(name: string, schema: Json): ValidateFunction {
    let validate = this.#validators.get(name);
    if (validate === undefined) {
      // References are to the whole document.
      const absolute = JSON.parse(JSON.stringify(schema).replaceAll('"#/', '"openapi#/'));
      validate = this.#ajv.compile(absolute);
      this.#validators.set(name, validate);
    }
    return validate;
  }
}

/** The document of this very version: it answers with nothing that is not described. */
function closed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(closed);
  if (typeof value !== 'object' || value === null) return value;
  const schema = Object.fromEntries(
    Object.entries(value).map(([key, each]) => [key, closed(each)]),
  );
  if (typeof schema.properties === 'object' && schema.type === 'object') {
    schema.additionalProperties ??= false;
  }
  if (schema['x-extensible-enum'] !== undefined) schema.enum = schema['x-extensible-enum'];
  return schema;
}

function isTime(text: string): boolean {
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(text) && !Number.isNaN(Date.parse(text));
}

export interface ProblemBody {
  type: string;
  title: string;
  status: number;
  detail: string;
  instance: string;
  code: string;
  errors?: { pointer: string; detail: string }[];
  transfer?: Record<string, unknown>;
}

/** What holds for every error of the daemon, whichever layer answers it. */
function checkProblem({ status, headers, body }: Answer, where: string): void {
  const type = String(headers['content-type']);
  if (type.split(';', 1)[0] !== PROBLEM_TYPE) throw new Error(`no problem (${type}): ${where}`);
  const problem = JSON.parse(body.toString()) as ProblemBody;
  const wrong = [
    problem.status === status || 'status',
    problem.type === `/problems/${problem.code}` || 'type',
    problem.instance === `urn:dmad:request:${headers['x-request-id']}` || 'instance',
    /^[a-z_]+$/.test(problem.code) || 'code',
    (typeof problem.title === 'string' && problem.title.length > 0) || 'title',
    (typeof problem.detail === 'string' && problem.detail.length > 0) || 'detail',
    (problem.errors ?? []).every(
      ({ pointer, detail }) => /^(\/|$)/.test(pointer) && detail !== '',
    ) || 'errors',
    !/node_modules|\.[jt]s:\d|\/dist\//.test(body.toString()) || 'inner detail',
  ].filter((item) => item !== true);
  if (wrong.length > 0) throw new Error(`bad problem (${wrong.join(', ')}): ${where}`);
}

/** Expects an error, and gives its body. @param pointers of its `errors`, where they matter */
export function expectProblem(
  answer: Answer,
  status: number,
  code: string,
  pointers?: string[],
): ProblemBody {
  checkProblem(answer, answer.body.toString());
  const problem = JSON.parse(answer.body.toString()) as ProblemBody;
  expect({ status: answer.status, code: problem.code }).toEqual({ status, code });
  if (pointers !== undefined) {
    expect((problem.errors ?? []).map(({ pointer }) => pointer).sort()).toEqual(pointers.sort());
  }
  return problem;
}
