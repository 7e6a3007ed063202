// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "client.h"

int client_fd = -1, guest_fd = -1;
uint8_t *guest, reply[65536];
size_t reply_size;
uint16_t bell[4];
static int vectors[4] = { -1, -1, -1, -1 };

static int connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int tries, fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, path);
	for (tries = 0; connect(fd, (struct sockaddr *)&address, sizeof(address)); tries++) {
		CHECK(tries < 1000);
		usleep(10000);
	}
	return fd;
}

void client_connect(void)
{
	const struct timeval patience = { .tv_sec = 20 };

	client_fd = connect_to("device.sock");
	setsockopt(client_fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
}

void client_close(void)
{
	close(client_fd);
	client_fd = -1;
}

void send_message(uint16_t command, uint32_t flags, const void *body, size_t size,
		  const int *fds, size_t fd_count)
{
	struct vfio_user_header header = { 7, command, sizeof(header) + size, flags, 0 };
	struct iovec iov[2] = { { &header, sizeof(header) }, { (void *)body, size } };
	char space[CMSG_SPACE(64 * sizeof(int))] = { 0 };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };

	if (fd_count) {
		struct cmsghdr *cmsg;

		msg.msg_control = space;
		msg.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, fd_count * sizeof(int));
	}
	CHECK(sendmsg(client_fd, &msg, MSG_NOSIGNAL) == (ssize_t)(sizeof(header) + size));
}

int call(uint16_t command, const void *body, size_t size, const int *fds, size_t fd_count)
{
	struct vfio_user_header header;

	send_message(command, 0, body, size, fds, fd_count);
	CHECK(recv(client_fd, &header, sizeof(header), MSG_WAITALL) == sizeof(header));
	CHECK(header.id == 7 && header.command == command);
	CHECK((header.flags & VFIO_USER_TYPE_MASK) == VFIO_USER_TYPE_REPLY);
	reply_size = header.size - sizeof(header);
	CHECK(reply_size <= sizeof(reply));
	if (reply_size)
		CHECK(recv(client_fd, reply, reply_size, MSG_WAITALL) == (ssize_t)reply_size);
	CHECK(!(header.flags & VFIO_USER_ERROR) == !header.error);
	return header.error;
}

int map_dma(uint64_t iova, uint64_t size, uint32_t rights, int fd, uint64_t offset)
{
	struct { uint32_t argsz, flags; uint64_t offset, iova, size; } body =
		{ sizeof(body), rights, offset, iova, size };

	return call(VFIO_USER_DMA_MAP, &body, sizeof(body), &fd, fd >= 0);
}

int unmap_dma(uint64_t iova, uint64_t size)
{
	struct { uint32_t argsz, flags; uint64_t iova, size; } body = { sizeof(body), 0, iova, size };

	return call(VFIO_USER_DMA_UNMAP, &body, sizeof(body), NULL, 0);
}

uint64_t region_read(uint32_t region, uint64_t offset, uint32_t count)
{
	struct region_access access = { offset, region, count };
	uint64_t value = 0;

	CHECK(call(VFIO_USER_REGION_READ, &access, sizeof(access), NULL, 0) == 0);
	CHECK(reply_size == sizeof(access) + count);
	memcpy(&value, reply + sizeof(access), count < 8 ? count : 8);
	return value;
}

int region_write(uint32_t region, uint64_t offset, uint64_t value, uint32_t count)
{
	struct { struct region_access access; uint64_t value; } body = { { offset, region, count }, value };

	return call(VFIO_USER_REGION_WRITE, &body, sizeof(body.access) + count, NULL, 0);
}

uint64_t reg(int channel, uint32_t offset, uint32_t count)
{
	return region_read(BAR, IOAT_CHANNEL(channel) + offset, count);
}

/* As QEMU writes them: with no answer. */
void set_reg(int channel, uint32_t offset, uint64_t value, uint32_t count)
{
	struct { struct region_access access; uint64_t value; } body =
		{ { IOAT_CHANNEL(channel) + offset, BAR, count }, value };

	send_message(VFIO_USER_REGION_WRITE, VFIO_USER_NO_REPLY, &body, sizeof(body.access) + count,
		     NULL, 0);
}

