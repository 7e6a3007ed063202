// SPDX-License-Identifier: GPL-2.0-only
/* Every errno and rule of the module's own interface, by what its header says. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "harness.h"

#define ANY IOAT_DMA_ANY_CHANNEL

static struct ioat_dma_submit submission(uint32_t src, uint32_t dst,
					 const struct ioat_dma_segment *segments, uint32_t count)
{
	return (struct ioat_dma_submit){
		.size = sizeof(struct ioat_dma_submit), .tag = 1, .src_region = src,
		.dst_region = dst, .channel = ANY, .segments = (uintptr_t)segments,
		.segment_count = count,
	};
}

TEST(abi_info)
{
	int dma = dma_open();
	struct ioat_dma_info info;

	memset(&info, POISON, sizeof(info));
	info.size = sizeof(info);
	info.flags = 0;
	DO(ioctl(dma, IOAT_DMA_INFO, &info));
	EXPECT_EQ(info.size, sizeof(info));
	EXPECT_EQ(info.out_abi, IOAT_DMA_ABI);
	EXPECT(info.out_version >= 1 << 16);
	EXPECT_EQ(info.out_channels, 2);
	EXPECT_EQ(info.out_channel_limit, 64);
	EXPECT(info.out_max_regions && info.out_max_requests && info.out_max_queued);
	EXPECT(info.out_max_segments >= 4096);
	EXPECT_EQ(info.out_max_timeout_ms, 3600000);
	EXPECT_EQ(info.out_piece_size, MIB);
}

/* Size first: shorter is an error, longer is fine as long as the rest is zero. */
TEST(abi_struct_sizes)
{
	int dma = dma_open();
	struct {
		struct ioat_dma_info info;
		uint8_t more[64];
	} longer = { .info.size = sizeof(longer) };
	uint8_t *page;

	DO(ioctl(dma, IOAT_DMA_INFO, &longer));
	EXPECT_EQ(longer.info.out_abi, IOAT_DMA_ABI);
	EXPECT(is_byte(longer.more, sizeof(longer.more), 0));
	longer.more[63] = 1;
	EXPECT_IOCTL_ERRNO(E2BIG, dma, IOAT_DMA_INFO, &longer);
	longer.info.size = sizeof(longer.info) - 1;
	EXPECT_IOCTL_ERRNO(EINVAL, dma, IOAT_DMA_INFO, &longer);
	longer.info.size = 0;
	EXPECT_IOCTL_ERRNO(EINVAL, dma, IOAT_DMA_INFO, &longer);
	longer.info.size = UINT32_MAX;
	EXPECT_ERRNO(E2BIG, ioctl(dma, IOAT_DMA_INFO, &longer));
	EXPECT_ERRNO(EFAULT, ioctl(dma, IOAT_DMA_INFO, NULL));
	EXPECT_ERRNO(EFAULT, ioctl(dma, IOAT_DMA_INFO, (void *)-8));
	/* the size can be read, the rest cannot */
	page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	DO(munmap(page + 4096, 4096));
	*(uint32_t *)(page + 4092) = sizeof(struct ioat_dma_info);
	EXPECT_ERRNO(EFAULT, ioctl(dma, IOAT_DMA_INFO, page + 4092));
	/* the answer cannot be written */
	memset(page, 0, 4096);
	*(uint32_t *)page = sizeof(struct ioat_dma_info);
	DO(mprotect(page, 4096, PROT_READ));
	EXPECT_ERRNO(EFAULT, ioctl(dma, IOAT_DMA_INFO, page));
}

TEST(abi_unknown_ioctls)
{
	int dma = dma_open();
	uint64_t arg[16] = { 8 };

	EXPECT_IOCTL_ERRNO(ENOTTY, dma, _IO(0xad, 0x3f), &arg);
	EXPECT_IOCTL_ERRNO(ENOTTY, dma, _IO(0xad, 0x46), &arg);
	EXPECT_IOCTL_ERRNO(ENOTTY, dma, _IO(0xad, 0), &arg);
	EXPECT_IOCTL_ERRNO(ENOTTY, dma, _IOW(0xad, 0x40, uint64_t), &arg);
	EXPECT_IOCTL_ERRNO(ENOTTY, dma, _IO(0xae, 0x40), &arg);
	EXPECT_IOCTL_ERRNO(ENOTTY, dma, 0, &arg);
	EXPECT_ERRNO(EINVAL, write(dma, arg, sizeof(arg)));
	EXPECT_ERRNO(ESPIPE, lseek(dma, 0, SEEK_SET));
	EXPECT(mmap(NULL, 4096, PROT_READ, MAP_SHARED, dma, 0) == MAP_FAILED);
}

