// SPDX-License-Identifier: GPL-2.0-only
/* What one user may pile up in all its open files, and what it costs others. */
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "harness.h"

/* As the header says. */
#define USER_FILES 1024
#define USER_REGIONS 16384
#define USER_REQUESTS 16384

static void allow_files(rlim_t count)
{
	struct rlimit limit = { count, count };

	DO(setrlimit(RLIMIT_NOFILE, &limit));
}

/* What root does is no concern of another user's. */
static void another_user_can_copy(void)
{
	int status;
	pid_t pid;

	DO(chmod("/dev/ioat-dma", 0666));
	DO(chmod(DAX0, 0666));
	DO(chmod(DAX1, 0666));
	pid = fork();
	if (pid == 0) {
		int dma, i;
		uint32_t src, dst;

		for (i = 3; i < USER_FILES + 100; i++)
			close(i);
		become_nobody();
		dma = dma_open();
		src = region_of(dma, DAX0, 0, MIB);
		dst = region_of(dma, DAX1, 0, MIB);
		DO(submit_one(dma, 1, src, dst, (struct ioat_dma_segment){ 0, 0, 4096 }));
		EXPECT_EQ(next_completion(dma).status, IOAT_DMA_DONE);
		_exit(0);
	}
	DO(waitpid(pid, &status, 0));
	DO(chmod("/dev/ioat-dma", 0600));
	DO(chmod(DAX0, 0600));
	DO(chmod(DAX1, 0600));
	EXPECT_EQ(status, 0);
}

TEST(limit_of_files)
{
	int count = 0, first = 0, fd;

	allow_files(USER_FILES + 200);
	while (count < USER_FILES + 100 && (fd = open("/dev/ioat-dma", O_RDWR)) >= 0)
		if (!count++)
			first = fd;
	EXPECT_EQ(errno, EMFILE);
	EXPECT_EQ(count, USER_FILES);
	another_user_can_copy();
	close(first);
	close(dma_open());
}

TEST_TIMED(limit_of_regions, 200)
{
	struct ioat_dma_region_create create = {
		.size = sizeof(create), .length = 4096, .fd = DO(open(DAX0, O_RDWR)),
	};
	int made = 0, dma = dma_open(), in_file = 0;

	allow_files(USER_FILES);
	for (;;) {
		if (!ioctl(dma, IOAT_DMA_REGION_CREATE, &create)) {
			made++;
			in_file++;
			EXPECT(made <= USER_REGIONS);
			continue;
		}
		EXPECT_EQ(errno, EMFILE);
		if (!in_file)
			break; /* a fresh file, and none of its own */
		dma = dma_open();
		in_file = 0;
	}
	EXPECT_EQ(made, USER_REGIONS);
	another_user_can_copy();
}

/*
 * Unread completions count. Each copy has a cache line to itself: the debug kernel counts how
 * many are mapped at a time.
 */
TEST_TIMED(limit_of_requests, 200)
{
	int dma = -1, made = 0, in_file = 1;
	uint32_t src = 0, dst = 0;

	for (;;) {
		if (in_file) {
			dma = dma_open();
			src = region_of(dma, DAX0, 0, MIB);
			dst = region_of(dma, DAX1, 0, MIB);
			in_file = 0;
		}
		while (!submit_one(dma, 1, src, dst,
				   (struct ioat_dma_segment){ 0, made * 64 % MIB, 64 })) {
			made++;
			in_file++;
			EXPECT(made <= USER_REQUESTS);
		}
		EXPECT_EQ(errno, EAGAIN);
		if (!in_file)
			break;
	}
	EXPECT_EQ(made, USER_REQUESTS);
	another_user_can_copy();
}

/* Hundreds of files with regions and waiting requests: a device goes as quickly as with one. */
TEST_TIMED(limit_many_files_and_a_device_that_goes, 150)
{
	static int files[200];
	uint64_t start;
	int i, j;

	set_fault("delay=10msx*");
	for (i = 0; i < 200; i++) {
		uint32_t src, dst;

		files[i] = dma_open();
		src = region_of(files[i], DAX0, 0, MIB);
		dst = region_of(files[i], DAX1, i * MIB, MIB);
		for (j = 0; j < 62; j++)
			region_of(files[i], DAX1, j * MIB, MIB);
		for (j = 0; j < 64; j++)
			DO(submit_one(files[i], j, src, dst,
				      (struct ioat_dma_segment){ j * 4096, j * 4096, 4096 }));
	}
	start = now_ms();
	DO(write(DO(open("/sys/bus/dax/drivers/device_dax/unbind", O_WRONLY)), "dax1.0", 6));
	printf("    unbinding took %d ms\n", (int)(now_ms() - start));
	EXPECT(now_ms() - start < (uint64_t)patience(5000));
	start = now_ms();
	for (i = 0; i < 200; i++)
		close(files[i]);
	printf("    closing took %d ms\n", (int)(now_ms() - start));
	EXPECT(now_ms() - start < (uint64_t)patience(10000));
	set_fault("clear");
	DO(write(DO(open("/sys/bus/dax/drivers/device_dax/bind", O_WRONLY)), "dax1.0", 6));
}

/* The words of the line of @path that begins with @first; false if there is none. */
static bool debug_line(const char *path, const char *first, char *line, size_t size)
{
	FILE *file = fopen(path, "r");
	bool found = false;

	if (!file)
		FAIL("%s: %s", path, strerror(errno));
	while (!found && fgets(line, size, file))
		found = !strncmp(line, first, strlen(first));
	fclose(file);
	return found;
}

TEST(limit_use_is_in_debugfs)
{
	struct ioat_dma_channel_info info;
	char line[512], expected[128];
	int dma = dma_open();
	uint32_t src = region_of(dma, DAX0, 0, MIB), dst = region_of(dma, DAX1, 0, MIB);

	DO(submit_one(dma, 1, src, dst, (struct ioat_dma_segment){ 0, 0, 64 }));
	EXPECT(debug_line("/sys/kernel/debug/ioat-dma/users", "0 ", line, sizeof(line)));
	EXPECT(!strcmp(line, "0 1 2 1 1\n"));
	EXPECT_EQ(next_completion(dma).status, IOAT_DMA_DONE);
	/* the channel's worker may have it in hand for a moment longer */
	usleep(patience(100) * 1000);
	EXPECT(debug_line("/sys/kernel/debug/ioat-dma/users", "0 ", line, sizeof(line)));
	EXPECT(!strcmp(line, "0 1 2 0 0\n"));
	info = channel_info(dma, 0);
	snprintf(expected, sizeof(expected), "0 %s ioatdma %d %u 0 %llu %llu ", info.out_name,
		 info.out_numa_node, info.out_state, info.out_operations, info.out_bytes);
	EXPECT(debug_line("/sys/kernel/debug/ioat-dma/channels", "0 ", line, sizeof(line)));
	EXPECT(!strncmp(line, expected, strlen(expected)));
	close(dma);
	EXPECT(!debug_line("/sys/kernel/debug/ioat-dma/users", "0 ", line, sizeof(line)));
}