void client_start(void)
{
	struct { uint32_t argsz, flags, index, start, count; } set = { sizeof(set), 4 | 32, 2, 0, 4 };
	const struct { uint16_t major, minor; char json[3]; } version = { 0, 0, "{}" };
	int i;

	client_connect();
	CHECK(call(VFIO_USER_VERSION, &version, sizeof(version), NULL, 0) == 0);
	if (guest_fd < 0) {
		guest_fd = memfd_create("guest", MFD_CLOEXEC);
		CHECK(ftruncate(guest_fd, GUEST_SIZE) == 0);
		guest = mmap(NULL, GUEST_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, guest_fd, 0);
	}
	memset(guest, 0, GUEST_SIZE);
	CHECK(map_dma(0, GUEST_SIZE, 3, guest_fd, 0) == 0);
	for (i = 0; i < 4; i++) {
		close(vectors[i]);
		vectors[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	}
	call(VFIO_USER_DEVICE_SET_IRQS, &set, sizeof(set), vectors, 4); /* MSI-X */
	set.index = 1;
	set.count = 1;
	call(VFIO_USER_DEVICE_SET_IRQS, &set, sizeof(set), vectors, 1); /* or MSI */
	CHECK(region_write(CONFIG, 4, 0x6, 2) == 0);
	CHECK(region_write(BAR, IOAT_INTRCTRL, IOAT_INTRCTRL_MASTER_INT_EN, 1) == 0);
}

const char *control(const char *line)
{
	static char answer[16384];
	size_t have = 0;
	ssize_t got;
	int fd = connect_to("control.sock");

	dprintf(fd, "%s\n", line);
	answer[0] = '\0';
	while (!strstr(answer, "ok\n") && !strstr(answer, "error: ")) {
		got = recv(fd, answer + have, sizeof(answer) - 1 - have, 0);
		CHECK(got > 0);
		have += got;
		answer[have] = '\0';
	}
	close(fd);
	return answer;
}

bool wait_irq(int vector, int ms)
{
	struct pollfd pfd = { vectors[vector], POLLIN, 0 };
	uint64_t count;

	return poll(&pfd, 1, ms) == 1 && read(vectors[vector], &count, sizeof(count)) == sizeof(count);
}

bool wait_status(int channel, unsigned int status, int ms)
{
	int i;

	for (i = 0; i <= ms; i++) {
		if ((reg(channel, IOAT_CHANSTS, 8) & 7) == status)
			return true;
		usleep(1000);
	}
	return false;
}

void start(int channel)
{
	set_reg(channel, IOAT_CHANCMD, IOAT_CHANCMD_RESET, 1);
	set_reg(channel, IOAT_CHANCTRL, 0x1d, 2);
	set_reg(channel, IOAT_CHANCMP_LOW, CMP_AT(channel), 4);
	set_reg(channel, IOAT_CHANCMP_HIGH, 0, 4);
	set_reg(channel, IOAT_CHAINADDR_LOW, RING_AT(channel), 4);
	set_reg(channel, IOAT_CHAINADDR_HIGH, 0, 4);
	bell[channel] = 0;
}

void copy(int channel, uint64_t src, uint64_t dst, uint32_t size, uint32_t ctl)
{
	uint32_t at = RING_AT(channel) + bell[channel] % 64 * IOAT_DESC_SIZE;
	uint32_t next = RING_AT(channel) + (bell[channel] + 1) % 64 * IOAT_DESC_SIZE;
	uint64_t desc[8] = { size | (uint64_t)ctl << 32, src, dst, next };

	memcpy(guest + at, desc, sizeof(desc));
	bell[channel]++;
	set_reg(channel, IOAT_DMACOUNT, bell[channel], 2);
}

uint64_t completion(int channel)
{
	return __atomic_load_n((uint64_t *)(void *)(guest + CMP_AT(channel)), __ATOMIC_ACQUIRE);
}
