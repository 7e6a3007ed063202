// SPDX-License-Identifier: GPL-2.0-only
/* Every errno and rule of the module's own interface, by what its header says. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "harness.h"

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
	EXPECT_EQ(info.out_completion_size, sizeof(struct ioat_dma_completion));
	EXPECT_EQ(info.out_refused_count, 0);
	EXPECT(is_byte((uint8_t *)info.out_refused, sizeof(info.out_refused), 0));
}

/* Any ioctl's struct, and memory behind it. */
union argument {
	uint32_t size;
	struct ioat_dma_info info;
	struct ioat_dma_channel_info channel_info;
	struct ioat_dma_region_create create;
	struct ioat_dma_region_destroy destroy;
	struct ioat_dma_submit submit;
	struct ioat_dma_cancel cancel;
	uint8_t bytes[4096];
};

static const struct call {
	const char *name;
	unsigned long command;
	uint32_t size;
	bool answers;
	int error; /* of a call with nothing wrong in it */
} calls[] = {
	{ "INFO", IOAT_DMA_INFO, sizeof(struct ioat_dma_info), true, 0 },
	{ "CHANNEL_INFO", IOAT_DMA_CHANNEL_INFO, sizeof(struct ioat_dma_channel_info), true, 0 },
	{ "REGION_CREATE", IOAT_DMA_REGION_CREATE, sizeof(struct ioat_dma_region_create), true, 0 },
	{ "REGION_DESTROY", IOAT_DMA_REGION_DESTROY, sizeof(struct ioat_dma_region_destroy), false, 0 },
	{ "SUBMIT", IOAT_DMA_SUBMIT, sizeof(struct ioat_dma_submit), false, 0 },
	{ "CANCEL", IOAT_DMA_CANCEL, sizeof(struct ioat_dma_cancel), true, ENOENT },
};

static struct {
	int dma, dax;
	uint32_t src, dst;
	struct ioat_dma_segment segment;
} fixture;

/* Nothing is wrong with it, but that no request is there to cancel. */
static void fill(const struct call *call, union argument *arg)
{
	memset(arg, 0, sizeof(*arg));
	switch (call->command) {
	case IOAT_DMA_REGION_CREATE:
		arg->create.fd = fixture.dax;
		arg->create.length = 4096;
		break;
	case IOAT_DMA_REGION_DESTROY:
		arg->destroy.region = region_of(fixture.dma, DAX0, 0, 4096);
		break;
	case IOAT_DMA_SUBMIT:
		arg->submit = submission(fixture.src, fixture.dst, &fixture.segment, 1);
		break;
	}
	arg->size = call->size;
}

static void expect_good(const struct call *call, union argument *arg)
{
	int ret = ioctl(fixture.dma, call->command, arg), error = ret ? errno : 0;

	if (error != call->error)
		FAIL("%s: %s", call->name, strerror(error));
	if (!error && call->command == IOAT_DMA_SUBMIT)
		EXPECT_EQ(next_completion(fixture.dma).status, IOAT_DMA_DONE);
}

/* Shorter than the ioctl needs is an error; longer is fine if the rest is zero. */
static void check_sizes(const struct call *call, union argument *arg)
{
	const struct { uint32_t size; int error; } bad[] = {
		{ 0, EINVAL }, { 4, EINVAL }, { call->size - 1, EINVAL },
		{ 4097, E2BIG }, { INT32_MAX, E2BIG }, { UINT32_MAX, E2BIG },
	};
	size_t i;

	printf("    %s\n", call->name);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		arg->size = bad[i].size;
		EXPECT_IOCTL_ERRNO(bad[i].error, fixture.dma, call->command, arg);
	}
	for (arg->size = call->size + 1; arg->size <= call->size + 16; arg->size++) {
		arg->bytes[arg->size - 1] = 1;
		EXPECT_IOCTL_ERRNO(E2BIG, fixture.dma, call->command, arg);
		arg->bytes[arg->size - 1] = 0;
	}
	arg->size = 4096;
	expect_good(call, arg);
	EXPECT_EQ(arg->size, 4096);
	EXPECT(is_byte(arg->bytes + call->size, sizeof(*arg) - call->size, 0));
}

