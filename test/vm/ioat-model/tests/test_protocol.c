// SPDX-License-Identifier: Apache-2.0
/* The messages: what they answer, and what a client that means harm can do. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"

static void versions(void)
{
	struct { uint16_t major, minor; } version = { 1, 0 };

	CHECK(call(VFIO_USER_VERSION, &version, 4, NULL, 0) == ENOTSUP);
	CHECK(call(VFIO_USER_VERSION, &version, 3, NULL, 0) == EINVAL);
	version.major = 0;
	CHECK(call(VFIO_USER_VERSION, &version, 4, NULL, 0) == 0);
	CHECK(reply[reply_size - 1] == '\0' && strstr((char *)reply + 4, "capabilities"));
	CHECK(call(0, NULL, 0, NULL, 0) == ENOTSUP);
	CHECK(call(15, NULL, 0, NULL, 0) == ENOTSUP);
	CHECK(call(65535, NULL, 0, NULL, 0) == ENOTSUP);
}

static void infos(void)
{
	uint32_t region[8] = { 32, 0, 0 }, irq[4] = { 16, 0, 2 }, info[4] = { 16 };
	uint64_t size;

	CHECK(call(VFIO_USER_DEVICE_GET_INFO, info, 16, NULL, 0) == 0);
	memcpy(info, reply, 16);
	CHECK(info[1] == 3 && info[2] == 9 && info[3] == 5);
	CHECK(call(VFIO_USER_DEVICE_GET_REGION_INFO, region, 32, NULL, 0) == 0);
	memcpy(&size, reply + 16, 8);
	CHECK(size == IOAT_BAR0_SIZE);
	region[2] = 9;
	CHECK(call(VFIO_USER_DEVICE_GET_REGION_INFO, region, 32, NULL, 0) == EINVAL);
	CHECK(call(VFIO_USER_DEVICE_GET_REGION_INFO, region, 31, NULL, 0) == EINVAL);
	CHECK(call(VFIO_USER_DEVICE_GET_IRQ_INFO, irq, 16, NULL, 0) == 0);
	memcpy(irq, reply, 16);
	CHECK(irq[3] >= 4);
	irq[2] = 5;
	CHECK(call(VFIO_USER_DEVICE_GET_IRQ_INFO, irq, 16, NULL, 0) == EINVAL);
}

static void config_space(void)
{
	uint32_t at, seen = 0;

	CHECK(region_read(CONFIG, 0, 4) == (IOAT_VENDOR | IOAT_DEVICE << 16));
	CHECK(region_read(CONFIG, 9, 3) == IOAT_CLASS);
	CHECK(region_read(CONFIG, 0x100, 4) == 0 && region_read(CONFIG, IOAT_CFG_CHANERR_INT, 4) == 0);
	region_read(CONFIG, 0, 4096);
	for (at = region_read(CONFIG, 0x34, 1); at; at = region_read(CONFIG, at + 1, 1))
		seen |= 1u << region_read(CONFIG, at, 1);
	CHECK(seen == (1u << 1 | 1u << 0x11 | 1u << 0x10));
	CHECK(region_write(CONFIG, 0, 0, 4) == 0 && region_read(CONFIG, 0, 2) == IOAT_VENDOR);
	CHECK(region_write(CONFIG, 0x10, ~0ULL, 8) == 0);
	CHECK(region_read(CONFIG, 0x10, 8) == (~0ULL - IOAT_BAR0_SIZE + 1 + 4));
}

static void regions(void)
{
	struct { struct region_access access; uint8_t data[16]; } body = { { 0, BAR, 8 }, { 0 } };
	static const struct region_access bad[] = {
		{ IOAT_BAR0_SIZE, BAR, 1 }, { IOAT_BAR0_SIZE - 4, BAR, 8 }, { ~0ULL, BAR, 2 },
		{ 0, BAR, ~0u }, { 4096, CONFIG, 1 }, { 0, 1, 1 }, { 0, 9, 0 }, { 0, ~0u, 4 },
	};
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		body.access = bad[i];
		CHECK(call(VFIO_USER_REGION_READ, &body, sizeof(body), NULL, 0) == EINVAL);
		CHECK(call(VFIO_USER_REGION_WRITE, &body, sizeof(body), NULL, 0) == EINVAL);
	}
	/* says eight bytes and brings four */
	body.access = (struct region_access){ 0, BAR, 8 };
	CHECK(call(VFIO_USER_REGION_WRITE, &body, sizeof(body.access) + 4, NULL, 0) == EINVAL);
	CHECK(call(VFIO_USER_REGION_READ, &body, 15, NULL, 0) == EINVAL);
	CHECK(region_read(BAR, IOAT_CBVER, 1) == IOAT_CBVER_3_2);
	CHECK(region_read(BAR, IOAT_CHANCNT, 1) == 4 && region_read(BAR, IOAT_BAR0_SIZE - 8, 8) == 0);
}

