// SPDX-License-Identifier: Apache-2.0
/* What a daemon has to do with its host. */
#include "fixture.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int receiver_at(const struct sockaddr_un *address, size_t length)
{
	int fd = SYS(socket(AF_UNIX, SOCK_DGRAM, 0));

	SYS(bind(fd, (const struct sockaddr *)address,
		 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)));
	return fd;
}

static void expect_message(int fd, const char *text)
{
	char buffer[256];
	ssize_t size = SYS(recv(fd, buffer, sizeof(buffer), 0));

	CHECK_EQ(size, strlen(text));
	CHECK_EQ(memcmp(buffer, text, strlen(text)), 0);
}

TEST(a_message_reaches_the_service_manager_at_a_path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", scratch());
	fd = receiver_at(&address, strlen(address.sun_path));
	CHECK_EQ(dma_shim_notify(address.sun_path, "READY=1"), 0);
	expect_message(fd, "READY=1");
	close(fd);
	CHECK_EQ(dma_shim_notify(address.sun_path, "READY=1"), -ECONNREFUSED);
}

TEST(a_message_reaches_the_service_manager_at_an_abstract_address)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char name[64];
	int fd;

	snprintf(name, sizeof(name), "@dma-shim-notify-%d", (int)getpid());
	memcpy(address.sun_path + 1, name + 1, strlen(name) - 1);
	fd = receiver_at(&address, strlen(name));
	CHECK_EQ(dma_shim_notify(name, "STOPPING=1\nSTATUS=x"), 0);
	expect_message(fd, "STOPPING=1\nSTATUS=x");
}

TEST(a_receiver_that_is_behind_is_not_waited_for)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int status = 0;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", scratch());
	receiver_at(&address, strlen(address.sun_path));
	for (unsigned n = 0; n < 100000 && !status; n++)
		status = dma_shim_notify(address.sun_path, "WATCHDOG=1");
	CHECK_EQ(status, -EAGAIN);
}

TEST(what_is_no_address_is_refused)
{
	char path[200];

	memset(path, 'x', sizeof(path) - 1);
	path[0] = '/';
	path[sizeof(path) - 1] = 0;
	CHECK_EQ(dma_shim_notify("", "READY=1"), -EINVAL);
	CHECK_EQ(dma_shim_notify("@", "READY=1"), -EINVAL);
	CHECK_EQ(dma_shim_notify("relative", "READY=1"), -EINVAL);
	CHECK_EQ(dma_shim_notify(path, "READY=1"), -EINVAL);
	CHECK_EQ(dma_shim_notify("/nowhere/notify", "READY=1"), -ENOENT);
}

TEST(a_group_has_an_id)
{
	CHECK_EQ(dma_shim_group_id("root"), 0);
	CHECK_EQ(dma_shim_group_id("no-such-group"), -ENOENT);
}

TEST(standard_descriptors_let_go_of_character_devices_only)
{
	struct stat before, after, null;
	int ends[2], full;

	SYS(pipe(ends));
	full = SYS(open("/dev/full", O_RDWR));
	SYS(dup2(full, 0));
	SYS(dup2(ends[1], 2));
	SYS(fstat(2, &before));
	SYS(stat("/dev/null", &null));
	dma_shim_leave_terminal();
	SYS(fstat(0, &after));
	CHECK_EQ(after.st_rdev, null.st_rdev);
	SYS(fstat(2, &after));
	CHECK_EQ(after.st_ino, before.st_ino);
}
