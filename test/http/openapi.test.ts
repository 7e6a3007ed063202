// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { OpenAPIV3_1 } from 'openapi-types';
import { EXAMPLES, QUEUED_ID } from '../../services/daemon/openapi/examples.ts';
import { QUEUED_REPLICATION_ID } from '../../services/daemon/openapi/replication-examples.ts';
import type { Example } from '../../services/http/openapi/examples.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { answersWithoutExample } from '../support/examples.ts';
import { writePeers } from '../support/peers.ts';

const DAEMON = 'http://127.0.0.1';

describe('the OpenAPI document', () => {
  let app: TestApp;
  /** Another daemon, to replicate from. */
  let peer: TestApp;
  let base: string;
  let document: OpenAPIV3_1.Document;

  beforeAll(async () => {
    // The devices that the examples speak of: those that a fresh machine gets.
    const environment = { DMAD_DEVICES: 'auto' };
    peer = await startTestApp({ environment, sysfsRoot: '/nonexistent' });
    const url = `${DAEMON}:${await peer.listen()}`;
    const directory = mkdtempSync(join(tmpdir(), 'dmad-test-'));
    const DMAD_PEERS_FILE = writePeers(directory, [{ name: 'hostb', url }]);
    app = await startTestApp({
      environment: { ...environment, DMAD_PEERS_FILE },
      sysfsRoot: '/nonexistent',
    });
    rmSync(directory, { recursive: true });
    base = `${DAEMON}:${await app.listen()}`;
    document = (await (await fetch(`${base}/openapi.json`)).json()) as OpenAPIV3_1.Document;
  });
  afterAll(async () => {
    await app.close();
    await peer.close();
  });

  test('is what is committed; `npm run openapi` brings it up to date', () => {
    expect(JSON.parse(readFileSync('openapi/openapi.json', 'utf8'))).toEqual(document);
  });

  test('names, explains and exemplifies every operation', () => {
    const seen = operations(document);
    expect(new Set(seen.map(({ operation }) => operation.operationId)).size).toBe(seen.length);
    for (const { operation, method } of seen) {
      const safe = method === 'get';
      expect(operation).toMatchObject({ summary: expect.any(String), tags: [expect.any(String)] });
      expect(Object.keys(EXAMPLES)).toContain(operation.operationId);
      // 417 of any Expect; where a body may come, it may be late, too large, or of another type.
      const ofBodies = safe ? [] : ['408', '412', '413', '415'];
      for (const common of ['400', '406', '417', '421', '500', ...ofBodies]) {
        expect(Object.keys(operation.responses ?? {})).toContain(common);
      }
    }
    expect(Object.keys(EXAMPLES).sort()).toEqual(
      seen.map(({ operation }) => operation.operationId).sort(),
    );
  });

  test('leaves answers room to grow, and holds requests to what they may be', () => {
    const { schemas = {} } = document.components ?? {};
    const { TransferRequest, TransferPatch, CalibrationRequest, ...more } = schemas;
    const { ReplicationRequest, ReplicationPatch, ...others } = more;
    const { BatchedTransferRequest, TransferBatch, ...answers } = others;
    const batch = [BatchedTransferRequest, TransferBatch, ReplicationRequest, ReplicationPatch];
    for (const request of [TransferRequest, TransferPatch, CalibrationRequest, ...batch]) {
      expect(JSON.stringify(request)).toContain('"additionalProperties":false');
    }
    const responses = operations(document).map(({ operation }) => operation.responses);
    const text = JSON.stringify([answers, responses], (key, value) =>
      key.startsWith('example') ? undefined : value,
    );
    expect(text).not.toMatch(/"additionalProperties":false|"enum":|"const":"/);
    expect(text).toContain('"x-extensible-enum":["queued","running",');
    expect(document.info.description).toContain('ignore members and values');
  });

  test('names its server relative to itself, behind whatever prefix', async () => {
    for (const path of ['openapi.json', 'docs/json']) {
      const url = `${base}/${path}`;
      const { servers = [] } = (await (await fetch(url)).json()) as OpenAPIV3_1.Document;
      expect(new URL(servers[0]?.url as string, url).href).toBe(`${base}/`);
      expect(servers[0]?.url).not.toMatch(/^\//);
    }
  });

  // What a daemon says before it has started is in start.test.ts.
  const all = Object.entries(EXAMPLES).flatMap(([operationId, examples]) =>
    Object.entries(examples)
      .filter(([name]) => name !== 'starting')
      .map(([name, example]): [string, string, Example] => [operationId, name, example]),
  );

  test('exemplifies each answer that is JSON', () => {
    expect(answersWithoutExample(document)).toEqual([]);
  });

  // Swagger UI sends them with the first body: `Prefer` of another example would change the answer.
  test('fills in no header but those of the first example', () => {
    for (const { operation } of operations(document)) {
      const [first] = Object.values(EXAMPLES[operation.operationId as string] ?? {});
      for (const parameter of operation.parameters ?? []) {
        if (!('in' in parameter) || parameter.in !== 'header') continue;
        const { name, example } = parameter;
        const { operationId } = operation;
        expect({ operationId, name, example }).toEqual({
          ...{ operationId, name, example: first?.parameters?.[name] },
        });
      }
    }
  });

  test.each(all)('%s, example %s, is true', async (operationId, _name, example) => {
    const accepted = example.status === 202;
    const queuedId = [QUEUED_ID, QUEUED_REPLICATION_ID].find(
      (each) => each === example.parameters?.id,
    );
    const replicates = operationId.includes('Replication');
    const waits = accepted || queuedId !== undefined;
    const blocker = waits ? await app.block(replicates ? 'dax1.0' : 'dax0.0') : undefined;
    const queued = () => (replicates ? queuedReplication() : queuedTransfer());
    const finished = () => (replicates ? finishedReplication() : finishedTransfer());
    const id = accepted ? '' : await (waits ? queued() : finished());
    const found = operations(document).find((each) => each.operation.operationId === operationId);
    const request = makeRequest(found as Found, example, id);
    const first = example.status === 200 && example.parameters?.['idempotency-key'];
    if (first) expect((await fetch(`${base}${request.path}`, request)).status).toBe(201);
    const streaming = operationId === 'watchTransfers';
    const abort = new AbortController();
    const response = await fetch(`${base}${request.path}`, { ...request, signal: abort.signal });
    await blocker?.release();
    expect(response.status).toBe(example.status);
    const type = example.contentType ?? 'application/json';
    expect(response.headers.get('content-type')).toContain(type);
    if (streaming) {
      await finishedTransfer();
      let text = '';
      for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
        text += Buffer.from(chunk).toString();
        if (text.includes('\nevent: ') && text.endsWith('\n\n')) break;
      }
      abort.abort();
      const first = text.split('\n\n').find((block) => block.includes('\nevent: '));
      // A transfer that has just been accepted: no times, no verification yet.
      expect(Object.keys(eventData(`${first}\n\n`))).toEqual(
        Object.keys(eventData(example.response as string)),
      );
      return;
    }
    if (type === 'text/event-stream') {
      const text = await response.text();
      expect(shapeOf(eventData(text))).toEqual(shapeOf(eventData(example.response as string)));
    } else if (type === 'text/plain') {
      const text = await response.text();
      for (const line of (example.response as string).trim().split('\n')) {
        expect(text.split('\n')).toContain(line);
      }
    } else if (operationId === 'getOpenApi') {
      expect(await response.json()).toMatchObject(example.response as object);
    } else if (example.response !== undefined) {
      const answer = (await response.json()) as object;
      expect(shapeOf(answer)).toEqual(shapeOf(example.response));
      if (type === 'application/problem+json') {
        const { code, title } = example.response as { code: string; title: string };
        expect(answer).toMatchObject({ code, title, type: `/problems/${code}` });
      }
    } else {
      expect((await response.arrayBuffer()).byteLength).toBe(4096);
    }
  });

  /** One that waits for another one. */
  async function queuedTransfer(): Promise<string> {
    const body = EXAMPLES.createTransfer?.verified?.body as object;
    await app.post(body, { prefer: 'respond-async' });
    return (await app.post(body, { prefer: 'respond-async' })).json().id;
  }

  async function queuedReplication(): Promise<string> {
    const body = EXAMPLES.createReplication?.delta?.body as object;
    const headers = { prefer: 'respond-async' };
    return (
      await app.inject({ method: 'POST', url: '/replications', payload: body, headers })
    ).json().id;
  }

  function finishedTransfer(): Promise<string> {
    return finished('/transfers', EXAMPLES.createTransfer?.verified?.body);
  }

  /** A second one, so that the list has a next page. */
  async function finishedReplication(): Promise<string> {
    const body = EXAMPLES.createReplication?.delta?.body;
    await finished('/replications', body);
    return finished('/replications', body);
  }

  async function finished(path: string, body: unknown): Promise<string> {
    const response = await fetch(`${base}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', prefer: 'wait=60' },
      body: JSON.stringify(body),
    });
    expect(response.status).toBe(201);
    return ((await response.json()) as { id: string }).id;
  }
});

interface Found {
  path: string;
  method: string;
  operation: OpenAPIV3_1.OperationObject;
}

function operations(document: OpenAPIV3_1.Document): Found[] {
  return Object.entries(document.paths ?? {}).flatMap(([path, item]) =>
    Object.entries(item ?? {}).map(([method, operation]) => ({
      path,
      method,
      operation: operation as OpenAPIV3_1.OperationObject,
    })),
  );
}

/** @param id of the transfer that the example is about */
function makeRequest({ path, method, operation }: Found, example: Example, id: string) {
  const query = new URLSearchParams();
  const headers: Record<string, string> = {};
  let filled = path;
  for (const parameter of (operation.parameters ?? []) as OpenAPIV3_1.ParameterObject[]) {
    const given = example.parameters?.[parameter.name];
    if (given === undefined) continue;
    const value = parameter.name === 'id' && example.status !== 404 ? id : given;
    if (parameter.in === 'path') filled = filled.replace(`{${parameter.name}}`, value);
    if (parameter.in === 'query') query.set(parameter.name, value);
    if (parameter.in === 'header') headers[parameter.name] = value;
  }
  const { body } = example;
  if (body !== undefined) {
    const [type] = Object.keys((operation.requestBody as OpenAPIV3_1.RequestBodyObject).content);
    headers['content-type'] = type as string;
  }
  return {
    path: query.size > 0 ? `${filled}?${query}` : filled,
    method: method.toUpperCase(),
    headers,
    ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  };
}

function eventData(text: string): object {
  const found = /^id: \S+\nevent: status\ndata: (.*)\n\n/m.exec(text);
  return JSON.parse(found?.[1] ?? '');
}

/** The types and member names of a value, without what changes from run to run. */
function shapeOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(shapeOf);
  if (typeof value !== 'object' || value === null) return value === null ? null : typeof value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, shapeOf(member)]));
}
