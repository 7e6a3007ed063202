// SPDX-License-Identifier: GPL-2.0-only
/* The two original interfaces, called as a user of the original's README would. */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "harness.h"

/* Not the module's header: the lines that the original's README gives its users. */
struct ioctl_dma_args {
  char device_name[64];
  uint64_t src_offset;
  uint64_t dst_offset;
  uint64_t size;
} __attribute__ ((packed));
#define IOCTL_IOAT_DMA_SUBMIT _IOW(0xad, 0, struct ioctl_dma_args)

/* Its second interface, as programs that were built long ago have it in them. */

struct ioctl_dma_start_args {
	uint64_t device_id;
	char device_name[32];
	uint64_t src_offset;
	uint64_t dst_offset;
	uint64_t size;
} __attribute__((packed));

struct ioctl_dma_wait_args {
	uint64_t device_id;
	uint64_t completed;
} __attribute__((packed));

#define OLD_COUNT _IOR(0xad, 0, uint64_t)
#define OLD_RESERVE _IOR(0xad, 1, uint64_t)
#define OLD_START _IOW(0xad, 0, struct ioctl_dma_start_args)
#define OLD_WAIT _IOWR(0xad, 0, struct ioctl_dma_wait_args)

_Static_assert(sizeof(struct ioctl_dma_args) == 88, "as of the original");
_Static_assert(sizeof(struct ioctl_dma_start_args) == 64, "as of the original");
_Static_assert(sizeof(struct ioctl_dma_wait_args) == 16, "as of the original");
_Static_assert(IOCTL_IOAT_DMA_SUBMIT == IOAT_DMA_LEGACY_COPY, "the header tells the same");
_Static_assert(OLD_COUNT == IOAT_DMA_LEGACY_COUNT, "the header tells the same");
_Static_assert(OLD_RESERVE == IOAT_DMA_LEGACY_RESERVE, "the header tells the same");
_Static_assert(OLD_START == IOAT_DMA_LEGACY_START, "the header tells the same");
_Static_assert(OLD_WAIT == IOAT_DMA_LEGACY_WAIT, "the header tells the same");

TEST(legacy_copy)
{
	struct device dax = device_map(DAX0);
	uint64_t src_offset = 0, dst_offset = 32 * MIB, size = 2 * MIB;

	pattern(dax.bytes, 2 * MIB, 1);
	memset(dax.bytes + 31 * MIB, POISON, 4 * MIB);
	{
		int fd = open("/dev/ioat-dma", O_RDWR);
		struct ioctl_dma_args args = {
		  .device_name = "/dev/dax0.0",
		  .src_offset = src_offset,
		  .dst_offset = dst_offset,
		  .size = size,
		};
		EXPECT_EQ(ioctl(fd, IOCTL_IOAT_DMA_SUBMIT, &args), 0);
	}
	EXPECT(is_pattern(dax.bytes + 32 * MIB, 2 * MIB, 1));
	EXPECT(is_byte(dax.bytes + 31 * MIB, MIB, POISON));
	EXPECT(is_byte(dax.bytes + 34 * MIB, MIB, POISON));
}

/* The program of RECIPES.md, compiled by test/vm/kernel/test: 1 MiB from 0 to 8 MiB. */
TEST(legacy_recipe)
{
	struct device dax = device_map(DAX0);

	pattern(dax.bytes, MIB, 3);
	memset(dax.bytes + MIB, POISON, 9 * MIB);
	EXPECT_EQ(system("/share/ioctl-copy"), 0);
	EXPECT(is_byte(dax.bytes + MIB, 7 * MIB, POISON));
	EXPECT(is_pattern(dax.bytes + 8 * MIB, MIB, 3));
	EXPECT(is_byte(dax.bytes + 9 * MIB, MIB, POISON));
}

