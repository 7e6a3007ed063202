// SPDX-License-Identifier: Apache-2.0
/* Who is on the other end of a Unix socket. */
#include <errno.h>
#include <sys/socket.h>

#include "os.h"

PUBLIC int64_t dma_shim_peer_uid(int fd)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size))
		return -errno;
	/* What the kernel says of sockets that are no Unix sockets. */
	if (peer.uid == (uid_t)-1)
		return -EOPNOTSUPP;
	return peer.uid;
}
