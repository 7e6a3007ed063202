// SPDX-License-Identifier: Apache-2.0
/* What the kernel tells in files. */
#include <fcntl.h>
#include <unistd.h>

#include "os.h"

/* Read the text of a file in sysfs; false if it cannot be read or does not fit. */
bool sysfs_read(const char *path, char *text, size_t size)
{
	int descriptor = open(path, O_RDONLY | O_CLOEXEC);
	size_t length = 0;
	ssize_t got;

	if (descriptor < 0)
		return false;
	/* A read gives a page at most. */
	do {
		got = read(descriptor, text + length, size - length);
		if (got > 0)
			length += (size_t)got;
	} while (got > 0 && length < size);
	close(descriptor);
	if (got < 0 || length == size)
		return false;
	text[length] = '\0';
	return true;
}
