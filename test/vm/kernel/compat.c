// SPDX-License-Identifier: GPL-2.0-only
/*
 * What 32-bit programs get: the system calls that `int $0x80` makes, which are open to
 * 64-bit ones as well. That the structs are the same is seen to by layout.c.
 */
#include <fcntl.h>
#include <sys/mman.h>

#include "harness.h"

enum { READ32 = 3, IOCTL32 = 54 };

static long call32(long number, long first, long second, const void *third)
{
	long ret;

	__asm__ volatile("int $0x80"
			 : "=a"(ret)
			 : "a"(number), "b"(first), "c"(second), "d"(third)
			 : "memory", "r8", "r9", "r10", "r11");
	if ((int)ret < 0) {
		errno = -(int)ret;
		return -1;
	}
	return (int)ret;
}

static long ioctl32(int fd, unsigned long command, void *arg)
{
	return call32(IOCTL32, fd, command, arg);
}

/* Where a pointer of 32 bits reaches. */
static void *low_page(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

	EXPECT(page != MAP_FAILED);
	return page;
}

TEST(compat_interface)
{
	struct device from = device_map(DAX0), to = device_map(DAX1);
	int dma = dma_open();
	struct {
		struct ioat_dma_info info;
		struct ioat_dma_channel_info channel;
		struct ioat_dma_region_create create;
		struct ioat_dma_region_destroy destroy;
		struct ioat_dma_segment segment;
		struct ioat_dma_submit submit;
		struct ioat_dma_cancel cancel;
		struct ioat_dma_completion done;
	} *low = low_page();
	struct ioat_dma_info info = { .size = sizeof(info) };

	DO(ioctl(dma, IOAT_DMA_INFO, &info));
	low->info.size = sizeof(info);
	DO(ioctl32(dma, IOAT_DMA_INFO, &low->info));
	EXPECT(!memcmp(&info, &low->info, sizeof(info)));
	low->channel.size = sizeof(low->channel);
	DO(ioctl32(dma, IOAT_DMA_CHANNEL_INFO, &low->channel));
	EXPECT(!strcmp((char *)low->channel.out_driver, "ioatdma"));

	low->create = (struct ioat_dma_region_create){
		.size = sizeof(low->create), .fd = -1, .length = MIB,
	};
	EXPECT_ERRNO(EBADF, ioctl32(dma, IOAT_DMA_REGION_CREATE, &low->create));
	low->create.fd = DO(open(DAX0, O_RDWR));
	DO(ioctl32(dma, IOAT_DMA_REGION_CREATE, &low->create));
	pattern(from.bytes, 70000, 8);
	memset(to.bytes, POISON, MIB);
	low->segment = (struct ioat_dma_segment){ 0, 77, 70000 };
	low->submit = submission(low->create.out_region, region_of(dma, DAX1, 0, MIB),
				 &low->segment, 1);
	low->submit.tag = 0x123456789abcdef0;
	DO(ioctl32(dma, IOAT_DMA_SUBMIT, &low->submit));
	EXPECT_EQ(call32(READ32, dma, (long)&low->done, (void *)sizeof(low->done)),
		  sizeof(low->done));
	EXPECT_EQ(low->done.tag, 0x123456789abcdef0);
	EXPECT_EQ(low->done.status, IOAT_DMA_DONE);
	EXPECT_EQ(low->done.bytes_done, 70000);
	EXPECT(!memcmp(from.bytes, to.bytes + 77, 70000));
	EXPECT(is_byte(to.bytes, 77, POISON));

	low->cancel = (struct ioat_dma_cancel){ .size = sizeof(low->cancel), .tag = 1 };
	EXPECT_ERRNO(ENOENT, ioctl32(dma, IOAT_DMA_CANCEL, &low->cancel));
	low->destroy = (struct ioat_dma_region_destroy){
		.size = sizeof(low->destroy), .region = low->create.out_region,
	};
	DO(ioctl32(dma, IOAT_DMA_REGION_DESTROY, &low->destroy));
	EXPECT_ERRNO(ENOENT, ioctl32(dma, IOAT_DMA_REGION_DESTROY, &low->destroy));
	EXPECT_ERRNO(ENOTTY, ioctl32(dma, _IO(0xad, 0x46), low));
	EXPECT_ERRNO(EFAULT, ioctl32(dma, IOAT_DMA_INFO, NULL));
}

TEST(compat_legacy)
{
	struct device dax = device_map(DAX0);
	int dma = dma_open();
	struct {
		struct ioat_dma_legacy_copy copy;
		struct ioat_dma_legacy_start start;
		struct ioat_dma_legacy_wait wait;
		uint64_t number;
	} *low = low_page();

	pattern(dax.bytes, 65536, 9);
	memset(dax.bytes + MIB, POISON, MIB);
	low->copy = (struct ioat_dma_legacy_copy){
		.device_name = DAX0, .dst_offset = MIB, .size = 65536,
	};
	DO(ioctl32(dma, IOAT_DMA_LEGACY_COPY, &low->copy));
	EXPECT(is_pattern(dax.bytes + MIB, 65536, 9));
	EXPECT(is_byte(dax.bytes + MIB + 65536, MIB - 65536, POISON));

	DO(ioctl32(dma, IOAT_DMA_LEGACY_COUNT, &low->number));
	EXPECT_EQ(low->number, 2);
	DO(ioctl32(dma, IOAT_DMA_LEGACY_RESERVE, &low->number));
	low->start = (struct ioat_dma_legacy_start){
		.device_id = low->number, .device_name = DAX0, .dst_offset = 2 * MIB, .size = 65536,
	};
	DO(ioctl32(dma, IOAT_DMA_LEGACY_START, &low->start));
	low->wait.device_id = low->number;
	DO(ioctl32(dma, IOAT_DMA_LEGACY_WAIT, &low->wait));
	EXPECT_EQ(low->wait.completed, 1);
	EXPECT(is_pattern(dax.bytes + 2 * MIB, 65536, 9));
}
