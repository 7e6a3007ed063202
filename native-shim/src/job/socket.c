// SPDX-License-Identifier: Apache-2.0
/* A piece of a device on its way to a socket. Runs without the lock, and under a guard. */
#include <errno.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#include "../internal.h"

#define PAGE_SIZE UINT64_C(4096)

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
 * A file's pages go from its page cache to the socket; mapped, they would be faulted in, and a
 * hole of a file in memory would be given a page. Other devices have no page cache.
 */
static ssize_t send_part(const struct job *job, uint64_t offset, uint64_t size)
{
	const struct device *source = job->source_device;
	off_t from = (off_t)offset;

	if (source->plain_io) {
		ssize_t sent = sendfile(job->socket, source->descriptor, &from, size);

		/* Not every file system can. */
		if (sent >= 0 || errno != EINVAL)
			return sent;
	}
	return send(job->socket, job->source + offset, size, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Send until the socket takes no more. */
void socket_send(struct piece *piece)
{
	const struct job *job = piece->job;
	uint64_t offset = job->segments[piece->segment].src_offset + piece->offset;

	while (piece->bytes < piece->size) {
		uint64_t left = piece->size - piece->bytes;
		ssize_t sent = send_part(job, offset + piece->bytes, left);

		if (sent > 0) {
			piece->bytes += (uint64_t)sent;
			continue;
		}
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && errno == EAGAIN)
			return;
		if (sent == 0)  /* the file has become shorter */
			piece->status = -ENXIO;
		else if (errno == EFAULT)
			piece->status = probe(job->source + offset + piece->bytes, left);
		else if (errno == EIO)
			piece->status = -EIO;
		else
			piece->status = -ECONNRESET;
		return;
	}
}