static void check_pointers(const struct call *call, union argument *arg, uint8_t *pages)
{
	EXPECT_ERRNO(EFAULT, ioctl(fixture.dma, call->command, NULL));
	EXPECT_ERRNO(EFAULT, ioctl(fixture.dma, call->command, (void *)-8));
	EXPECT_ERRNO(EFAULT, ioctl(fixture.dma, call->command, pages + 4096));
	/* the size can be read, the rest cannot */
	memcpy(pages + 4092, &call->size, 4);
	EXPECT_ERRNO(EFAULT, ioctl(fixture.dma, call->command, pages + 4092));
	/* the answer cannot be written */
	memcpy(pages, arg, call->size);
	DO(mprotect(pages, 4096, PROT_READ));
	if (call->answers && !call->error)
		EXPECT_ERRNO(EFAULT, ioctl(fixture.dma, call->command, pages));
	else
		expect_good(call, (void *)pages);
	DO(mprotect(pages, 4096, PROT_READ | PROT_WRITE));
}

TEST(abi_structs)
{
	uint8_t *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	union argument arg;
	size_t i;

	DO(munmap(pages + 4096, 4096));
	fixture.dma = dma_open();
	fixture.dax = DO(open(DAX0, O_RDWR));
	fixture.src = region_of(fixture.dma, DAX0, 0, MIB);
	fixture.dst = region_of(fixture.dma, DAX1, 0, MIB);
	fixture.segment = (struct ioat_dma_segment){ 0, 0, 64 };
	for (i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		fill(&calls[i], &arg);
		check_sizes(&calls[i], &arg);
		fill(&calls[i], &arg);
		check_pointers(&calls[i], &arg, pages);
	}
	/* what failed did nothing: no completion that nobody waited for */
	EXPECT_EQ(poll(&(struct pollfd){ .fd = fixture.dma, .events = POLLIN }, 1, 0), 0);
}

/* Every bit that has no meaning yet. */
TEST(abi_reserved_bits)
{
	int dma = dma_open(), bit;
	uint32_t src = region_of(dma, DAX0, 0, MIB), dst = region_of(dma, DAX1, 0, MIB);
	struct ioat_dma_segment segment = { 0, 0, 64 };

	for (bit = 0; bit < 32; bit++) {
		struct ioat_dma_info info = { .size = sizeof(info), .flags = 1u << bit };
		struct ioat_dma_channel_info channel = {
			.size = sizeof(channel), .__reserved = 1u << bit,
		};
		struct ioat_dma_region_create create = {
			.size = sizeof(create), .length = 4096, .flags = 1u << bit,
			.fd = DO(open(DAX0, O_RDWR)),
		};
		struct ioat_dma_submit submit = submission(src, dst, &segment, 1);

		EXPECT_IOCTL_ERRNO(EOPNOTSUPP, dma, IOAT_DMA_INFO, &info);
		EXPECT_IOCTL_ERRNO(EOPNOTSUPP, dma, IOAT_DMA_CHANNEL_INFO, &channel);
		EXPECT_IOCTL_ERRNO(EOPNOTSUPP, dma, IOAT_DMA_REGION_CREATE, &create);
		create.flags = 0;
		create.__reserved = 1u << bit;
		EXPECT_IOCTL_ERRNO(EOPNOTSUPP, dma, IOAT_DMA_REGION_CREATE, &create);
		close(create.fd);
		submit.__reserved = 1u << bit;
		EXPECT_IOCTL_ERRNO(EOPNOTSUPP, dma, IOAT_DMA_SUBMIT, &submit);
		submit.__reserved = 0;
		submit.flags = 1u << bit;
		if (submit.flags != IOAT_DMA_SUBMIT_ORDERED)
			EXPECT_IOCTL_ERRNO(EOPNOTSUPP, dma, IOAT_DMA_SUBMIT, &submit);
	}
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

	create.length = dax.size;
	DO(ioctl(dma, IOAT_DMA_REGION_CREATE, &create));
	EXPECT(create.out_region != 0x5c5c && create.out_numa_node >= -1);
}