TEST(legacy_copy_of_any_bytes)
{
	struct device dax = device_map(DAX0);
	int fd = dma_open();
	struct ioctl_dma_args args = {
		.device_name = DAX0, .src_offset = 4097, .dst_offset = 2 * MIB - 3, .size = 5,
	};

	pattern(dax.bytes, MIB, 2);
	memset(dax.bytes + MIB, POISON, 2 * MIB);
	DO(ioctl(fd, IOCTL_IOAT_DMA_SUBMIT, &args));
	EXPECT(!memcmp(dax.bytes + 2 * MIB - 3, dax.bytes + 4097, 5));
	EXPECT(is_byte(dax.bytes + MIB, MIB - 3, POISON));
	EXPECT(is_byte(dax.bytes + 2 * MIB + 2, MIB - 2, POISON));
}

TEST(legacy_copy_up_to_the_last_byte)
{
	struct device dax = device_map(DAX0);
	int fd = dma_open();
	struct ioctl_dma_args args = {
		.device_name = DAX0, .src_offset = 0, .dst_offset = dax.size - 4096, .size = 4096,
	};

	pattern(dax.bytes, 4096, 3);
	DO(ioctl(fd, IOCTL_IOAT_DMA_SUBMIT, &args));
	EXPECT(is_pattern(dax.bytes + dax.size - 4096, 4096, 3));
}

TEST(legacy_copy_refuses)
{
	struct device dax = device_map(DAX0);
	int fd = dma_open();
	const struct ioctl_dma_args good = {
		.device_name = DAX0, .src_offset = 0, .dst_offset = 8 * MIB, .size = 4096,
	};
	struct ioctl_dma_args args;
	static const struct {
		const char *path;
		int error;
	} paths[] = {
		{ "", ENOENT },
		{ "/dev/dax9.9", ENOENT },
		{ "/tmp", EISDIR },
		{ "/tmp/legacy-file", ENODEV },
		{ "/tmp/legacy-fifo", ENODEV },
		{ "/tmp/legacy-file/x", ENOTDIR },
		{ "/dev/null", ENODEV },
		{ "/dev/zero", ENODEV },
		{ "/dev/ioat-dma", ENODEV },
		{ "/dev/kmsg", ENODEV },
	};
	static const struct {
		uint64_t src, dst, size;
		int error;
	} ranges[] = {
		{ 0, 4096, 0, EINVAL },
		{ 0, 100, 4096, EINVAL }, /* overlap */
		{ 8 * MIB, 8 * MIB, 4096, EINVAL },
		{ 0, UINT64_MAX, 4096, ERANGE },
		{ UINT64_MAX, 0, 4096, ERANGE },
		{ UINT64_MAX - 4095, 0, 4096, ERANGE },
		{ 0, UINT64_MAX - 2047, 4096, ERANGE },
		{ 0, 8 * MIB, UINT64_MAX, ERANGE },
		{ 0, 8 * MIB, UINT64_MAX - 8 * MIB + 2, ERANGE },
		{ 0, INT64_MAX, 1, ERANGE },
		{ 0, 1ULL << 40, 4096, ERANGE },
		{ 1ULL << 40, 0, 4096, ERANGE },
		{ 0, 8 * MIB, 1ULL << 40, ERANGE },
	};
	size_t i;

	memset(dax.bytes, POISON, 16 * MIB);
	close(DO(open("/tmp/legacy-file", O_CREAT | O_RDWR, 0600)));
	mkfifo("/tmp/legacy-fifo", 0600);
	for (i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		args = good;
		memset(args.device_name, 0, sizeof(args.device_name));
		strcpy(args.device_name, paths[i].path);
		EXPECT_IOCTL_ERRNO(paths[i].error, fd, IOCTL_IOAT_DMA_SUBMIT, &args);
	}
	args = good;
	memset(args.device_name, '/', sizeof(args.device_name));
	EXPECT_IOCTL_ERRNO(EINVAL, fd, IOCTL_IOAT_DMA_SUBMIT, &args);
	for (i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		args = good;
		args.src_offset = ranges[i].src;
		args.dst_offset = ranges[i].dst;
		args.size = ranges[i].size;
		EXPECT_IOCTL_ERRNO(ranges[i].error, fd, IOCTL_IOAT_DMA_SUBMIT, &args);
	}
	/* one byte past the end */
	args = good;
	args.dst_offset = dax.size - 4095;
	EXPECT_IOCTL_ERRNO(ERANGE, fd, IOCTL_IOAT_DMA_SUBMIT, &args);
	args.dst_offset = 0;
	args.src_offset = dax.size - 4095;
	EXPECT_IOCTL_ERRNO(ERANGE, fd, IOCTL_IOAT_DMA_SUBMIT, &args);
	EXPECT_ERRNO(EFAULT, ioctl(fd, IOCTL_IOAT_DMA_SUBMIT, NULL));
	EXPECT_ERRNO(EFAULT, ioctl(fd, IOCTL_IOAT_DMA_SUBMIT, (void *)-4096));
	EXPECT_ERRNO(ENOTTY, ioctl(fd, _IOW(0xad, 0, uint64_t), &args));
	EXPECT_ERRNO(ENOTTY, ioctl(fd, _IOW(0xac, 0, struct ioctl_dma_args), &args));
	EXPECT(is_byte(dax.bytes, 16 * MIB, POISON));
}

