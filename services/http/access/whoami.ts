// SPDX-License-Identifier: Apache-2.0
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { problemResponses } from '../problems/schema.ts';
import type { ClientUse } from './client.ts';
import type { Grant } from './grants.ts';
import { FLEET_SCOPES } from './scopes.ts';

const bytes = z.int().min(0);

export const whoamiSchema = z
  .object({
    name: z.string().meta({
      description:
        "A token's name, `uid:N` on the Unix socket, or `anonymous` where no tokens are in use.",
    }),
    scopes: z.array(z.enum(FLEET_SCOPES)),
    hosts: z.array(z.string()).optional().meta({
      description: 'Of a fleet: the hosts that it may use; absent: every host.',
    }),
    devices: z
      .array(
        z.object({
          name: z.string(),
          uuid: z.string().nullable().meta({ description: 'null: whatever device has that name.' }),
          resource: bytes.nullable(),
          ranges: z
            .array(z.object({ offset: bytes, size: bytes }))
            .nullable()
            .meta({ description: 'null: the whole device.' }),
          access: z.enum(['ro', 'rw']),
        }),
      )
      .nullable()
      .meta({ description: 'What it may read and write; null: every byte of every device.' }),
    peers: z.array(z.string()).nullable().meta({
      description: 'The peers that it may replicate from; null: every one.',
    }),
    limits: z
      .object({
        transfers_in_flight: z.int().min(1).nullable(),
        bytes_per_second: z.int().min(1).nullable(),
      })
      .meta({ description: "null: the daemon's own limits." }),
    use: z.object({
      transfers_in_flight: z.int().min(0).meta({ description: 'Transfers that are not over.' }),
      bytes_queued: bytes.meta({ description: 'What those that have not started will move.' }),
      bytes_available: bytes.nullable().meta({
        description: 'What it could move at once at its rate; null if that is not limited.',
      }),
    }),
  })
  .meta({ id: 'Whoami' });

export interface WhoamiOptions {
  useOf(client: string): ClientUse;
}

/** Tells a client who it is taken for. */
export const whoamiRoute: FastifyPluginAsyncZod<WhoamiOptions> = async (app, { useOf }) => {
  app.get(
    '/whoami',
    {
      config: { access: 'client' },
      schema: {
        operationId: 'whoami',
        summary: 'Who the client is, and what it may do and take',
        tags: ['health'],
        response: {
          200: whoamiSchema.meta({ description: 'The client.' }),
          ...problemResponses(),
        },
      },
    },
    async ({ client: { name, scopes, grants, peers, hosts } }) => {
      const { limits, transfersInFlight, waitingBytes, spendableBytes } = useOf(name);
      return {
        name,
        scopes: [...scopes],
        ...(hosts && { hosts: [...hosts] }),
        devices: grants?.all.map(grantDocument) ?? null,
        peers: peers === undefined ? null : [...peers],
        limits: {
          transfers_in_flight: limits.transfersInFlight ?? null,
          bytes_per_second: limits.bytesPerSecond ?? null,
        },
        use: {
          transfers_in_flight: transfersInFlight,
          bytes_queued: waitingBytes,
          bytes_available: spendableBytes ?? null,
        },
      };
    },
  );
};

function grantDocument({ name, uuid, resource, ranges, access }: Grant) {
  return {
    ...{ name, uuid: uuid ?? null, resource: resource ?? null, access },
    ranges: ranges === undefined ? null : [...ranges],
  };
}