TEST(abi_channel_info)
{
	int dma = dma_open();
	struct ioat_dma_channel_info info;

	memset(&info, POISON, sizeof(info));
	info.size = sizeof(info);
	info.channel = 0;
	info.__reserved = 0;
	DO(ioctl(dma, IOAT_DMA_CHANNEL_INFO, &info));
	EXPECT_EQ(info.out_state, IOAT_DMA_CHANNEL_READY);
	EXPECT(info.out_numa_node >= -1);
	EXPECT(!strncmp((char *)info.out_name, "dma", 3));
	EXPECT(!strcmp((char *)info.out_driver, "ioatdma"));
	EXPECT_EQ(info.out_in_flight, 0);
	info.channel = 2;
	EXPECT_IOCTL_ERRNO(ENOENT, dma, IOAT_DMA_CHANNEL_INFO, &info);
	info.channel = 64;
	EXPECT_IOCTL_ERRNO(ENOENT, dma, IOAT_DMA_CHANNEL_INFO, &info);
	info.channel = UINT32_MAX;
	EXPECT_IOCTL_ERRNO(ENOENT, dma, IOAT_DMA_CHANNEL_INFO, &info);
	info.channel = 0;
	info.__reserved = 1;
	EXPECT_IOCTL_ERRNO(EOPNOTSUPP, dma, IOAT_DMA_CHANNEL_INFO, &info);
}

TEST(abi_region_create)
{
	struct device dax = device_map(DAX0);
	int dma = dma_open(), file, pair[2];
	struct ioat_dma_region_create create = {
		.size = sizeof(create), .length = 4096, .out_region = 0x5c5c,
	}, bad;

	bad = create;
	bad.fd = -1;
	EXPECT_IOCTL_ERRNO(EBADF, dma, IOAT_DMA_REGION_CREATE, &bad);
	bad.fd = 1000;
	EXPECT_IOCTL_ERRNO(EBADF, dma, IOAT_DMA_REGION_CREATE, &bad);
	bad.fd = DO(open(DAX0, O_PATH));
	EXPECT_IOCTL_ERRNO(EBADF, dma, IOAT_DMA_REGION_CREATE, &bad);
	bad.fd = dma;
	EXPECT_IOCTL_ERRNO(ENODEV, dma, IOAT_DMA_REGION_CREATE, &bad);
	DO(pipe(pair));
	bad.fd = pair[0];
	EXPECT_IOCTL_ERRNO(ENODEV, dma, IOAT_DMA_REGION_CREATE, &bad);
	file = DO(open("/tmp/abi-file", O_CREAT | O_RDWR, 0600));
	DO(ftruncate(file, 8 * MIB));
	bad.fd = file;
	EXPECT_IOCTL_ERRNO(ENODEV, dma, IOAT_DMA_REGION_CREATE, &bad);
	bad.fd = DO(open("/dev/zero", O_RDWR));
	EXPECT_IOCTL_ERRNO(ENODEV, dma, IOAT_DMA_REGION_CREATE, &bad);
	bad.fd = DO(open("/dev/mem", O_RDWR));
	EXPECT_IOCTL_ERRNO(ENODEV, dma, IOAT_DMA_REGION_CREATE, &bad);
	bad.fd = DO(open("/tmp", O_RDONLY));
	EXPECT_IOCTL_ERRNO(ENODEV, dma, IOAT_DMA_REGION_CREATE, &bad);
	bad.fd = DO(open(DAX0, O_WRONLY));
	EXPECT_IOCTL_ERRNO(EACCES, dma, IOAT_DMA_REGION_CREATE, &bad);

	create.fd = DO(open(DAX0, O_RDWR));
	bad = create;
	bad.length = 0;
	EXPECT_IOCTL_ERRNO(EINVAL, dma, IOAT_DMA_REGION_CREATE, &bad);
	bad.length = dax.size + 1;
	EXPECT_IOCTL_ERRNO(ERANGE, dma, IOAT_DMA_REGION_CREATE, &bad);
	bad.length = UINT64_MAX;
	EXPECT_IOCTL_ERRNO(ERANGE, dma, IOAT_DMA_REGION_CREATE, &bad);
	bad.length = INT64_MAX;
	EXPECT_IOCTL_ERRNO(ERANGE, dma, IOAT_DMA_REGION_CREATE, &bad);
	bad.length = 1;
	bad.offset = dax.size;
	EXPECT_IOCTL_ERRNO(ERANGE, dma, IOAT_DMA_REGION_CREATE, &bad);
	bad.offset = UINT64_MAX;
	EXPECT_IOCTL_ERRNO(ERANGE, dma, IOAT_DMA_REGION_CREATE, &bad);
	bad.offset = INT64_MAX;
	EXPECT_IOCTL_ERRNO(ERANGE, dma, IOAT_DMA_REGION_CREATE, &bad);
	bad.offset = 4096;
	bad.length = UINT64_MAX - 4095;
	EXPECT_IOCTL_ERRNO(ERANGE, dma, IOAT_DMA_REGION_CREATE, &bad);
	bad = create;
	bad.flags = 1;
	EXPECT_IOCTL_ERRNO(EOPNOTSUPP, dma, IOAT_DMA_REGION_CREATE, &bad);
	bad = create;
	bad.__reserved = 1;
	EXPECT_IOCTL_ERRNO(EOPNOTSUPP, dma, IOAT_DMA_REGION_CREATE, &bad);

	create.length = dax.size;
	DO(ioctl(dma, IOAT_DMA_REGION_CREATE, &create));
	EXPECT(create.out_region != 0x5c5c && create.out_numa_node >= -1);
}

