// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory that cannot be had: each allocation of each call fails once, in turn. The debug
 * kernel can be told so. What must hold is that the call says ENOMEM, that nothing of it
 * is left behind (which kmemleak sees to at the end), and that it works the next time.
 */
#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>

#include "harness.h"

static struct device from, to;
static int dma, dax, fail_nth;
static uint32_t src, dst;

static void begin(void)
{
	if (access("/proc/self/fail-nth", F_OK))
		test_skip("only the debug kernel fails allocations");
	shell("cd /sys/kernel/debug && echo N > failslab/ignore-gfp-wait &&"
	      "echo N > fail_page_alloc/ignore-gfp-wait && echo 0 > fail_page_alloc/min-order &&"
	      "echo 0 > failslab/verbose && echo 0 > fail_page_alloc/verbose");
	fail_nth = DO(open("/proc/thread-self/fail-nth", O_RDWR));
	from = device_map(DAX0);
	to = device_map(DAX1);
	pattern(from.bytes, 65536, 31);
	dma = dma_open();
	dax = DO(open(DAX0, O_RDWR));
	src = region_of(dma, DAX0, 0, MIB);
	dst = region_of(dma, DAX1, 0, MIB);
}

/* The @nth allocation of this thread fails from here on; 0 for none. */
static void fail_allocation(int nth)
{
	char text[16];

	DO(pwrite(fail_nth, text, snprintf(text, sizeof(text), "%d", nth), 0));
}

/* Whether that came to pass. */
static bool allocation_failed(void)
{
	char left[16] = "";

	DO(pread(fail_nth, left, sizeof(left) - 1, 0));
	return !atoi(left);
}

/*
 * @call is made with its first, second ... allocation failing until it needs no more;
 * how many it needed.
 */
static int each_allocation(int (*call)(void))
{
	int nth, ret, error;
	bool failed;

	for (nth = 1;; nth++) {
		fail_allocation(nth);
		ret = call();
		error = errno;
		failed = allocation_failed();
		fail_allocation(0);
		if (ret < 0 && error != ENOMEM)
			FAIL("allocation %d: %s", nth, strerror(error));
		if (!failed) {
			EXPECT(ret >= 0);
			printf("    %d allocations\n", nth - 1);
			return nth - 1;
		}
		if (ret < 0 && call() < 0)
			FAIL("allocation %d: and then %s", nth, strerror(errno));
	}
}

static int open_and_close(void)
{
	int fd = open("/dev/ioat-dma", O_RDWR);

	return fd < 0 ? -1 : close(fd);
}

TEST(allocation_open)
{
	begin();
	EXPECT(each_allocation(open_and_close) >= 1);
}

static int make_region(void)
{
	struct ioat_dma_region_create create = { .size = sizeof(create), .length = MIB, .fd = dax };
	struct ioat_dma_region_destroy destroy = { .size = sizeof(destroy) };

	if (ioctl(dma, IOAT_DMA_REGION_CREATE, &create))
		return -1;
	destroy.region = create.out_region;
	return ioctl(dma, IOAT_DMA_REGION_DESTROY, &destroy);
}

TEST(allocation_region)
{
	begin();
	EXPECT(each_allocation(make_region) >= 2);
}

/* Behind an IOMMU a copy may also fail later, for want of a mapping. */
static int copy(void)
{
	struct ioat_dma_completion done;

	memset(to.bytes, POISON, 65536);
	if (submit_one(dma, 1, src, dst, (struct ioat_dma_segment){ 0, 0, 65536 })) {
		EXPECT_EQ(poll(&(struct pollfd){ .fd = dma, .events = POLLIN }, 1, 0), 0);
		EXPECT(is_byte(to.bytes, 65536, POISON));
		return -1;
	}
	done = next_completion(dma);
	if (done.status == IOAT_DMA_FAILED) {
		EXPECT_EQ(done.error, IOAT_DMA_ERROR_MAP);
		EXPECT_EQ(done.bytes_done, 0);
		EXPECT(is_byte(to.bytes, 65536, POISON));
		errno = ENOMEM;
		return -1;
	}
	EXPECT_EQ(done.status, IOAT_DMA_DONE);
	EXPECT(!memcmp(from.bytes, to.bytes, 65536));
	return 0;
}

TEST(allocation_submit)
{
	begin();
	EXPECT(each_allocation(copy) >= 2);
}

static int legacy_copy_once(void)
{
	struct ioat_dma_legacy_copy args = {
		.device_name = DAX0, .src_offset = 0, .dst_offset = 8 * MIB, .size = 65536,
	};

	if (ioctl(dma, IOAT_DMA_LEGACY_COPY, &args)) {
		if (errno == EIO && iommu_is_emulated())
			errno = ENOMEM; /* no mapping */
		return -1;
	}
	EXPECT(!memcmp(from.bytes, from.bytes + 8 * MIB, 65536));
	return 0;
}

TEST(allocation_legacy_copy)
{
	begin();
	EXPECT(each_allocation(legacy_copy_once) >= 4);
}

static char image[8 * MIB];
static long image_size;

static int load_and_unload(void)
{
	if (syscall(SYS_init_module, image, image_size, ""))
		return -1;
	return syscall(SYS_delete_module, "ioat_dma", O_NONBLOCK);
}

/* Without channels: a single one of ioatdma's is more than 65536 allocations. */
TEST_TIMED(allocation_module, 120)
{
	int file;

	begin();
	close(dma);
	file = DO(open("/modules/ioat-dma.ko", O_RDONLY));
	image_size = DO(read(file, image, sizeof(image)));
	EXPECT(image_size < (long)sizeof(image));
	DO(syscall(SYS_delete_module, "ioat_dma", O_NONBLOCK));
	shell("rmmod ioatdma");
	EXPECT(each_allocation(load_and_unload) >= 10);
	/* as it was loaded, for the tests behind this one */
	shell("modprobe ioatdma && " INSMOD);
	dma = dma_open();
	wait_for_channels(dma, IOAT_DMA_CHANNEL_READY, 2, 10000);
}
