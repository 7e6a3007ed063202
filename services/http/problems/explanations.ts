// SPDX-License-Identifier: Apache-2.0
import type { ProblemCode } from './problem.ts';

/** What `GET /problems/{code}` tells of a kind of error. */
export interface Explanation {
  meaning: string;
  /** What to do about it. */
  remedy: string;
  /**
   * Whether the same request may be sent again: `yes`: nothing was done; `with_key`: something may
   * have been done, so with the same Idempotency-Key; `no`: it would be answered the same.
   */
  retry: 'yes' | 'with_key' | 'no';
}

const no = (meaning: string, remedy: string): Explanation => ({ meaning, remedy, retry: 'no' });
const yes = (meaning: string, remedy: string): Explanation => ({ meaning, remedy, retry: 'yes' });
/** Of a transfer that has ended: its key stands for it, so only a new one copies again. */
const ended = (meaning: string, remedy: string): Explanation => ({
  meaning,
  remedy: `${remedy} To run it again, use a new Idempotency-Key.`,
  retry: 'no',
});

export const EXPLANATIONS: Readonly<Record<ProblemCode, Explanation>> = {
  invalid_request: no(
    'The request is malformed: not JSON, a field of the wrong type, missing, unknown, or out of its range.',
    'Correct the fields that `errors` points to. GET /openapi.json has the schemas.',
  ),
  unauthenticated: no(
    'The request carries no token, or one that is not in the tokens file.',
    'Send `Authorization: Bearer SECRET`. `npm run token` makes tokens.',
  ),
  forbidden: no(
    'The token lacks the scope, or the right to some of the bytes; or the request comes from a web page of another site.',
    'Use a token with that scope and range; see the tokens file.',
  ),
  not_found: no(
    'There is no such route, device or transfer, or it is not yours, or it ended too long ago.',
    'Check the path. GET /devices and GET /transfers list what there is.',
  ),
  method_not_allowed: no(
    'The route does not take that method.',
    'Use one that the `Allow` header names.',
  ),
  not_acceptable: no(
    'The route does not answer with any media type that `Accept` names.',
    'Accept what `detail` names, or leave `Accept` out.',
  ),
  request_timeout: {
    meaning: 'The request, or the next part of an upload, did not arrive in time.',
    remedy: 'Send it again, faster. What an upload had brought is written: see `bytes_written`.',
    retry: 'with_key',
  },
  not_cancellable: no('The transfer has already ended.', 'Nothing is left to cancel.'),
  host_in_use: no(
    'The host has transfers that have not ended, which nobody would see through without it.',
    'Wait for their ends, or cancel them. GET /transfers?host=NAME lists them.',
  ),
  not_changeable: no(
    'The transfer has already ended; or it runs, and its priority can be changed only before that.',
    'Nothing was changed. Send it again with what it is to have, if that is still wanted.',
  ),
  cancelled: ended(
    'A client cancelled the transfer. What was copied before stays copied.',
    'Nothing, if that was meant.',
  ),
  source_incomplete: ended(
    'An upload that the transfer waited for was cut short, so its source is incomplete.',
    'Upload the source again, to its end.',
  ),
  precondition_failed: no(
    'The request has a condition, such as If-Match, that cannot hold: content has no validators.',
    'Send it without conditions.',
  ),
  payload_too_large: no(
    'The body is larger than the route takes, or than the device has room for behind the offset.',
    'Send less: JSON up to 1 MiB, content up to the end of the device.',
  ),
  unsupported_media_type: no(
    'The body has a media type or coding that the route does not take.',
    'Send JSON as application/json, content as application/octet-stream, both without a coding.',
  ),
  range_not_satisfiable: no(
    'The range begins behind the end of the device.',
    'Ask for a range inside it: `Content-Range` has the size.',
  ),
  expectation_failed: no(
    'The `Expect` header asks for something other than 100-continue.',
    'Leave it out.',
  ),
  misdirected_request: no(
    'The `Host` header names a host that this daemon is not.',
    'Use its own address, or add the name to DMAD_ALLOWED_HOSTS.',
  ),
  unknown_host: no(
    'No host of this fleet has that name, or the token may not use it.',
    'GET /hosts lists the hosts; PUT /hosts/NAME adds one.',
  ),
  unknown_device: no(
    'No managed device has that name.',
    'GET /devices lists them; DMAD_DEVICES says which there are.',
  ),
  out_of_range: no(
    'A range does not lie inside its device.',
    'Choose an offset and a size inside it: GET /devices/{name} has the size.',
  ),
  overlapping_ranges: no(
    'Source and destination of one segment overlap on one device.',
    'Move one of them apart, or copy in two steps.',
  ),
  bad_block: no(
    'A range touches a block that the kernel knows to be bad.',
    'Keep off the blocks that GET /devices/{name} lists as `bad_blocks`, or repair the medium.',
  ),
  digest_mismatch: yes(
    'Bytes are not those that their digest describes: the body of an upload, which is written; or, of a replication (status 502), blocks that its peer sent, which are not.',
    'Send an upload again: the range holds what arrived until then. Of a replication, check the memory of the peer, and what stands between.',
  ),
  engine_unavailable: no(
    'The engine that was asked for cannot do this here.',
    'Ask for `auto` or `cpu`. GET /engines says why there is no DMA.',
  ),
  unknown_peer: no(
    '`peer` is no name in DMAD_PEERS_FILE: a client names a peer, never a URL.',
    'Name one that is configured, or add it to the file and send SIGHUP.',
  ),
  unknown_transfer: no(
    '`depends_on` names a transfer that there is not, that is not yours, or that ended too long ago.',
    'Name transfers of your own that GET /transfers lists, or in a batch earlier ones of it, such as "#0".',
  ),
  dependency_failed: ended(
    'A transfer that this one depends on failed, was cancelled or interrupted, so nothing was moved.',
    'See how the other one ended, and send both again.',
  ),
  idempotency_key_reused: no(
    'The Idempotency-Key was used with a request of another meaning.',
    'Use a new key.',
  ),
  too_many_refusals: yes(
    'This client has had too many requests refused in a short time.',
    'Correct the requests, and wait as `Retry-After` says.',
  ),
  queue_full: yes(
    'As much as may wait, or run, is there already: of this client, or of all.',
    'Wait as `Retry-After` says, and send fewer at a time.',
  ),
  headers_too_large: no('The request header is too large.', 'Send fewer or shorter header fields.'),
  internal_error: {
    meaning: 'The daemon met something that it did not foresee.',
    remedy: 'Its log has more under the id in `instance`. Please report it.',
    retry: 'with_key',
  },
  unsupported_transfer_coding: no(
    'The body has a Transfer-Encoding other than chunked.',
    'Send it with a Content-Length, or chunked.',
  ),
  dma_error: ended(
    'A DMA channel could not copy. The destination may be in part overwritten.',
    'Do not use the destination. GET /engines shows the channels; `engine: "cpu"` does without.',
  ),
  verify_mismatch: ended(
    'After the copy, source and destination had different checksums.',
    'Do not use the destination; check the memory and whether something else writes there.',
  ),
  media_error: ended(
    'The medium could not be read or written, such as at a bad block.',
    'Do not use the destination; look at the kernel log and at `bad_blocks`.',
  ),
  peer_unreachable: ended(
    'The peer did not answer until the timeout, or it, or this daemon, has no certificate that the other one trusts. The destination may be in part overwritten: see `consistency`.',
    'Check the peer, the network between, and `ca`, `cert` and `key` in DMAD_PEERS_FILE.',
  ),
  peer_refused: ended(
    'The peer answered, but not with what was asked for: it refused the token, has no such device or range, sent a redirect, or is no dmad. The destination may be in part overwritten: see `consistency`.',
    "`detail` has the peer's own words. Check the token, device and range.",
  ),
  source_changing: ended(
    'The source was written all the while: after 5 rounds, blocks still differed. The destination is inconsistent.',
    'Let the source rest, or replicate ranges of it that do.',
  ),
  host_unreachable: yes(
    "The gateway cannot reach the host's daemon, or the daemon does not take the fleet's token.",
    'GET /hosts says since when and why. What was accepted before waits for the host.',
  ),
  etcd_unavailable: yes(
    'The gateway cannot reach a majority of etcd, or etcd has no space left, so it can promise nothing that must last.',
    'Retry as `Retry-After` says. What was answered 202 before is not lost. GET /readyz says what etcd lacks.',
  ),
  device_gone: ended(
    'A device was removed, unbound or replaced before the transfer ended.',
    'Bring it back: GET /devices shows its state.',
  ),
  interrupted: ended(
    'The daemon or the host stopped before the transfer ended, and running it again was not safe.',
    'Look at the source and destination, then send it again if that is right.',
  ),
  overloaded: yes('The daemon lags behind and takes no new work.', 'Wait as `Retry-After` says.'),
  journal_unavailable: yes(
    'The journal cannot be written, so nothing is accepted that must outlive the daemon.',
    'Check the disk of the state directory; retry as `Retry-After` says.',
  ),
  shutting_down: yes('The daemon is shutting down.', 'Retry once it runs again.'),
  timeout: ended(
    'The transfer did not end within its `timeout_ms`. The destination may be in part overwritten.',
    'Allow more time, or see what it waited for.',
  ),
  expired: ended(
    'The host was away for 20 h, so the transfer was given up. If the connection was lost while it was handed over, it may have run.',
    'Compare source and destination once the host is back.',
  ),
  storage_full: yes(
    'A file system is full: that of the journal, or that of an emulated device.',
    'Free some space; a transfer that failed for it must be sent with a new Idempotency-Key.',
  ),
};