TEST(abi_region_destroy)
{
	int dma = dma_open(), other = dma_open();
	struct ioat_dma_region_destroy destroy = { .size = sizeof(destroy) };

	EXPECT_IOCTL_ERRNO(ENOENT, dma, IOAT_DMA_REGION_DESTROY, &destroy);
	destroy.region = region_of(dma, DAX0, 0, 4096);
	EXPECT_IOCTL_ERRNO(ENOENT, other, IOAT_DMA_REGION_DESTROY, &destroy);
	DO(ioctl(dma, IOAT_DMA_REGION_DESTROY, &destroy));
	EXPECT_IOCTL_ERRNO(ENOENT, dma, IOAT_DMA_REGION_DESTROY, &destroy);
	destroy.region = UINT32_MAX;
	EXPECT_IOCTL_ERRNO(ENOENT, dma, IOAT_DMA_REGION_DESTROY, &destroy);
}

/* What cannot be told to the caller must not be kept either. */
TEST(abi_region_that_cannot_be_told)
{
	int dma = dma_open(), i;
	struct ioat_dma_region_create *create =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	create->size = sizeof(*create);
	create->length = 4096;
	create->fd = DO(open(DAX0, O_RDWR));
	DO(mprotect(create, 4096, PROT_READ));
	for (i = 0; i < 300; i++)
		EXPECT_ERRNO(EFAULT, ioctl(dma, IOAT_DMA_REGION_CREATE, create));
	EXPECT_EQ(region_of(dma, DAX0, 0, 4096), 0);
}

TEST(abi_regions_are_limited)
{
	int dma = dma_open(), fd = DO(open(DAX0, O_RDWR)), made = 0;
	struct ioat_dma_region_create create = { .size = sizeof(create), .length = 4096, .fd = fd };
	struct ioat_dma_region_destroy destroy = { .size = sizeof(destroy) };
	struct ioat_dma_info info = { .size = sizeof(info) };

	DO(ioctl(dma, IOAT_DMA_INFO, &info));
	while (!ioctl(dma, IOAT_DMA_REGION_CREATE, &create))
		made++;
	EXPECT_EQ(errno, EMFILE);
	EXPECT_EQ(made, info.out_max_regions);
	destroy.region = 7;
	DO(ioctl(dma, IOAT_DMA_REGION_DESTROY, &destroy));
	DO(ioctl(dma, IOAT_DMA_REGION_CREATE, &create));
	EXPECT_EQ(create.out_region, 7);
}

