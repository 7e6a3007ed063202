// SPDX-License-Identifier: Apache-2.0
/* What the kernel tells in files. */
#include <fcntl.h>
#include <unistd.h>

#include "internal.h"

/* The text of a small file in sysfs; false where it cannot be read. */
bool sysfs_read(const char *path, char *text, size_t size)
{
	int descriptor = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length;

	if (descriptor < 0)
		return false;
	length = read(descriptor, text, size - 1);
	close(descriptor);
	if (length < 0)
		return false;
	text[length] = '\0';
	return true;
}