static void maps(void)
{
	int fd = memfd_create("maps", MFD_CLOEXEC), pipes[2], readonly;
	const uint64_t page = 4096, base = 1ULL << 40;
	char path[64];
	uint64_t i;

	CHECK(ftruncate(fd, 16 * page) == 0 && pipe(pipes) == 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	readonly = open(path, O_RDONLY);
	CHECK(map_dma(base, 0, 3, fd, 0) == EINVAL);
	CHECK(map_dma(~0ULL - page + 2, page, 3, fd, 0) == EINVAL);
	CHECK(map_dma(base, 17 * page, 3, fd, 0) == EINVAL);
	CHECK(map_dma(base, page, 3, fd, 16 * page) == EINVAL);
	CHECK(map_dma(base, page, 3, fd, ~0ULL) == EINVAL);
	CHECK(map_dma(base, page, 3, pipes[0], 0) == EINVAL);
	CHECK(map_dma(base, page, 3, readonly, 0) == EACCES || geteuid() == 0 || readonly < 0);
	CHECK(map_dma(base, 4 * page, 3, fd, 0) == 0);
	CHECK(map_dma(base, 4 * page, 3, fd, 0) == EEXIST);
	CHECK(map_dma(base + 3 * page, 4 * page, 3, fd, 0) == EEXIST);
	CHECK(map_dma(base - page, 2 * page, 3, fd, 0) == EEXIST);
	CHECK(unmap_dma(base + page, page) == EINVAL);
	CHECK(unmap_dma(base, 0) == EINVAL);
	CHECK(unmap_dma(base + 64 * page, page) == 0); /* never mapped: QEMU does that */
	CHECK(unmap_dma(base, 4 * page) == 0);
	CHECK(map_dma(0xc0000, page, 1, -1, 0) == 0); /* a ROM */
	/* as a virtual IOMMU does: thousands, in no order */
	for (i = 0; i < 20000; i++)
		CHECK(map_dma(base + i * 7919 % 20000 * page, page, 3, fd, i % 16 * page) == 0);
	CHECK(unmap_dma(base, ~0ULL) == 0);
	CHECK(map_dma(base, page, 3, fd, 0) == 0);
	close(fd);
	close(readonly);
	close(pipes[0]);
	close(pipes[1]);
}

static void irqs(void)
{
	struct { uint32_t argsz, flags, index, start, count; } set = { 20, 4 | 32, 2, 0, 1 };
	int fds[20], i;

	for (i = 0; i < 20; i++)
		fds[i] = dup(0);
	CHECK(call(VFIO_USER_DEVICE_SET_IRQS, &set, 19, NULL, 0) == EINVAL);
	set.count = 9;
	CHECK(call(VFIO_USER_DEVICE_SET_IRQS, &set, 20, fds, 9) == EINVAL);
	set.start = ~0u;
	CHECK(call(VFIO_USER_DEVICE_SET_IRQS, &set, 20, fds, 9) == EINVAL);
	set.index = 77;
	CHECK(call(VFIO_USER_DEVICE_SET_IRQS, &set, 20, fds, 9) == EINVAL);
	set.index = 2;
	set.start = 0;
	set.count = 8;
	CHECK(call(VFIO_USER_DEVICE_SET_IRQS, &set, 20, fds, 2) == 0);
	CHECK(call(VFIO_USER_DEVICE_SET_IRQS, &set, 20, fds, 20) == 0);
	set.count = 0;
	CHECK(call(VFIO_USER_DEVICE_SET_IRQS, &set, 20, NULL, 0) == 0);
	for (i = 0; i < 20; i++)
		close(fds[i]);
}

void test_protocol(void)
{
	client_connect();
	versions();
	infos();
	config_space();
	regions();
	maps();
	irqs();
	CHECK(call(VFIO_USER_DEVICE_RESET, NULL, 0, NULL, 0) == 0);
	CHECK(region_read(CONFIG, 0x10, 8) == 4);
	client_close();
}

/* The model may close the connection; it may not fall, nor keep from serving the next. */
void test_malformed(void)
{
	static const uint32_t sizes[] = { 0, 1, 15, 65537, 0x7fffffff, 0xffffffff };
	uint8_t garbage[256];
	size_t i, j;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct vfio_user_header header = { 1, VFIO_USER_REGION_READ, sizes[i], 0, 0 };

		client_connect();
		CHECK(send(client_fd, &header, sizeof(header), MSG_NOSIGNAL) == sizeof(header));
		CHECK(recv(client_fd, garbage, 1, 0) == 0);
		client_close();
	}
	client_connect();
	send_message(VFIO_USER_VERSION, VFIO_USER_TYPE_REPLY, "x", 1, NULL, 0);
	CHECK(recv(client_fd, garbage, 1, 0) == 0);
	client_close();
	/* cut short in the header, and in the body */
	for (i = 1; i < 24; i += 5) {
		struct { struct vfio_user_header header; uint64_t body; } whole =
			{ { 1, VFIO_USER_VERSION, 24, 0, 0 }, 0 };

		client_connect();
		CHECK(send(client_fd, &whole, i, MSG_NOSIGNAL) == (ssize_t)i);
		client_close();
	}
	srand(1);
	for (i = 0; i < 3000; i++) {
		size_t size = rand() % sizeof(garbage);

		for (j = 0; j < size; j++)
			garbage[j] = rand();
		client_connect();
		send_message(rand() % 17, i % 8 ? 0 : rand(), garbage, size, NULL, 0);
		client_close();
	}
	/* byte by byte is slow, not wrong */
	client_connect();
	for (i = 0; i < 20; i++) {
		static const struct vfio_user_header header = { 1, VFIO_USER_VERSION, 20, 0, 0 };

		memcpy(garbage, &header, sizeof(header));
		memset(garbage + sizeof(header), 0, 4);
		CHECK(send(client_fd, garbage + i, 1, MSG_NOSIGNAL) == 1);
		usleep(1000);
	}
	CHECK(recv(client_fd, garbage, sizeof(struct vfio_user_header), MSG_WAITALL) ==
	      sizeof(struct vfio_user_header));
	client_close();
}