TEST(abi_submit_and_read)
{
	struct device from = device_map(DAX0), to = device_map(DAX1);
	int dma = dma_open();
	uint32_t src = region_of(dma, DAX0, 100, 4 * MIB), dst = region_of(dma, DAX1, 5, 8 * MIB);
	struct ioat_dma_segment segments[] = {
		{ 0, 10, 1000 },
		{ MIB, 3 * MIB + 1, 2 * MIB },
	};
	struct ioat_dma_submit submit = submission(src, dst, segments, 2);
	struct ioat_dma_completion done;
	struct pollfd ready = { .fd = dma, .events = POLLIN | POLLOUT };

	EXPECT_EQ(poll(&ready, 1, 0), 0);
	pattern(from.bytes + 100, 4 * MIB, 9);
	memset(to.bytes, POISON, 9 * MIB);
	submit.tag = 0x123456789abcdef0;
	DO(ioctl(dma, IOAT_DMA_SUBMIT, &submit));
	done = next_completion(dma);
	EXPECT_EQ(done.tag, 0x123456789abcdef0);
	EXPECT_EQ(done.status, IOAT_DMA_DONE);
	EXPECT_EQ(done.error, IOAT_DMA_ERROR_NONE);
	EXPECT_EQ(done.bytes_done, 1000 + 2 * MIB);
	EXPECT(done.channel < 2);
	EXPECT_EQ(done.flags, 0);
	EXPECT(!memcmp(to.bytes + 15, from.bytes + 100, 1000));
	EXPECT(!memcmp(to.bytes + 5 + 3 * MIB + 1, from.bytes + 100 + MIB, 2 * MIB));
	EXPECT(is_byte(to.bytes, 15, POISON));
	EXPECT(is_byte(to.bytes + 1015, 3 * MIB + 6 - 1015, POISON));
	EXPECT(is_byte(to.bytes + 5 * MIB + 6, MIB, POISON));
	EXPECT_EQ(poll(&ready, 1, 0), 0);
}

