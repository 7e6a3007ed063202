// SPDX-License-Identifier: Apache-2.0
/* What a daemon has to do with its host, and Node has no function for. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "os.h"

PUBLIC int dma_shim_notify(const char *path, const char *message)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t length = strlen(path);
	ssize_t sent;
	int fd;

	if (length < 2 || length >= sizeof(address.sun_path))
		return -EINVAL;
	memcpy(address.sun_path, path, length);
	/* How the service manager writes an abstract address */
	if (path[0] == '@')
		address.sun_path[0] = '\0';
	else if (path[0] != '/')
		return -EINVAL;

	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	do {
		sent = sendto(fd, message, strlen(message), MSG_NOSIGNAL | MSG_DONTWAIT,
			      (struct sockaddr *)&address,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
	} while (sent < 0 && errno == EINTR);
	int error = sent < 0 ? -errno : 0;

	close(fd);
	return error;
}

PUBLIC int64_t dma_shim_group_id(const char *name)
{
	size_t size = 1024;

	for (;;) {
		struct group group, *found;
		char *buffer = malloc(size);
		int64_t id;
		int error;

		if (!buffer)
			return -ENOMEM;
		error = getgrnam_r(name, &group, buffer, size, &found);
		id = found ? (int64_t)group.gr_gid : error ? -error : -ENOENT;
		free(buffer);
		if (error != ERANGE)
			return id;
		/* A group with many members */
		size *= 2;
	}
}

PUBLIC void dma_shim_leave_terminal(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		return;
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		struct stat stat;

		/* Not isatty(), which a terminal that was closed no longer is. */
		if (!fstat(fd, &stat) && S_ISCHR(stat.st_mode))
			dup2(null, fd);
	}
	close(null);
}