/* What it cannot look at safely it leaves alone. */
TEST(abi_region_of_an_unknown_kind)
{
	int dma = dma_open();
	struct ioat_dma_region_create create = { .size = sizeof(create), .length = 4096 };
	struct ioat_dma_legacy_copy copy = {
		.device_name = "/dev/lab_strange", .dst_offset = 4096, .size = 4096,
	};

	shell("insmod /modules/lab_strange.ko");
	create.fd = DO(open("/dev/lab_strange", O_RDWR));
	EXPECT_IOCTL_ERRNO(EOPNOTSUPP, dma, IOAT_DMA_REGION_CREATE, &create);
	EXPECT_IOCTL_ERRNO(EOPNOTSUPP, dma, IOAT_DMA_LEGACY_COPY, &copy);
	close(create.fd);
	shell("rmmod lab_strange");
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
	bad = submit, bad.channel = 40; /* of no channel that ever was */
	EXPECT_IOCTL_ERRNO(ENOENT, dma, IOAT_DMA_SUBMIT, &bad);
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

struct disturber {
	_Atomic(void *) at;
	atomic_bool stop;
};

/* Puts the other device where a region's own look at its device is mapped. */
static void *disturb(void *arg)
{
	struct disturber *self = arg;
	int other = DO(open(DAX1, O_RDWR));

	while (!self->at)
		usleep(1000);
	while (!self->stop) {
		mmap(self->at, 2 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, other, 0);
		munmap(self->at, 2 * MIB);
	}
	return NULL;
}

/* EAGAIN, or a region of the right memory; never of what another thread put there. */
TEST(abi_region_while_mappings_change)
{
	struct device from = device_map(DAX0), to = device_map(DAX1);
	int dma = dma_open(), again = 0, round;
	uint32_t dst = region_of(dma, DAX1, 8 * MIB, MIB);
	struct ioat_dma_region_create create = {
		.size = sizeof(create), .length = 4096, .fd = DO(open(DAX0, O_RDWR)),
	};
	struct ioat_dma_region_destroy destroy = { .size = sizeof(destroy) };
	struct disturber disturber = { .stop = false };
	pthread_t thread;
	void *at;

	pattern(from.bytes, 4096, 21);
	memset(to.bytes, POISON, 4096);
	EXPECT(!pthread_create(&thread, NULL, disturb, &disturber));
	/* addresses are given out from the top: the next one is where this was */
	at = mmap(NULL, 2 * MIB, PROT_READ, MAP_SHARED, create.fd, 0);
	EXPECT(at != MAP_FAILED);
	DO(munmap(at, 2 * MIB));
	disturber.at = at;
	for (round = 0; round < 300; round++) {
		if (ioctl(dma, IOAT_DMA_REGION_CREATE, &create)) {
			EXPECT_EQ(errno, EAGAIN);
			again++;
			continue;
		}
		memset(to.bytes + 8 * MIB, POISON, 4096);
		DO(submit_one(dma, 1, create.out_region, dst, (struct ioat_dma_segment){ 0, 0, 4096 }));
		EXPECT_EQ(next_completion(dma).status, IOAT_DMA_DONE);
		EXPECT(is_pattern(to.bytes + 8 * MIB, 4096, 21));
		destroy.region = create.out_region;
		DO(ioctl(dma, IOAT_DMA_REGION_DESTROY, &destroy));
	}
	disturber.stop = true;
	pthread_join(thread, NULL);
	printf("    disturbed %d times\n", again);
}