TEST(abi_submit_refuses)
{
	struct device to = device_map(DAX1);
	int dma = dma_open(), other = dma_open();
	uint32_t src = region_of(dma, DAX0, 4096, MIB), dst = region_of(dma, DAX1, 0, MIB);
	uint32_t same = region_of(dma, DAX1, 512 * 1024, MIB);
	struct ioat_dma_segment good = { 0, 0, 4096 }, segment, two[2] = { good, { 0, 0, 0 } };
	struct ioat_dma_submit submit = submission(src, dst, &good, 1), bad;
	struct ioat_dma_region_create create = { .size = sizeof(create), .length = MIB };
	static const struct {
		struct ioat_dma_segment segment;
		int error;
	} segments[] = {
		{ { 0, 0, 0 }, EINVAL },
		{ { MIB, 0, 1 }, ERANGE },
		{ { 0, MIB, 1 }, ERANGE },
		{ { 1, 0, MIB }, ERANGE },
		{ { 0, 1, MIB }, ERANGE },
		{ { UINT64_MAX, 0, 2 }, ERANGE },
		{ { 0, UINT64_MAX, 2 }, ERANGE },
		{ { 0, 0, UINT64_MAX }, ERANGE },
		{ { 4096, 4096, UINT64_MAX - 4095 }, ERANGE },
	};
	size_t i;

	memset(to.bytes, POISON, 2 * MIB);
	bad = submit, bad.flags = 2;
	EXPECT_IOCTL_ERRNO(EOPNOTSUPP, dma, IOAT_DMA_SUBMIT, &bad);
	bad = submit, bad.__reserved = 1;
	EXPECT_IOCTL_ERRNO(EOPNOTSUPP, dma, IOAT_DMA_SUBMIT, &bad);
	bad = submit, bad.segment_count = 0;
	EXPECT_IOCTL_ERRNO(EINVAL, dma, IOAT_DMA_SUBMIT, &bad);
	bad = submit, bad.segment_count = 4097;
	EXPECT_IOCTL_ERRNO(EINVAL, dma, IOAT_DMA_SUBMIT, &bad);
	bad = submit, bad.segment_count = UINT32_MAX;
	EXPECT_IOCTL_ERRNO(EINVAL, dma, IOAT_DMA_SUBMIT, &bad);
	bad = submit, bad.timeout_ms = 3600001;
	EXPECT_IOCTL_ERRNO(EINVAL, dma, IOAT_DMA_SUBMIT, &bad);
	bad = submit, bad.src_region = 99;
	EXPECT_IOCTL_ERRNO(ENOENT, dma, IOAT_DMA_SUBMIT, &bad);
	bad = submit, bad.dst_region = UINT32_MAX;
	EXPECT_IOCTL_ERRNO(ENOENT, dma, IOAT_DMA_SUBMIT, &bad);
	bad = submit, bad.channel = 64;
	EXPECT_IOCTL_ERRNO(ENOENT, dma, IOAT_DMA_SUBMIT, &bad);
	bad = submit, bad.channel = 5;
	EXPECT_IOCTL_ERRNO(ENODEV, dma, IOAT_DMA_SUBMIT, &bad);
	bad = submit, bad.segments = 0;
	EXPECT_IOCTL_ERRNO(EFAULT, dma, IOAT_DMA_SUBMIT, &bad);
	bad = submit, bad.segments = UINT64_MAX - 8;
	EXPECT_IOCTL_ERRNO(EFAULT, dma, IOAT_DMA_SUBMIT, &bad);
	for (i = 0; i < sizeof(segments) / sizeof(segments[0]); i++) {
		segment = segments[i].segment;
		bad = submission(src, dst, &segment, 1);
		EXPECT_IOCTL_ERRNO(segments[i].error, dma, IOAT_DMA_SUBMIT, &bad);
	}
	/* one bad segment, and none is copied */
	bad = submission(src, dst, two, 2);
	EXPECT_IOCTL_ERRNO(EINVAL, dma, IOAT_DMA_SUBMIT, &bad);
	/* regions that overlap in the device: by what they name, not by their numbers */
	segment = (struct ioat_dma_segment){ 512 * 1024, 0, 4096 };
	bad = submission(dst, same, &segment, 1);
	EXPECT_IOCTL_ERRNO(EINVAL, dma, IOAT_DMA_SUBMIT, &bad);
	segment = (struct ioat_dma_segment){ 512 * 1024 - 4095, 0, 4096 };
	bad = submission(dst, same, &segment, 1);
	EXPECT_IOCTL_ERRNO(EINVAL, dma, IOAT_DMA_SUBMIT, &bad);
	/* regions belong to their file */
	EXPECT_IOCTL_ERRNO(ENOENT, other, IOAT_DMA_SUBMIT, &submit);
	/* read-only: a source, and no destination */
	create.fd = DO(open(DAX1, O_RDONLY));
	DO(ioctl(dma, IOAT_DMA_REGION_CREATE, &create));
	bad = submission(src, create.out_region, &good, 1);
	EXPECT_IOCTL_ERRNO(EACCES, dma, IOAT_DMA_SUBMIT, &bad);
	usleep(20000);
	EXPECT(is_byte(to.bytes, 2 * MIB, POISON));
	EXPECT_EQ(poll(&(struct pollfd){ .fd = dma, .events = POLLIN }, 1, 0), 0);
	good.dst_offset = 8192;
	submit = submission(create.out_region, dst, &good, 1);
	DO(ioctl(dma, IOAT_DMA_SUBMIT, &submit));
	EXPECT_EQ(next_completion(dma).status, IOAT_DMA_DONE);
}

TEST(abi_read_rules)
{
	int dma = dma_open(), i;
	uint32_t src = region_of(dma, DAX0, 0, MIB), dst = region_of(dma, DAX1, 0, MIB);
	struct ioat_dma_completion three[4];
	uint8_t *page;

	EXPECT_ERRNO(EINVAL, read(dma, three, sizeof(three[0]) - 1));
	EXPECT_ERRNO(EINVAL, read(dma, three, 0));
	DO(fcntl(dma, F_SETFL, O_NONBLOCK));
	EXPECT_ERRNO(EAGAIN, read(dma, three, sizeof(three)));
	for (i = 0; i < 3; i++)
		DO(submit_one(dma, i, src, dst, (struct ioat_dma_segment){ 0, i * 4096, 4096 }));
	while (DO(ioctl(dma, IOAT_DMA_CHANNEL_INFO, &(struct ioat_dma_channel_info){
			.size = sizeof(struct ioat_dma_channel_info) })) == 0 &&
	       (channel_info(dma, 0).out_in_flight || channel_info(dma, 1).out_in_flight))
		;
	usleep(20000);
	/* a record that cannot be handed over is not lost */
	EXPECT_ERRNO(EFAULT, read(dma, (void *)-4096, sizeof(three)));
	page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	DO(munmap(page + 4096, 4096));
	EXPECT_EQ(read(dma, page + 4096 - sizeof(three[0]) - 8, sizeof(three)), sizeof(three[0]));
	memset(three, POISON, sizeof(three));
	EXPECT_EQ(read(dma, three, sizeof(three) - 1), 2 * sizeof(three[0]));
	EXPECT(is_byte((uint8_t *)&three[2], sizeof(three[2]), POISON));
	EXPECT_ERRNO(EAGAIN, read(dma, three, sizeof(three)));
}

