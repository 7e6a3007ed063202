// SPDX-License-Identifier: Apache-2.0
import type { OpenAPIV3_1 } from 'openapi-types';
import { INSTANCE_HEADER } from '../../base/instance.ts';
import { PROBLEMS, type ProblemCode, problemType } from '../problems/problem.ts';
import type { Example, Examples } from './examples.ts';
import { openAnswers } from './open-answers.ts';

type Operation = OpenAPIV3_1.OperationObject;
type Response = OpenAPIV3_1.ResponseObject;
type Schemas = Record<string, OpenAPIV3_1.SchemaObject>;

const METHODS = ['get', 'put', 'post', 'patch', 'delete'] as const;
/** The schemas that only go in; for all others what goes out is what is described. */
const REQUESTS = [
  ...['TransferRequest', 'BatchedTransferRequest', 'TransferBatch', 'TransferPatch'],
  ...['ReplicationRequest', 'ReplicationPatch'],
  ...['FleetTransferRequest', 'BatchedFleetTransferRequest', 'FleetTransferBatch'],
  ...['FleetTransferPatch', 'FleetHostRequest'],
];

const text = (description: string) => ({ description, schema: { type: 'string' as const } });
const HEADERS = {
  'x-request-id': text('The id of this request, which the log and problems name too.'),
  location: text('Of what was made.'),
  'preference-applied': text('What was done of Prefer, if it was given.'),
  'idempotency-replayed': text('`true`: an earlier request with this Idempotency-Key made it.'),
  'retry-after': text('Seconds after which to ask again.'),
  'ratelimit-policy': text('The limits of the token: `transfers` not over, `bytes` a second.'),
  ratelimit: text('What is left of them.'),
  'repr-digest': text("Of all of the device's bytes, if Want-Repr-Digest asks for it."),
  'content-range': text('Which bytes of how many.'),
  [INSTANCE_HEADER]: text('Names this run of the daemon; another one follows a restart.'),
};

const SENDS_CONTENT: (string | undefined)[] = ['readContent', 'digestContent'];
/** What makes one transfer, or one replication. */
const CREATES_ONE: (string | undefined)[] = ['createTransfer', 'createReplication'];
/** Its statuses that say how that stands, or ended. */
const REPLAYED = ['200', '202', '409', '424', '500', '502', '503', '504', '507'];

/** Makes of what the routes' schemas give the document that clients read. */
export function finishDocument(
  document: OpenAPIV3_1.Document,
  examples: Examples,
): OpenAPIV3_1.Document {
  for (const path of Object.values(document.paths ?? {})) {
    for (const method of METHODS) {
      const operation = path?.[method];
      if (operation === undefined) continue;
      addHeaders(operation);
      addExamples(operation, examples);
    }
  }
  const finished = withoutUnused(withoutTwins({ ...document, servers: serverAt('.') }));
  openAnswers(finished);
  return finished;
}

/** @param url relative to the document: a proxy may have put a prefix before all paths */
export function serverAt(url: string): OpenAPIV3_1.ServerObject[] {
  return [{ url, description: 'This server.' }];
}

function addHeaders(operation: Operation): void {
  for (const [status, response] of responsesOf(operation)) {
    response.headers = { 'x-request-id': HEADERS['x-request-id'] };
    const add = (name: keyof typeof HEADERS) => {
      response.headers = { ...response.headers, [name]: HEADERS[name] };
    };
    if (isLimited(operation)) {
      add('ratelimit-policy');
      add('ratelimit');
    }
    if (['202', '429', '503'].includes(status)) add('retry-after');
    if (['206', '416'].includes(status)) add('content-range');
    if (SENDS_CONTENT.includes(operation.operationId) && ['200', '206'].includes(status)) {
      add(INSTANCE_HEADER);
    }
    if (operation.operationId === 'readContent' && ['200', '206'].includes(status)) {
      add('repr-digest');
    }
    if (CREATES_ONE.includes(operation.operationId) && ['200', '201', '202'].includes(status)) {
      add('location');
      add('preference-applied');
    }
    if (operation.operationId === 'createTransfers' && status === '202') {
      add('preference-applied');
      add('idempotency-replayed');
    }
    if (CREATES_ONE.includes(operation.operationId) && REPLAYED.includes(status)) {
      add('idempotency-replayed');
    }
  }
}

