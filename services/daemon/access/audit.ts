// SPDX-License-Identifier: Apache-2.0
import { TLSSocket } from 'node:tls';
import type { FastifyBaseLogger, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';
import type { Operation } from '../engines/records.ts';
import { syncHook } from '../http/sync-hook.ts';
import type { ProblemCode } from '../problems/problem.ts';
import type { Touch, Touches } from './authorize.ts';
import type { Scope } from './scopes.ts';

/** A transfer may have thousands of segments; of those beyond, the line says how many. */
const MAX_RANGES = 16;
/** What changes something or gives bytes away. Looking at transfers and metrics does neither. */
const AUDITED: readonly unknown[] = [
  'transfers:write',
  'content:read',
  'content:write',
] satisfies Scope[];
const REFUSED = [401, 403, 421];

/** `unfinished`: the client left, or was left, before it had the whole answer. */
type Outcome = 'refused' | 'done' | 'failed' | 'unfinished';

/**
 * One line for each request that was refused, or that was for bytes or for copying them: who, what,
 * which bytes, and how it ended. The end of a transfer that outlives its request is in the daemon's
 * own log, under the same id. Nothing that a client proves itself with is ever in it.
 */
export default fp<{ audit: FastifyBaseLogger }>(
  async (app, { audit }) => {
    app.decorateRequest('peer');
    app.decorateRequest('touches');
    app.decorateRequest('problem');
    app.decorateRequest('transferId');
    app.decorateRequest('operation');
    app.decorateRequest('audited');

    app.addHook(
      'onRequest',
      syncHook((request, reply) => {
        const { socket } = request.raw;
        const certificate =
          socket instanceof TLSSocket ? socket.getPeerCertificate().subject : undefined;
        // Noted now: a connection that has gone does not tell.
        request.peer = { address: socket.remoteAddress ?? null, certificate };
        reply.raw.once('close', () => {
          const { headersSent, statusCode, writableFinished } = reply.raw;
          if (!writableFinished) note(request, headersSent ? statusCode : null, 'unfinished');
        });
      }),
    );
    app.addHook('onResponse', (request, reply, done) => {
      const status = reply.raw.statusCode;
      note(request, status, outcomeOf(status));
      done();
    });

    /** @param status null where the client left before it had any */
    function note(request: FastifyRequest, status: number | null, outcome: Outcome): void {
      const { access } = request.routeOptions.config;
      if (request.audited || (outcome !== 'refused' && !AUDITED.includes(access))) return;
      request.audited = true;
      const { touches } = request;
      audit.info(
        {
          request: request.id,
          // Nobody where the request was refused before it was known whose it is.
          client: request.client?.name ?? null,
          // Not there where the request was refused before any hook ran.
          address: request.peer?.address,
          certificate: request.peer?.certificate,
          method: request.method,
          path: request.url.split('?', 1)[0],
          transfer: request.transferId,
          operation: request.operation,
          ranges: touches && describeFirst(touches),
          further_ranges: touches && furtherThan(touches),
          outcome,
          status,
          code: request.problem,
        },
        'audit',
      );
    }
  },
  { name: 'audit' },
);

function outcomeOf(status: number): Outcome {
  if (REFUSED.includes(status)) return 'refused';
  return status < 400 ? 'done' : 'failed';
}

function describeFirst(touches: Touches) {
  const ranges: ReturnType<typeof describeTouch>[] = [];
  for (let index = 0; index < Math.min(touches.length, MAX_RANGES); index++) {
    ranges.push(describeTouch(touches.at(index) as Touch));
  }
  return ranges;
}

/** Undefined, and so left out, where there are none. */
function furtherThan({ length }: Touches): number | undefined {
  return length > MAX_RANGES ? length - MAX_RANGES : undefined;
}

function describeTouch({ device, offset, size, write }: Touch) {
  return { device, offset, size, access: write ? 'write' : 'read' };
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Where it comes from, and what its certificate says where one was asked for. */
    peer: { address: string | null; certificate: object | undefined };
    /** What it touches, as far as that is known. */
    touches: Touches | undefined;
    /** What it was answered with, where that was a problem. */
    problem: ProblemCode | undefined;
    /** The transfer that it made or cancelled. */
    transferId: string | undefined;
    /** What such a transfer does. */
    operation: Operation | undefined;
    /** Whether its line is in the audit log: the connection may close behind the answer, or before. */
    audited: boolean | undefined;
  }
}
