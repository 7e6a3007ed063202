// SPDX-License-Identifier: Apache-2.0
/* Who is on the other end of a Unix socket. */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

TEST(the_peer_of_a_socket_pair_is_this_user)
{
	int ends[2];

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	CHECK_EQ(dma_shim_peer_uid(ends[0]), (int64_t)geteuid());
	close(ends[1]);
	/* Also once it has gone. */
	CHECK_EQ(dma_shim_peer_uid(ends[0]), (int64_t)geteuid());
	close(ends[0]);
}

TEST(the_peer_is_the_process_that_connected)
{
	const int64_t nobody = 65534;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM, 0);
	int connection;
	pid_t child;

	if (geteuid() != 0)
		SKIP("only root can become somebody else");
	/* In the abstract namespace: no directory's mode stands in between. */
	snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "dma-shim-peer-%d",
		 (int)getpid());
	CHECK_EQ(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	CHECK_EQ(listen(listener, 1), 0);
	child = fork();
	if (child == 0) {
		int client = socket(AF_UNIX, SOCK_STREAM, 0);

		if (setuid((uid_t)nobody))
			_exit(1);
		_exit(connect(client, (struct sockaddr *)&address, sizeof(address)) ? 2 : 0);
	}
	connection = accept(listener, NULL, NULL);
	CHECK(connection >= 0);
	CHECK_EQ(dma_shim_peer_uid(connection), nobody);
	close(connection);
	CHECK_EQ(waitpid(child, NULL, 0), child);
	close(listener);
}

TEST(only_unix_sockets_have_a_peer)
{
	int tcp = socket(AF_INET, SOCK_STREAM, 0);
	int ends[2];

	CHECK_EQ(dma_shim_peer_uid(tcp), -EOPNOTSUPP);
	close(tcp);
	CHECK_EQ(pipe(ends), 0);
	CHECK_EQ(dma_shim_peer_uid(ends[0]), -ENOTSOCK);
	close(ends[0]);
	close(ends[1]);
	CHECK_EQ(dma_shim_peer_uid(ends[0]), -EBADF);
	CHECK_EQ(dma_shim_peer_uid(-1), -EBADF);
}