/** Whether it takes of what a token may be limited in: see http/access/rate-limit.ts. */
function isLimited({ security = [] }: Operation): boolean {
  const [scope] = security.flatMap(({ token }) => token ?? []);
  return security.length === 1 && /^(?:transfers:write|content:.*)$/.test(scope ?? '');
}

function addExamples(operation: Operation, all: Examples): void {
  const examples = Object.entries(all[operation.operationId ?? ''] ?? {});
  for (const [index, [name, example]] of examples.entries()) {
    addRequestExample(operation, name, example, index === 0);
    const { status, contentType = 'application/json', response: value, summary } = example;
    const response = responsesOf(operation).find(([code]) => code === String(status))?.[1];
    const media = response?.content?.[contentType];
    if (media && value !== undefined) {
      media.examples = { ...media.examples, [name]: { summary, value } };
    }
  }
  for (const [status, response] of responsesOf(operation)) {
    const media = response.content?.['application/problem+json'];
    if (media && !media.examples) media.example = problemExample(Number(status));
  }
}

function addRequestExample(
  operation: Operation,
  name: string,
  example: Example,
  isFirst: boolean,
): void {
  const { summary, body, parameters = {} } = example;
  if (body !== undefined && operation.requestBody && 'content' in operation.requestBody) {
    for (const media of Object.values(operation.requestBody.content)) {
      media.examples = { ...media.examples, [name]: { summary, value: body } };
    }
  }
  for (const parameter of operation.parameters ?? []) {
    if (!('name' in parameter)) continue;
    // Swagger UI sends it with the first body, whose answer a header of another example would change.
    if (parameter.in === 'header' && !isFirst) continue;
    const value = parameters[parameter.name];
    if (value !== undefined) parameter.example ??= value;
  }
}

/** One that has this status; titles and codes are true, the detail is the table's. */
function problemExample(status: number) {
  const found = Object.entries(PROBLEMS).find(([, problem]) => problem.status === status);
  if (found === undefined) throw new Error(`no problem has status ${status}`);
  const [code, { title }] = found;
  return {
    type: problemType(code as ProblemCode),
    title,
    status,
    detail: title,
    instance: 'urn:dmad:request:7dcf72cb-0626-4680-b9e6-294ba1ceaa0c',
    code,
  };
}

function responsesOf(operation: Operation): [string, Response][] {
  return Object.entries(operation.responses ?? {}) as [string, Response][];
}

/**
 * The generator describes each schema twice, as it goes in and as it comes out. Of each pair one
 * is kept.
 */
function withoutTwins(document: OpenAPIV3_1.Document): OpenAPIV3_1.Document {
  const schemas: Schemas = {};
  for (const [name, schema] of Object.entries(document.components?.schemas ?? {})) {
    const base = name.replace(/Input$/, '');
    const goesIn = name !== base;
    if (REQUESTS.includes(base) === goesIn) schemas[base] = schema;
  }
  const kept = { ...document, components: { ...document.components, schemas } };
  return JSON.parse(
    JSON.stringify(kept).replaceAll(/("#\/components\/schemas\/\w+?)Input"/g, '$1"'),
  );
}

/** The generator describes all schemas that the process has loaded: another service's too. */
function withoutUnused(document: OpenAPIV3_1.Document): OpenAPIV3_1.Document {
  const all = (document.components?.schemas ?? {}) as Schemas;
  const used = new Set<string>();
  const find = (value: unknown): void => {
    const text = JSON.stringify(value) ?? '';
    for (const [, name = ''] of text.matchAll(/"#\/components\/schemas\/(\w+)"/g)) {
      if (used.has(name)) continue;
      used.add(name);
      find(all[name]);
    }
  };
  find(document.paths);
  const schemas = Object.fromEntries(Object.entries(all).filter(([name]) => used.has(name)));
  return { ...document, components: { ...document.components, schemas } };
}