/* The original let whoever had /dev/ioat-dma open copy on any device. */
TEST(legacy_copy_wants_the_callers_own_right)
{
	int fd = dma_open(), status;
	struct ioctl_dma_args args = {
		.device_name = DAX0, .src_offset = 0, .dst_offset = 8 * MIB, .size = 4096,
	};
	pid_t pid;

	DO(chmod(DAX0, 0600));
	pid = fork();
	if (pid == 0) {
		DO(setgid(65534));
		DO(setuid(65534));
		EXPECT_IOCTL_ERRNO(EACCES, fd, IOCTL_IOAT_DMA_SUBMIT, &args);
		_exit(0);
	}
	DO(waitpid(pid, &status, 0));
	EXPECT_EQ(status, 0);
	DO(chmod(DAX0, 0444)); /* to read is not enough */
	pid = fork();
	if (pid == 0) {
		DO(setgid(65534));
		DO(setuid(65534));
		EXPECT_IOCTL_ERRNO(EACCES, fd, IOCTL_IOAT_DMA_SUBMIT, &args);
		_exit(0);
	}
	DO(waitpid(pid, &status, 0));
	DO(chmod(DAX0, 0600));
	EXPECT_EQ(status, 0);
}

TEST(legacy_reserve_until_none_is_left)
{
	int fd = dma_open(), other = dma_open();
	uint64_t count = ~0ULL, id, seen = 0, i;

	DO(ioctl(fd, OLD_COUNT, &count));
	EXPECT(count >= 1 && count <= 64);
	for (i = 0; i < count; i++) {
		DO(ioctl(fd, OLD_RESERVE, &id));
		EXPECT(id < 64 && !(seen & 1ULL << id));
		seen |= 1ULL << id;
	}
	id = 0x5c5c;
	EXPECT_IOCTL_ERRNO(ENODEV, fd, OLD_RESERVE, &id);
	EXPECT_IOCTL_ERRNO(ENODEV, other, OLD_RESERVE, &id);
	EXPECT_ERRNO(EFAULT, ioctl(other, OLD_COUNT, NULL));
	/* what one file held is free when it is closed, though the process lives */
	close(fd);
	EXPECT_ERRNO(EFAULT, ioctl(other, OLD_RESERVE, NULL));
	for (i = 0; i < count; i++)
		DO(ioctl(other, OLD_RESERVE, &id));
	EXPECT_IOCTL_ERRNO(ENODEV, other, OLD_RESERVE, &id);
}