static void on_alarm(int signal)
{
	(void)signal;
}

TEST(abi_read_waits_and_can_be_interrupted)
{
	int dma = dma_open();
	uint32_t src = region_of(dma, DAX0, 0, MIB), dst = region_of(dma, DAX1, 0, MIB);
	struct ioat_dma_completion done;
	struct sigaction action = { .sa_handler = on_alarm };

	sigaction(SIGALRM, &action, NULL);
	alarm(1);
	EXPECT_ERRNO(EINTR, read(dma, &done, sizeof(done)));
	shell("fault delay=60ms");
	DO(submit_one(dma, 5, src, dst, (struct ioat_dma_segment){ 0, 0, 4096 }));
	EXPECT_EQ(read(dma, &done, sizeof(done)), sizeof(done));
	EXPECT_EQ(done.tag, 5);
	EXPECT(done.completed_ns - done.submitted_ns >= 40000000);
}

/* In flight and unread together are bounded, and reading makes room again. */
TEST(abi_requests_are_limited)
{
	int dma = dma_open();
	uint32_t src = region_of(dma, DAX0, 0, MIB), dst = region_of(dma, DAX1, 0, MIB);
	struct ioat_dma_segment segment = { 0, 0, 64 };
	struct ioat_dma_segment *many = calloc(4096, sizeof(*many));
	struct ioat_dma_submit submit;
	struct ioat_dma_info info = { .size = sizeof(info) };
	uint32_t made = 0, i;

	if (iommu_is_emulated())
		test_skip("65,536 mappings take longer than a request may");
	DO(ioctl(dma, IOAT_DMA_INFO, &info));
	while (!submit_one(dma, made, src, dst, segment))
		made++;
	EXPECT_EQ(errno, EAGAIN);
	EXPECT_EQ(made, info.out_max_requests);
	for (i = 0; i < made; i++)
		EXPECT_EQ(next_completion(dma).status, IOAT_DMA_DONE);
	DO(submit_one(dma, 0, src, dst, segment));
	next_completion(dma);
	/* likewise the segments of all of them */
	for (i = 0; i < 4096; i++)
		many[i] = segment;
	submit = submission(src, dst, many, 4096);
	for (made = 0; !ioctl(dma, IOAT_DMA_SUBMIT, &submit); made++)
		;
	EXPECT_EQ(errno, EAGAIN);
	EXPECT_EQ(made, info.out_max_queued / 4096);
	for (i = 0; i < made; i++) {
		struct ioat_dma_completion done = next_completion(dma);

		EXPECT_EQ(done.status, IOAT_DMA_DONE);
		EXPECT_EQ(done.bytes_done, 4096 * 64);
	}
}

TEST(abi_channel_of_ones_own_choice)
{
	int dma = dma_open();
	uint32_t src = region_of(dma, DAX0, 0, MIB), dst = region_of(dma, DAX1, 0, MIB), i;
	struct ioat_dma_segment segment = { 0, 0, 4096 };
	struct ioat_dma_completion done;

	for (i = 0; i < 20; i++) {
		struct ioat_dma_submit submit = submission(src, dst, &segment, 1);
		struct ioat_dma_channel_info before[2] = { channel_info(dma, 0), channel_info(dma, 1) };

		submit.channel = i & 1;
		DO(ioctl(dma, IOAT_DMA_SUBMIT, &submit));
		done = next_completion(dma);
		EXPECT_EQ(done.channel, i & 1);
		EXPECT_EQ(done.channels, 1 << (i & 1));
		EXPECT_EQ(channel_info(dma, i & 1).out_operations, before[i & 1].out_operations + 1);
		EXPECT_EQ(channel_info(dma, i & 1).out_bytes, before[i & 1].out_bytes + 4096);
		EXPECT_EQ(channel_info(dma, !(i & 1)).out_operations, before[!(i & 1)].out_operations);
	}
}

