// SPDX-License-Identifier: Apache-2.0
/* Bytes between a file and memory, by read and write. */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../internal.h"

static int status_of(int error)
{
	/* EFAULT too: the caller's memory may be a mapping that lost its file. */
	return error == ENOSPC || error == EDQUOT ? -ENOSPC : -EIO;
}

/* Return: 0, -EIO, or -ENXIO if the file has become shorter. */
int file_read(const struct device *device, unsigned char *to, uint64_t offset,
	      uint64_t size)
{
	while (size) {
		ssize_t got = pread(device->descriptor, to, size, (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return status_of(errno);
		if (got == 0)
			return -ENXIO;
		to += got;
		offset += (uint64_t)got;
		size -= (uint64_t)got;
	}
	return 0;
}

/* Return: 0, -EIO, -ENOSPC, or -ENXIO if the file has become shorter. */
int file_write(const struct device *device, const unsigned char *from,
	       uint64_t offset, uint64_t size)
{
	struct stat stat;

	/* Writing behind its end would make it longer again, with a hole. */
	if (fstat(device->descriptor, &stat))
		return -EIO;
	if ((uint64_t)stat.st_size < device->size &&
	    (uint64_t)stat.st_size < offset + size)
		return -ENXIO;

	while (size) {
		ssize_t put = pwrite(device->descriptor, from, size, (off_t)offset);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return status_of(errno);
		if (put == 0)
			return -EIO;
		from += put;
		offset += (uint64_t)put;
		size -= (uint64_t)put;
	}
	return 0;
}
