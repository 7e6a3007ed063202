// SPDX-License-Identifier: Apache-2.0
import type { FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { ByteRange } from '../../base/byte-range.ts';
import { deviceNameOf } from '../../base/device-name.ts';
import {
  checksumQuerySchema,
  checksumSchema,
  deviceParams,
  deviceSchema,
  READ_PROBLEMS,
  uploadProblemSchema,
  uploadQuerySchema,
  uploadResultSchema,
  WRITE_PROBLEMS,
} from '../../daemon/devices/schema.ts';
import { digestPageSchema, digestsQuerySchema } from '../../daemon/digests/schema.ts';
import { findRange, rangeAsked, readRange } from '../../http/content-range.ts';
import {
  bodyLength,
  OCTETS,
  octetsAnswer,
  octetsBody,
  rangeHeader,
  takeOctets,
} from '../../http/octets.ts';
import { Problem } from '../../http/problems/problem.ts';
import { problemResponses, problemResponsesWith } from '../../http/problems/schema.ts';
import { checkConditions } from '../../http/semantics.ts';
import { StreamSlots } from '../../http/stream-slots.ts';
import { wantReprDigestHeader } from '../../http/want-digest.ts';
import { type HostGrants, mayUseHost } from '../access/hosts.ts';
import type { Fleet } from './fleet.ts';
import type { HostLink } from './host-link.ts';
import type { HostLookup } from './lookup.ts';
import { passThrough } from './pass-through.ts';
import { hostParams, type Seen } from './schema.ts';

export interface ContentRoutesOptions {
  lookup: HostLookup;
  fleet: Fleet;
  grants: HostGrants;
}

const params = hostParams.extend(deviceParams.shape);
const DOWNLOAD_PROBLEMS = [
  ...(['out_of_range', ...READ_PROBLEMS, 'host_unreachable', 'etcd_unavailable'] as const),
] as const;
/** As long as a body that is no upload may take to send something. */
const IDLE_MS = 10_000;

type Device = Seen['devices'][number];

/** A device of a host, as a client may see it. */
interface Target {
  link: HostLink;
  device: Device;
  /** Of the device on the host. */
  path: string;
}

/** Passes the bytes of hosts' devices through, once the client's right to them is checked. */
export const contentRoutes: FastifyPluginAsyncZod<ContentRoutesOptions> = async (
  app,
  { lookup, fleet, grants },
) => {
  const streams = new StreamSlots('streams of content');

  /** @throws Problem not_found, forbidden, host_unreachable, etcd_unavailable */
  async function find(
    request: FastifyRequest<{ Params: { host: string; name: string } }>,
    write = false,
  ): Promise<Target> {
    const { host } = request.params;
    const name = deviceNameOf(request.params.name);
    const known = mayUseHost(request.client, host) && (await lookup.has(host));
    const link = known ? fleet.link(host) : undefined;
    if (link === undefined) {
      throw new Problem('not_found', 'There is no such host; GET /hosts lists them.');
    }
    await grants.authorize(request, [{ host, device: name, offset: 0, size: 0, write }]);
    const device = await link.device(name);
    link.checkReachable();
    if (device === undefined) {
      throw new Problem('not_found', `Host ${host} has no such device; GET /devices lists them.`);
    }
    return { link, device, path: `/devices/${encodeURIComponent(name)}` };
  }

  function authorize(
    request: FastifyRequest<{ Params: { host: string; name: string } }>,
    { offset, size }: ByteRange,
    write = false,
  ): Promise<void> {
    const { host, name: device } = request.params;
    return grants.authorize(request, [{ host, device, offset, size, write }], () => '/offset');
  }

  /** What a host is asked for beside the bytes: a digest of all of them is not for everybody. */
  function wantedDigest(
    { client, params, headers }: FastifyRequest<{ Params: { host: string } }>,
    { name, size }: Device,
  ): Record<string, string> {
    const wanted = headers['want-repr-digest'];
    const mayReadAll =
      grants.of(client, params.host)?.allow(name, { offset: 0, size }, false) ?? true;
    return wanted === undefined || !mayReadAll ? {} : { 'want-repr-digest': String(wanted) };
  }

  app.get(
    '/hosts/:host/devices/:name',
    {
      config: { access: 'client' },
      schema: {
        operationId: 'getDevice',
        summary: 'Describe a device of a host',
        tags: ['hosts'],
        params,
        response: {
          200: deviceSchema.meta({ description: 'The device, as it was seen last.' }),
          ...problemResponses('not_found', 'host_unreachable', 'etcd_unavailable'),
        },
      },
    },
    async (request) => (await find(request)).device,
  );

  app.get(
    '/hosts/:host/devices/:name/content',
    {
      config: { access: 'content:read', kind: 'content', produces: [OCTETS] },
      schema: {
        operationId: 'readContent',
        summary: "Read a device's bytes",
        description: 'Through the gateway, as the host sends them.',
        tags: ['hosts'],
        params,
        headers: z.object({
          range: rangeHeader,
          'want-repr-digest': wantReprDigestHeader,
        }),
        response: {
          200: { description: 'All bytes.', ...octetsAnswer },
          206: { description: 'The bytes of the range.', ...octetsAnswer },
          ...problemResponses(...DOWNLOAD_PROBLEMS, 'range_not_satisfiable'),
        },
      },
    },
    async (request, reply) => {
      const { link, device, path } = await find(request);
      const whole = { offset: 0, size: device.size };
      // Range is for GET (RFC 9110, 14.2); HEAD with one needs access to those bytes, and tells of
      // the whole.
      const head = request.method === 'HEAD';
      const asked = rangeAsked(request.headers);
      const range = head ? undefined : readRange(asked, device.size);
      const named = head ? findRange(asked, device.size) : range;
      await authorize(request, named === undefined || named === 'outside' ? whole : named);
      const { offset, size } = range ?? whole;
      const headers = {
        ...(range && { range: `bytes=${offset}-${offset + size - 1}` }),
        ...wantedDigest(request, device),
      };
      // The device may be another by now: what comes must be what the client has a right to.
      const expected = range ? `bytes ${offset}-${offset + size - 1}/` : String(size);
      return streams.use(request.client.name, () =>
        passThrough(request, reply, link, {
          ...{ path: `${path}/content`, headers, query: {} },
          accepts: ({ 'content-range': given, 'content-length': length }) =>
            range ? String(given).startsWith(expected) : String(length) === expected,
        }),
      );
    },
  );

  app.get(
    '/hosts/:host/devices/:name/checksum',
    {
      config: { access: 'content:read', kind: 'content' },
      schema: {
        operationId: 'checksumContent',
        summary: "Compute the CRC-32C of a device's bytes",
        description: 'On the host.',
        tags: ['hosts'],
        params,
        querystring: checksumQuerySchema,
        response: {
          200: checksumSchema.meta({ description: 'The checksum, as 8 hex digits.' }),
          ...problemResponses(...DOWNLOAD_PROBLEMS),
        },
      },
    },
    async (request, reply) => {
      const { link, device, path } = await find(request);
      const { offset, size = Math.max(device.size - offset, 1) } = request.query;
      await authorize(request, { offset, size });
      return streams.use(request.client.name, () =>
        passThrough(request, reply, link, { path: `${path}/checksum`, query: { offset, size } }),
      );
    },
  );

  app.get(
    '/hosts/:host/devices/:name/digests',
    {
      config: {
        ...{ access: 'content:read', kind: 'content' as const },
        produces: ['application/json', OCTETS],
      },
      schema: {
        operationId: 'digestContent',
        summary: "Compute the SHA-256 of each block of a device's bytes",
        description:
          'On the host. `Accept: application/octet-stream` gives the digests themselves.',
        tags: ['hosts'],
        params,
        querystring: digestsQuerySchema,
        response: {
          200: {
            description: 'The digests.',
            content: { 'application/json': { schema: digestPageSchema }, ...octetsAnswer.content },
          },
          ...problemResponses(...DOWNLOAD_PROBLEMS),
        },
      },
    },
    async (request, reply) => {
      const { link, device, path } = await find(request);
      const { offset, size = Math.max(device.size - offset, 1), ...others } = request.query;
      await authorize(request, { offset, size });
      const { accept } = request.headers;
      return streams.use(request.client.name, () =>
        passThrough(request, reply, link, {
          ...{ path: `${path}/digests`, query: { offset, size, ...others } },
          ...(accept !== undefined && { headers: { accept } }),
        }),
      );
    },
  );

  await app.register(async (uploads) => {
    takeOctets(uploads, IDLE_MS);
    (uploads as typeof app).put(
      '/hosts/:host/devices/:name/content',
      {
        config: { access: 'content:write', kind: 'content', streamsBody: true },
        schema: {
          operationId: 'writeContent',
          summary: "Write a device's bytes",
          description:
            'Through the gateway, in order with the transfers that the host has by then.',
          tags: ['hosts'],
          consumes: [OCTETS],
          params,
          querystring: uploadQuerySchema,
          headers: z.object({
            'content-digest': z.string().optional().meta({
              description:
                'RFC 9530, with `sha-256` or `crc32c`: the host compares the body with it.',
            }),
          }),
          body: octetsBody,
          response: {
            200: uploadResultSchema.meta({ description: 'All of it is written.' }),
            ...problemResponses('not_found', 'unsupported_media_type'),
            ...problemResponsesWith(
              uploadProblemSchema,
              ...WRITE_PROBLEMS,
              ...(['host_unreachable', 'etcd_unavailable'] as const),
            ),
          },
        },
      },
      async (request, reply) => {
        const { link, device, path } = await find(request, true);
        const { offset, durability } = request.query;
        const length = bodyLength(request);
        // A body of unknown length may go on to the device's end, as it was seen last.
        const size = length ?? Math.max(device.size - offset, 1);
        await authorize(request, { offset, size }, true);
        checkConditions(request);
        const limited = length === undefined && request.client.grants !== undefined;
        const digest = request.headers['content-digest'];
        return streams.use(request.client.name, () =>
          passThrough(request, reply, link, {
            ...{ path: `${path}/content`, query: { offset, durability } },
            headers: {
              'content-type': OCTETS,
              ...(digest !== undefined && { 'content-digest': digest }),
              ...(length !== undefined && { 'content-length': String(length) }),
            },
            upload: { maxBytes: limited ? size : Number.POSITIVE_INFINITY },
          }),
        );
      },
    );
  });
};