TEST(abi_any_channel_uses_all)
{
	int dma = dma_open();
	uint32_t src = region_of(dma, DAX0, 0, 128 * MIB), dst = region_of(dma, DAX1, 0, 128 * MIB);
	uint64_t before[2] = { channel_info(dma, 0).out_bytes, channel_info(dma, 1).out_bytes };
	struct ioat_dma_completion done;

	shell("fault delay=2msx40");
	DO(submit_one(dma, 1, src, dst, (struct ioat_dma_segment){ 0, 0, 128 * MIB }));
	done = next_completion(dma);
	EXPECT_EQ(done.bytes_done, 128 * MIB);
	EXPECT_EQ(done.channels, 3);
	shell("fault clear");
	EXPECT(channel_info(dma, 0).out_bytes - before[0] >= 8 * MIB);
	EXPECT(channel_info(dma, 1).out_bytes - before[1] >= 8 * MIB);
}

/* Each segment reads what the one before wrote. */
TEST(abi_ordered_segments)
{
	struct device dax = device_map(DAX0);
	int dma = dma_open(), round, i;
	uint32_t region = region_of(dma, DAX0, 0, 128 * MIB);
	struct ioat_dma_segment segments[16];
	struct ioat_dma_submit submit = submission(region, region, segments, 16);

	for (i = 0; i < 16; i++)
		segments[i] = (struct ioat_dma_segment){ i * 3 * MIB, (i + 1) * 3 * MIB, 3 * MIB };
	submit.flags = IOAT_DMA_SUBMIT_ORDERED;
	for (round = 0; round < 3; round++) {
		pattern(dax.bytes, 3 * MIB, 40 + round);
		memset(dax.bytes + 3 * MIB, POISON, 48 * MIB);
		DO(ioctl(dma, IOAT_DMA_SUBMIT, &submit));
		EXPECT_EQ(next_completion(dma).status, IOAT_DMA_DONE);
		EXPECT(is_pattern(dax.bytes + 48 * MIB, 3 * MIB, 40 + round));
	}
}

TEST(abi_cancel)
{
	int dma = dma_open(), other = dma_open(), i, canceled = 0;
	uint32_t src = region_of(dma, DAX0, 0, 128 * MIB), dst = region_of(dma, DAX1, 0, 128 * MIB);
	struct ioat_dma_cancel cancel = { .size = sizeof(cancel), .tag = 77, .out_canceled = 0x5c };
	struct ioat_dma_completion done;

	EXPECT_IOCTL_ERRNO(ENOENT, dma, IOAT_DMA_CANCEL, &cancel);
	shell("fault delay=20msx*");
	for (i = 0; i < 4; i++)
		DO(submit_one(dma, i ? 77 : 76, src, dst, (struct ioat_dma_segment){ 0, 0, 128 * MIB }));
	EXPECT_IOCTL_ERRNO(ENOENT, other, IOAT_DMA_CANCEL, &cancel);
	DO(ioctl(dma, IOAT_DMA_CANCEL, &cancel));
	EXPECT_EQ(cancel.out_canceled, 3);
	cancel.tag = 76;
	DO(ioctl(dma, IOAT_DMA_CANCEL, &cancel));
	EXPECT_EQ(cancel.out_canceled, 1);
	for (i = 0; i < 4; i++) {
		done = next_completion(dma);
		EXPECT_EQ(done.status, IOAT_DMA_CANCELED);
		EXPECT(done.bytes_done < 128 * MIB);
		EXPECT_EQ(done.flags, 0);
		canceled += done.tag == 77;
	}
	shell("fault clear");
	EXPECT_EQ(canceled, 3);
	EXPECT_IOCTL_ERRNO(ENOENT, dma, IOAT_DMA_CANCEL, &cancel);
}

