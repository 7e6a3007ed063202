// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from '@jest/globals';
import type { FastifyError } from 'fastify';
import { asProblem } from '../../../../services/http/problem-handler.ts';
import {
  fieldProblem,
  PROBLEMS,
  Problem,
  type ProblemCode,
  problemDetails,
} from '../../../../services/http/problems/problem.ts';
import { problemResponses, problemSchema } from '../../../../services/http/problems/schema.ts';

const CODES = Object.keys(PROBLEMS) as ProblemCode[];

/** The HTTP contract's table, typed here again: a status that changes is a contract that does. */
const CONTRACT: Record<string, number> = {
  invalid_request: 400,
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  method_not_allowed: 405,
  not_acceptable: 406,
  request_timeout: 408,
  not_cancellable: 409,
  host_in_use: 409,
  not_changeable: 409,
  unknown_transfer: 422,
  unknown_peer: 422,
  dependency_failed: 424,
  cancelled: 409,
  source_incomplete: 409,
  precondition_failed: 412,
  payload_too_large: 413,
  unsupported_media_type: 415,
  range_not_satisfiable: 416,
  expectation_failed: 417,
  misdirected_request: 421,
  unknown_host: 422,
  unknown_device: 422,
  out_of_range: 422,
  overlapping_ranges: 422,
  bad_block: 422,
  digest_mismatch: 422,
  engine_unavailable: 422,
  idempotency_key_reused: 422,
  queue_full: 429,
  too_many_refusals: 429,
  headers_too_large: 431,
  internal_error: 500,
  unsupported_transfer_coding: 501,
  dma_error: 502,
  verify_mismatch: 502,
  media_error: 502,
  peer_unreachable: 502,
  peer_refused: 502,
  source_changing: 502,
  host_unreachable: 503,
  etcd_unavailable: 503,
  device_gone: 503,
  interrupted: 503,
  journal_unavailable: 503,
  overloaded: 503,
  shutting_down: 503,
  timeout: 504,
  expired: 504,
  storage_full: 507,
};

describe('the table of problems', () => {
  test.each(CODES)('%s has the status of the contract, and a title', (code) => {
    const { status, title } = PROBLEMS[code];
    expect(status).toBe(CONTRACT[code]);
    expect(title).toMatch(/^[A-Z].*[^.]$/);
    expect(code).toMatch(/^[a-z]+(_[a-z]+)*$/);
  });

  test('each is a document of the published schema', () => {
    for (const code of CODES) {
      const problem = new Problem(code, 'What is wrong.', {
        errors: [{ pointer: '/a', detail: 'b' }],
      });
      const details = problemDetails(problem, 'some-id');
      expect(problemSchema.parse(details)).toEqual(details);
      expect(details).toEqual({
        type: `/problems/${code}`,
        title: PROBLEMS[code].title,
        status: PROBLEMS[code].status,
        detail: 'What is wrong.',
        instance: 'urn:dmad:request:some-id',
        code,
        errors: [{ pointer: '/a', detail: 'b' }],
      });
    }
    expect(problemDetails(new Problem('not_found', ''), 'x')).not.toHaveProperty('errors');
  });

  test('a problem about a field says so in both places', () => {
    const problem = fieldProblem('out_of_range', '/size', 'Too much.');
    expect(problem.status).toBe(422);
    expect(problem.message).toBe('Too much.');
    expect(problem.options.errors).toEqual([{ pointer: '/size', detail: 'Too much.' }]);
  });
});

describe('asProblem', () => {
  const fastifyError = (members: Partial<FastifyError>, message = 'Some reason') =>
    asProblem(Object.assign(new Error(message), members) as FastifyError);

  test('leaves a problem as it is', () => {
    const problem = new Problem('queue_full', 'x');
    expect(asProblem(problem)).toBe(problem);
  });

  test.each<[Partial<FastifyError>, ProblemCode]>([
    [{ code: 'FST_ERR_CTP_INVALID_MEDIA_TYPE', statusCode: 415 }, 'unsupported_media_type'],
    [{ code: 'FST_ERR_CTP_BODY_TOO_LARGE', statusCode: 413 }, 'payload_too_large'],
    [{ code: 'FST_ERR_BAD_URL', statusCode: 400 }, 'invalid_request'],
    [{ code: 'FST_ERR_CTP_INVALID_CONTENT_LENGTH', statusCode: 400 }, 'invalid_request'],
    [{ code: 'FST_ERR_NOT_FOUND', statusCode: 404 }, 'not_found'],
    [{ statusCode: 405 }, 'method_not_allowed'],
    [{ statusCode: 431 }, 'headers_too_large'],
  ])('%j is %s', (members, code) => {
    expect(fastifyError(members).code).toBe(code);
  });

  test.each<[Partial<FastifyError>]>([
    [{}],
    [{ statusCode: 500 }],
    [{ statusCode: 502 }],
    [{ statusCode: 503 }],
    [{ statusCode: 418 }],
    [{ statusCode: 200 }],
    [{ code: 'ENOENT' }],
  ])('%j is internal, and tells nothing of the inside', (members) => {
    const problem = fastifyError(members, "open '/etc/secret'");
    expect(problem.code).toBe('internal_error');
    expect(JSON.stringify(problemDetails(problem, 'x'))).not.toContain('secret');
  });
});

test('problemResponses names every code under its status', () => {
  const responses = problemResponses('not_found', 'not_cancellable', 'cancelled');
  expect(Object.keys(responses)).toEqual(expect.arrayContaining(['404', '409']));
  expect(responses[409]?.description).toContain('not_cancellable');
  expect(responses[409]?.description).toContain('`cancelled`');
  expect(responses[404]?.content).toHaveProperty(['application/problem+json']);
});