/* Closing one file freed, in the original, the channels of all files of a process. */
TEST(legacy_reservations_belong_to_the_file)
{
	int fd = dma_open(), other = dma_open();
	struct ioctl_dma_start_args args = {
		.device_name = DAX0, .src_offset = 0, .dst_offset = 8 * MIB, .size = 4096,
	};
	struct ioctl_dma_wait_args wait = { .completed = 99 };

	DO(ioctl(fd, OLD_RESERVE, &args.device_id));
	wait.device_id = args.device_id;
	EXPECT_IOCTL_ERRNO(ENODEV, other, OLD_START, &args);
	EXPECT_IOCTL_ERRNO(ENODEV, other, OLD_WAIT, &wait);
	close(other);
	DO(ioctl(fd, OLD_START, &args));
	DO(ioctl(fd, OLD_WAIT, &wait));
	EXPECT_EQ(wait.completed, 1);
}

TEST(legacy_start_and_wait)
{
	struct device dax = device_map(DAX0);
	int fd = dma_open();
	struct ioctl_dma_start_args args = { .device_name = DAX0 };
	struct ioctl_dma_wait_args wait = { .completed = 99 };
	uint64_t i;

	EXPECT_IOCTL_ERRNO(ENODEV, fd, OLD_WAIT, &wait);
	DO(ioctl(fd, OLD_RESERVE, &args.device_id));
	wait.device_id = args.device_id;
	DO(ioctl(fd, OLD_WAIT, &wait));
	EXPECT_EQ(wait.completed, 0);
	pattern(dax.bytes, 8 * MIB, 7);
	memset(dax.bytes + 16 * MIB, POISON, 10 * MIB);
	for (i = 0; i < 8; i++) {
		args.src_offset = i * MIB;
		args.dst_offset = (24 - i) * MIB;
		args.size = MIB;
		DO(ioctl(fd, OLD_START, &args));
	}
	wait.completed = 99;
	DO(ioctl(fd, OLD_WAIT, &wait));
	EXPECT_EQ(wait.completed, 8);
	for (i = 0; i < 8; i++)
		EXPECT(!memcmp(dax.bytes + i * MIB, dax.bytes + (24 - i) * MIB, MIB));
	EXPECT(is_byte(dax.bytes + 16 * MIB, MIB, POISON));
	EXPECT(is_byte(dax.bytes + 25 * MIB, MIB, POISON));
	DO(ioctl(fd, OLD_WAIT, &wait));
	EXPECT_EQ(wait.completed, 0);
	args.device_id = 64;
	EXPECT_IOCTL_ERRNO(ENODEV, fd, OLD_START, &args);
	args.device_id = UINT64_MAX;
	EXPECT_IOCTL_ERRNO(ENODEV, fd, OLD_START, &args);
	args.device_id = wait.device_id;
	memset(args.device_name, 'x', sizeof(args.device_name));
	EXPECT_IOCTL_ERRNO(EINVAL, fd, OLD_START, &args);
}

/* Every wait that really waited was a "scheduling while atomic" in the original. */
TEST(legacy_wait_that_waits)
{
	int fd = dma_open();
	struct ioctl_dma_start_args args = {
		.device_name = DAX0, .src_offset = 0, .dst_offset = 64 * MIB, .size = MIB,
	};
	struct ioctl_dma_wait_args wait;

	DO(ioctl(fd, OLD_RESERVE, &args.device_id));
	wait.device_id = args.device_id;
	shell("fault delay=50ms");
	DO(ioctl(fd, OLD_START, &args));
	DO(ioctl(fd, OLD_WAIT, &wait));
	EXPECT_EQ(wait.completed, 1);
}

TEST(legacy_cannot_be_removed_while_open)
{
	int fd = dma_open();

	EXPECT(shell_status("rmmod ioat_dma 2>/dev/null") != 0);
	close(fd);
}
