// SPDX-License-Identifier: Apache-2.0
import { randomUUID } from 'node:crypto';
import http from 'node:http';
import type { Duplex } from 'node:stream';
import { lingerUntil } from './lingering-close.ts';
import { PROBLEM_TYPE } from './problem-handler.ts';
import { PROBLEMS, type Problem, problemDetails } from './problems/problem.ts';

/** Answers with a problem where there is no response to do so, and closes the connection. */
export function endWithProblem(socket: Duplex, problem: Problem): void {
  const { head, body } = renderProblem(problem);
  const fields = Object.entries(head.fields).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.end(
    `HTTP/1.1 ${head.status} ${http.STATUS_CODES[head.status]}\r\n${fields.join('')}\r\n${body}`,
  );
  endGently(socket);
}

/** Closes a connection once its client has what was written: bytes left unread would reset it. */
export function endGently(socket: Duplex): void {
  socket.end();
  socket.resume();
  lingerUntil(socket, socket, () => socket.destroy());
}

/** A problem as a whole answer, behind which the connection is closed. */
export function renderProblem(problem: Problem) {
  const requestId = randomUUID();
  const body = JSON.stringify(problemDetails(problem, requestId));
  const fields = {
    ...problem.options.headers,
    'content-type': PROBLEM_TYPE,
    'content-length': String(Buffer.byteLength(body)),
    'cache-control': 'no-store',
    'x-request-id': requestId,
    date: new Date().toUTCString(),
    connection: 'close',
  };
  return { head: { status: PROBLEMS[problem.code].status, fields }, body };
}
