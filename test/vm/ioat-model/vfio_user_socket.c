// SPDX-License-Identifier: Apache-2.0
/*
 * Messages in and out. A message may arrive in pieces; the descriptors that come with it
 * arrive with one of its bytes, so reading never goes past the end of a message.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vfio_user.h"
#include "vfio_user_wire.h"

/* Longer than QEMU ever takes to read, shorter than it waits for us (5 s). */
#define SEND_TIMEOUT_MS 2000

void vfio_user_init(struct vfio_user *vu, struct device *dev)
{
	memset(vu, 0, sizeof(*vu));
	vu->fd = -1;
	vu->dev = dev;
}

void vfio_user_connect(struct vfio_user *vu, int fd)
{
	vu->fd = fd;
	vu->have = 0;
	vu->fd_count = 0;
	config_init(vu->dev);
	device_reset(vu->dev);
}

static void drop_fds(struct vfio_user *vu)
{
	size_t i;

	for (i = 0; i < vu->fd_count; i++)
		if (vu->fds[i] >= 0)
			close(vu->fds[i]);
	vu->fd_count = 0;
}

void vfio_user_close(struct vfio_user *vu)
{
	int i;

	if (vu->fd < 0)
		return;
	drop_fds(vu);
	close(vu->fd);
	vu->fd = -1;
	for (i = 0; i < IRQ_VECTORS; i++) {
		if (vu->dev->irq[i] >= 0)
			close(vu->dev->irq[i]);
		vu->dev->irq[i] = -1;
	}
	memory_clear(&vu->dev->memory);
	device_reset(vu->dev);
}

static void refuse(struct vfio_user *vu, const char *why)
{
	fprintf(stderr, "ioat-model: device %d: %s; closing the connection\n", vu->dev->number, why);
	vfio_user_close(vu);
}

/* Reads up to @want bytes of the message in all. False: not there yet, or closed. */
static bool fill(struct vfio_user *vu, size_t want)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(VFIO_USER_MAX_FDS * sizeof(int))];
	} control;
	struct cmsghdr *cmsg;

	while (vu->have < want) {
		struct iovec iov = { vu->message + vu->have, want - vu->have };
		struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1,
				      .msg_control = &control, .msg_controllen = sizeof(control) };
		ssize_t got = recvmsg(vu->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			return false;
		if (got <= 0) {
			vfio_user_close(vu);
			return false;
		}
		for (cmsg = CMSG_FIRSTHDR(&msg); cmsg; cmsg = CMSG_NXTHDR(&msg, cmsg)) {
			size_t n, i;

			if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
				continue;
			n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
			for (i = 0; i < n; i++) {
				int fd;

				memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(fd));
				if (vu->fd_count < VFIO_USER_MAX_FDS)
					vu->fds[vu->fd_count++] = fd;
				else
					close(fd);
			}
		}
		vu->have += got;
	}
	return true;
}

static bool send_all(int fd, const uint8_t *data, size_t size)
{
	while (size > 0) {
		struct pollfd pfd = { fd, POLLOUT, 0 };
		ssize_t sent = send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent < 0 && errno == EAGAIN) {
			if (poll(&pfd, 1, SEND_TIMEOUT_MS) == 0)
				return false;
			continue;
		}
		if (sent < 0 && errno != EINTR)
			return false;
		if (sent > 0) {
			data += sent;
			size -= sent;
		}
	}
	return true;
}

void vfio_user_receive(struct vfio_user *vu)
{
	struct vfio_user_header header;
	uint8_t *body = vu->message + sizeof(header);
	size_t reply;
	int error;

	if (!fill(vu, sizeof(header)))
		return;
	memcpy(&header, vu->message, sizeof(header));
	if (header.size < sizeof(header) || header.size > sizeof(vu->message)) {
		refuse(vu, "a message of an impossible size");
		return;
	}
	if (!fill(vu, header.size))
		return;
	if ((header.flags & VFIO_USER_TYPE_MASK) != VFIO_USER_TYPE_COMMAND) {
		refuse(vu, "a reply to nothing");
		return;
	}
	error = vfio_user_handle(vu, header.command, body, header.size - sizeof(header), &reply);
	drop_fds(vu);
	vu->have = 0;
	/* BAR writes are posted: QEMU does not read an answer and would take it for another's */
	if (header.flags & VFIO_USER_NO_REPLY)
		return;
	header.flags = VFIO_USER_TYPE_REPLY | (error ? VFIO_USER_ERROR : 0);
	header.error = error;
	header.size = sizeof(header) + (error ? 0 : reply);
	memcpy(vu->message, &header, sizeof(header));
	if (!send_all(vu->fd, vu->message, header.size))
		refuse(vu, "it does not take its answers");
}
