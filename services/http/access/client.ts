// SPDX-License-Identifier: Apache-2.0

import type { ServerResponse } from 'node:http';
import { Slots } from '../../base/slots.ts';
import type { Grants } from './grants.ts';
import { SCOPES, type Scope } from './scopes.ts';

/** What a client may take of the daemon; absent: what the daemon has. */
export interface ClientLimits {
  /** Transfers that are not over. */
  transfersInFlight?: number | undefined;
  bytesPerSecond?: number | undefined;
}

/** What a client has taken of what it may take, now. */
export interface ClientUse {
  limits: ClientLimits;
  /** Transfers that are not over. */
  transfersInFlight: number;
  /** Bytes of what is accepted and has not started. */
  waitingBytes: number;
  /** Bytes that it could move at once; undefined if its rate is not limited. */
  spendableBytes: number | undefined;
  /** Milliseconds until what it moved as it came is paid for. */
  owedMs: number;
}

/** Who sends a request, and what it may do. */
export interface Client {
  /**
   * A token's name, or `uid:N` on the Unix socket; {@link ANONYMOUS} for everybody where no tokens are
   * in use. It says whose transfers are whose.
   */
  readonly name: string;
  readonly scopes: ReadonlySet<Scope>;
  /** Undefined: every byte of every device. */
  readonly grants: Grants | undefined;
  /** The peers that it may replicate from; undefined: every one. */
  readonly peers?: ReadonlySet<string> | undefined;
  /** Of a fleet, the hosts that it may use; undefined: every host. */
  readonly hosts?: ReadonlySet<string> | undefined;
  /** Answers to it that are under way: they end where it may no longer do what it could. */
  readonly answers: Slots<ServerResponse>;
}

/** Everybody, where no tokens are in use. No token can have this name. */
export const ANONYMOUS = 'anonymous';

/** The name of a user on the Unix socket. No token can have such a name. */
export function nameOfUid(uid: number): string {
  return `uid:${uid}`;
}

/** A client that may do everything. */
export function trustedClient(name: string, scopes: readonly Scope[] = SCOPES): Client {
  return {
    name,
    scopes: new Set(scopes),
    grants: undefined,
    answers: new Slots(),
  };
}
