// SPDX-License-Identifier: Apache-2.0
/* A piece of a device on its way to or from a socket. Runs without the lock, and under a guard. */
#include <errno.h>
#include <sys/socket.h>

#include "../internal.h"

#define PAGE_SIZE UINT64_C(4096)

/* What is moved at a time: on the thread's stack, and in its caches when it is moved on. */

/* Of a file that is sent; what the socket does not take is read again. */
#define SEND_PART (UINT64_C(64) << 10)

/* With 64 KiB a GiB into a file in memory took a quarter more CPU time. */
#define RECEIVE_PART (UINT64_C(256) << 10)

/*
 * The kernel could not read the mapping on our behalf, and says no more. A load
 * raises the signal that says what it met.
 */
static int probe(const unsigned char *bytes, uint64_t size)
{
	for (uint64_t offset = 0; offset < size; offset += PAGE_SIZE)
		(void)*(const volatile unsigned char *)(bytes + offset);
	(void)*(const volatile unsigned char *)(bytes + size - 1);
	return -EIO;
}

/*
 * What a call that moved nothing says of the piece. @bytes is what the kernel was to read or
 * write, and is only looked at if that faults. Return: whether to try again.
 */
static bool try_again(struct piece *piece, ssize_t result, const unsigned char *bytes,
		      uint64_t size)
{
	switch (result < 0 ? errno : ECONNRESET) {
	case EINTR:
		return true;
	case EAGAIN:
		return false;
	case EFAULT:
		piece->status = probe(bytes, size);
		return false;
	case EPIPE:
	case ECONNRESET:
	case ECONNABORTED:
	case ENOTCONN:
	case ETIMEDOUT:
	case EHOSTUNREACH:
	case ENETUNREACH:
	case ENETDOWN:
		piece->status = -ECONNRESET;
		return false;
	default:
		piece->status = -EIO;
		return false;
	}
}

/*
 * Send until the socket takes no more. A file is read first: mapped, its pages would be faulted in,
 * and a hole of a file in memory would be given one; and sendfile(2) would queue
 * pages and not bytes, so that the other end might read what is written later.
 */
void socket_send(struct piece *piece)
{
	const struct job *job = piece->job;
	const struct device *source = job->source_device;
	uint64_t offset = job->segments[piece->segment].src_offset + piece->offset;
	unsigned char buffer[SEND_PART];

	while (piece->bytes < piece->size) {
		uint64_t at = offset + piece->bytes;
		uint64_t left = piece->size - piece->bytes;
		const unsigned char *from = job->source + at;
		uint64_t sent = 0;

		if (source->plain_io) {
			if (left > SEND_PART)
				left = SEND_PART;
			piece->status = file_read(source, buffer, at, left);
			if (piece->status)
				return;
			from = buffer;
		}
		while (sent < left) {
			ssize_t took = send(job->socket, from + sent, left - sent,
					    MSG_DONTWAIT | MSG_NOSIGNAL);

			if (took > 0) {
				sent += (uint64_t)took;
				piece->bytes += (uint64_t)took;
			} else if (!try_again(piece, took, from + sent, left - sent)) {
				return;
			}
		}
	}
}

/*
 * Receive what the socket has. As when memory is copied, a file is written: mapped, its pages
 * would be faulted in, and a full disk would be a signal.
 */
void socket_receive(struct piece *piece)
{
	const struct job *job = piece->job;
	const struct device *destination = job->destination_device;
	bool plain_io = destination && destination->plain_io;
	uint64_t offset = job->segments[piece->segment].dst_offset + piece->offset;
	unsigned char buffer[RECEIVE_PART];

	while (piece->bytes < piece->size) {
		uint64_t at = offset + piece->bytes;
		uint64_t left = piece->size - piece->bytes;
		unsigned char *to = plain_io ? buffer : job->destination + at;
		ssize_t got;

		/* A device may be slow to take each part. */
		if (job->cancelled)
			return;
		if (left > RECEIVE_PART)
			left = RECEIVE_PART;
		got = recv(job->socket, to, left, MSG_DONTWAIT);
		if (got <= 0) {
			if (try_again(piece, got, to, left))
				continue;
			return;
		}
		piece->received += (uint64_t)got;
		if (plain_io)
			piece->status = file_write(destination, buffer, at, (uint64_t)got);
		if (piece->status)
			return;
		if (job->flags & DMA_SHIM_JOB_CHECKSUM)
			piece->source_crc = crc32c(piece->source_crc, to, (size_t)got);
		piece->bytes += (uint64_t)got;
	}
}