TEST(abi_timeout)
{
	int dma = dma_open();
	uint32_t src = region_of(dma, DAX0, 0, 128 * MIB), dst = region_of(dma, DAX1, 0, 128 * MIB);
	struct ioat_dma_segment segment = { 0, 0, 128 * MIB };
	struct ioat_dma_submit submit = submission(src, dst, &segment, 1);
	struct ioat_dma_completion done, settled;
	uint64_t start = now_ms();

	shell("fault delay=20msx*");
	submit.timeout_ms = 200;
	DO(ioctl(dma, IOAT_DMA_SUBMIT, &submit));
	done = next_completion(dma);
	EXPECT_EQ(done.status, IOAT_DMA_TIMED_OUT);
	EXPECT(done.bytes_done < 128 * MIB);
	EXPECT(done.completed_ns - done.submitted_ns >= 200000000);
	EXPECT(done.completed_ns - done.submitted_ns < 2000000000); /* a busy machine */
	EXPECT(now_ms() - start < 5000);
	EXPECT_EQ(done.flags, IOAT_DMA_COMPLETION_UNSETTLED);
	settled = next_record(dma);
	EXPECT_EQ(settled.flags, IOAT_DMA_COMPLETION_SETTLED);
	settled.flags = done.flags;
	settled.channels = done.channels;
	EXPECT(!memcmp(&settled, &done, sizeof(done)));
	shell("fault clear");
	wait_for_channels(dma, IOAT_DMA_CHANNEL_READY, 2, 10000);
}

/* Who reads of a timeout only when the hardware is through reads of it once. */
TEST(abi_timeout_read_late)
{
	int dma = dma_open();
	uint32_t src = region_of(dma, DAX0, 0, 128 * MIB), dst = region_of(dma, DAX1, 0, 128 * MIB);
	struct ioat_dma_segment segment = { 0, 0, 128 * MIB };
	struct ioat_dma_submit submit = submission(src, dst, &segment, 1);
	struct ioat_dma_completion done;
	struct pollfd ready = { .fd = dma, .events = POLLIN };
	int i;

	shell("fault delay=20msx*");
	submit.timeout_ms = 200;
	DO(ioctl(dma, IOAT_DMA_SUBMIT, &submit));
	EXPECT_EQ(poll(&ready, 1, 30000), 1);
	shell("fault clear");
	for (i = 0; i < 2; i++)
		while (channel_info(dma, i).out_in_flight)
			usleep(5000);
	wait_for_channels(dma, IOAT_DMA_CHANNEL_READY, 2, 10000);
	/* a channel that has done this one is through with what it had before */
	segment.length = 1;
	for (i = 0; i < 2; i++) {
		uint64_t before = channel_info(dma, i).out_operations;

		submit.channel = i;
		DO(ioctl(dma, IOAT_DMA_SUBMIT, &submit));
		while (channel_info(dma, i).out_operations == before)
			usleep(1000);
	}
	done = next_record(dma);
	EXPECT_EQ(done.status, IOAT_DMA_TIMED_OUT);
	EXPECT_EQ(done.flags, 0);
	for (i = 0; i < 2; i++)
		EXPECT_EQ(next_record(dma).status, IOAT_DMA_DONE);
	EXPECT_EQ(poll(&ready, 1, 200), 0);
}

/* A stream of large requests of one file does not keep a small one of another waiting. */
TEST(abi_files_take_turns)
{
	int greedy = dma_open(), modest = dma_open(), i;
	uint32_t src = region_of(greedy, DAX0, 0, 128 * MIB), dst = region_of(greedy, DAX1, 0, 128 * MIB);
	uint32_t from = region_of(modest, DAX0, 0, MIB), to = region_of(modest, DAX1, 200 * MIB, MIB);
	struct ioat_dma_completion done;

	shell("fault delay=5msx*");
	for (i = 0; i < 8; i++)
		DO(submit_one(greedy, i, src, dst, (struct ioat_dma_segment){ 0, 0, 128 * MIB }));
	DO(submit_one(modest, 1, from, to, (struct ioat_dma_segment){ 0, 0, 4096 }));
	done = next_completion(modest);
	shell("fault clear");
	EXPECT_EQ(done.status, IOAT_DMA_DONE);
	/* 1 GiB in pieces of 1 MiB, 5 ms each, on two channels takes 2.5 s */
	EXPECT(done.completed_ns - done.submitted_ns < 1000000000);
}
