// SPDX-License-Identifier: Apache-2.0
import { TLSSocket } from 'node:tls';
import type { FastifyReply, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';
import type { Operation } from '../../base/vocabulary.ts';
import { ANSWERED } from '../lingering-close.ts';
import type { ProblemCode } from '../problems/problem.ts';
import { routeOf } from '../route-of.ts';
import { syncHook } from '../sync-hook.ts';
import { readTraceContext } from '../trace-context.ts';
import type { Touch, Touches } from './authorize.ts';
import { nameOfUid } from './client.ts';
import { type RouteAccess, type Scope, scopesOf } from './scopes.ts';

/** A transfer may have thousands of segments; for further ones, the line has their number. */
const MAX_RANGES = 16;
/** What writes, copies or returns bytes, or changes a fleet. Reading transfers and metrics does not. */
const AUDITED: readonly Scope[] = [
  'transfers:write',
  'content:read',
  'content:write',
  'fleet:admin',
];
const REFUSED = [401, 403, 421];

/** `unfinished`: the connection closed before the client had the whole answer. */
type Outcome = 'refused' | 'done' | 'failed' | 'unfinished';

interface AuditOptions {
  /** Writes a line with these members; undefined ones are left out. */
  audit(entry: Readonly<Record<string, unknown>>): void;
}

/**
 * One line for each request that was refused, or that was for bytes or for copying them: who, what,
 * which bytes, and how it ended. The end of a transfer that outlives its request is in the daemon's
 * own log, under the same id. It never holds a token or any other secret.
 */
export default fp<AuditOptions>(
  async (app, { audit }) => {
    app.decorateRequest('peer');
    app.decorateRequest('touches');
    app.decorateRequest('problem');
    app.decorateRequest('transferId');
    app.decorateRequest('transferIds');
    app.decorateRequest('replicationId');
    app.decorateRequest('operation');
    app.decorateRequest('audited');

    app.addHook(
      'onRequest',
      syncHook((request, reply) => {
        const { socket } = request.raw;
        const certificate =
          socket instanceof TLSSocket ? socket.getPeerCertificate().subject : undefined;
        // Noted now: a closed connection has no address any more.
        request.peer = { address: socket.remoteAddress ?? null, certificate, uid: undefined };
        const { raw } = reply;
        raw.once(ANSWERED, () => noteAnswered(request, reply));
        raw.once('close', () => {
          const { headersSent, statusCode, writableFinished } = raw;
          if (writableFinished) return;
          // Refused is refused, whether its client has read that or not.
          if (headersSent && REFUSED.includes(statusCode)) noteAnswered(request, reply);
          else note(request, headersSent ? statusCode : null, 'unfinished');
        });
      }),
    );
    app.addHook('onResponse', (request, reply, done) => {
      noteAnswered(request, reply);
      done();
    });

    function noteAnswered(request: FastifyRequest, { raw }: FastifyReply): void {
      note(request, raw.statusCode, outcomeOf(raw.statusCode));
    }

    /** @param status null if the connection closed before there was one */
    function note(request: FastifyRequest, status: number | null, outcome: Outcome): void {
      const { access } = routeOf(request).config;
      if (request.audited || (outcome !== 'refused' && !isAudited(access))) return;
      request.audited = true;
      const { touches } = request;
      const trace = readTraceContext(request.headers);
      audit({
        request: request.id,
        // Null if the request was refused before its client was identified.
        client: nameOf(request),
        // Absent if the request was refused before any hook ran.
        address: request.peer?.address,
        certificate: request.peer?.certificate,
        traceparent: trace?.traceparent,
        tracestate: trace?.tracestate,
        method: request.method,
        path: request.url.split('?', 1)[0],
        transfer: request.transferId,
        transfers: request.transferIds,
        replication: request.replicationId,
        operation: request.operation,
        ranges: touches && describeFirst(touches),
        further_ranges: touches && furtherThan(touches),
        outcome,
        status,
        code: request.problem,
      });
    }
  },
  { name: 'audit' },
);

function isAudited(access: RouteAccess | undefined): boolean {
  return access !== undefined && scopesOf(access).some((scope) => AUDITED.includes(scope));
}

/** Who sent it: on the Unix socket the user, though everybody may be one client. */
function nameOf({ client, peer }: FastifyRequest): string | null {
  return peer?.uid === undefined ? (client?.name ?? null) : nameOfUid(peer.uid);
}

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

/** Undefined, and so left out, if there are none. */
function furtherThan({ length }: Touches): number | undefined {
  return length > MAX_RANGES ? length - MAX_RANGES : undefined;
}

function describeTouch({ host, device, offset, size, write }: Touch) {
  return { host, device, offset, size, access: write ? 'write' : 'read' };
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Where it comes from; its certificate's subject if one was asked for. */
    peer: {
      address: string | null;
      certificate: object | undefined;
      /** Of who is on the other end of the Unix socket. */
      uid: number | undefined;
    };
    /** The bytes it reads or writes, once they are known. */
    touches: Touches | undefined;
    /** The code of the problem it was answered with, if any. */
    problem: ProblemCode | undefined;
    /** The transfer that it made or cancelled. */
    transferId: string | undefined;
    /** Those of a batch. */
    transferIds: readonly string[] | undefined;
    /** The replication that it made, changed or cancelled. */
    replicationId: string | undefined;
    /** What such a transfer does. */
    operation: Operation | undefined;
    /** Whether its audit line is written: both the answer's end and the connection's close ask. */
    audited: boolean | undefined;
  }
}
