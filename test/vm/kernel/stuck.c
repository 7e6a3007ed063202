// SPDX-License-Identifier: GPL-2.0-only
/*
 * A caller whose memory is never served, by userfaultfd here and by a FUSE server in the
 * wild, waits for ever. It must be the only one who does: no other process's open, close or
 * exit, and no administrator who unbinds a device.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <linux/userfaultfd.h>

#include "harness.h"

/* A page that is there. A write to it waits until allow_writes(). */
struct page {
	int uffd;
	void *at;
};

static void protect(const struct page *page, uint64_t mode)
{
	struct uffdio_writeprotect protection = {
		.range = { (uintptr_t)page->at, 4096 }, .mode = mode,
	};

	DO(ioctl(page->uffd, UFFDIO_WRITEPROTECT, &protection));
}

static struct page page_make(uint64_t mode)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP };
	struct uffdio_register range = { .mode = mode };
	struct page page;

	page.uffd = DO(syscall(SYS_userfaultfd, O_CLOEXEC));
	page.at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	EXPECT(page.at != MAP_FAILED);
	if (ioctl(page.uffd, UFFDIO_API, &api))
		test_skip("no userfaultfd that protects from writes");
	range.range.start = (uintptr_t)page.at;
	range.range.len = 4096;
	DO(ioctl(page.uffd, UFFDIO_REGISTER, &range));
	return page;
}

static struct page unwritable_page(const void *content, size_t size)
{
	struct page page = page_make(UFFDIO_REGISTER_MODE_WP);

	memset(page.at, 0, 4096);
	memcpy(page.at, content, size);
	protect(&page, UFFDIO_WRITEPROTECT_MODE_WP);
	return page;
}

static void allow_writes(const struct page *page)
{
	protect(page, 0);
}

/* Each kind of call, with an argument that cannot be read or a result that cannot be written. */
static void stuck_info(int dma, int dax)
{
	struct ioat_dma_info info = { .size = sizeof(info) };

	(void)dax;
	ioctl(dma, IOAT_DMA_INFO, unwritable_page(&info, sizeof(info)).at);
}

static void stuck_size(int dma, int dax)
{
	(void)dax;
	ioctl(dma, IOAT_DMA_INFO, page_make(UFFDIO_REGISTER_MODE_MISSING).at);
}

static void stuck_region(int dma, int dax)
{
	struct ioat_dma_region_create create = {
		.size = sizeof(create), .fd = dax, .length = MIB,
	};

	ioctl(dma, IOAT_DMA_REGION_CREATE, unwritable_page(&create, sizeof(create)).at);
}

static void stuck_submit(int dma, int dax)
{
	uint32_t src = region_of(dma, DAX0, 0, MIB), dst = region_of(dma, DAX1, 0, MIB);
	struct ioat_dma_submit submit =
		submission(src, dst, page_make(UFFDIO_REGISTER_MODE_MISSING).at, 1);

	(void)dax;
	ioctl(dma, IOAT_DMA_SUBMIT, &submit);
}

static void stuck_read(int dma, int dax)
{
	uint32_t src = region_of(dma, DAX0, 0, MIB), dst = region_of(dma, DAX1, 0, MIB);

	(void)dax;
	DO(submit_one(dma, 1, src, dst, (struct ioat_dma_segment){ 0, 0, 4096 }));
	if (read(dma, unwritable_page("", 1).at, 4096) < 0)
		FAIL("read: %s", strerror(errno));
}

static void stuck_legacy_copy(int dma, int dax)
{
	(void)dax;
	ioctl(dma, IOAT_DMA_LEGACY_COPY, page_make(UFFDIO_REGISTER_MODE_MISSING).at);
}

static void stuck_legacy_count(int dma, int dax)
{
	(void)dax;
	ioctl(dma, IOAT_DMA_LEGACY_COUNT, unwritable_page("", 1).at);
}

static void stuck_legacy_reserve(int dma, int dax)
{
	(void)dax;
	ioctl(dma, IOAT_DMA_LEGACY_RESERVE, unwritable_page("", 1).at);
}

static void stuck_legacy_start(int dma, int dax)
{
	(void)dax;
	ioctl(dma, IOAT_DMA_LEGACY_START, page_make(UFFDIO_REGISTER_MODE_MISSING).at);
}

static void stuck_legacy_wait(int dma, int dax)
{
	struct ioat_dma_legacy_wait wait = { 0 };

	(void)dax;
	DO(ioctl(dma, IOAT_DMA_LEGACY_RESERVE, &wait.device_id));
	ioctl(dma, IOAT_DMA_LEGACY_WAIT, unwritable_page(&wait, sizeof(wait)).at);
}

/* Channels reserved first, so that one is left for the last. */
static void (*const stuck_calls[])(int dma, int dax) = {
	stuck_info, stuck_size, stuck_region, stuck_submit, stuck_read, stuck_legacy_copy,
	stuck_legacy_count, stuck_legacy_start, stuck_legacy_wait, stuck_legacy_reserve,
};

#define STUCK_CALLS (sizeof(stuck_calls) / sizeof(stuck_calls[0]))

/* Quicker than a shell, and no other program is in the way. */
static void driver_of_dax1(const char *what)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/bus/dax/drivers/device_dax/%s", what);
	DO(write(DO(open(path, O_WRONLY)), "dax1.0", 6));
}

/* Runs @call in a process of its own; it is over within @seconds, or the test fails. */
static void in_time(const char *name, void (*call)(void), int seconds)
{
	uint64_t start = now_ms(), end = start + patience(seconds * 1000);
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		call();
		_exit(0);
	}
	while (!waitpid(pid, &status, WNOHANG)) {
		if (now_ms() > end)
			FAIL("%s waits", name);
		usleep(2000);
	}
	printf("    %s took %d ms\n", name, (int)(now_ms() - start));
	EXPECT_EQ(status, 0);
}

static void open_and_close(void)
{
	int dma = dma_open();
	uint32_t src = region_of(dma, DAX0, 0, MIB), dst = region_of(dma, DAX1, 0, MIB);

	DO(submit_one(dma, 1, src, dst, (struct ioat_dma_segment){ 0, 0, 4096 }));
	EXPECT_EQ(next_completion(dma).status, IOAT_DMA_DONE);
	close(dma);
}

static void unbind(void)
{
	driver_of_dax1("unbind");
}

static void kill_and_wait(pid_t pid)
{
	int status;

	DO(kill(pid, SIGKILL));
	DO(waitpid(pid, &status, 0));
	EXPECT(WIFSIGNALED(status));
}

/* The debug kernel has none. */
static void need_userfaultfd(void)
{
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd < 0 && errno == ENOSYS)
		test_skip("this kernel has no userfaultfd");
	close(fd);
}

TEST(stuck_memory_of_the_caller)
{
	pid_t stuck[STUCK_CALLS];
	size_t i;

	need_userfaultfd();
	for (i = 0; i < STUCK_CALLS; i++) {
		stuck[i] = fork();
		if (stuck[i] == 0) {
			stuck_calls[i](dma_open(), DO(open(DAX1, O_RDWR)));
			FAIL("call %zu came back", i);
		}
		usleep(patience(100) * 1000);
		in_time("open and close", open_and_close, 5);
	}
	in_time("unbind", unbind, 10);
	for (i = 0; i < STUCK_CALLS; i++)
		kill_and_wait(stuck[i]);
	driver_of_dax1("bind");
	open_and_close();
}

static void *make_regions(void *arg)
{
	int dma = dma_open();
	struct ioat_dma_region_create create = {
		.size = sizeof(create), .length = 64 * MIB, .fd = DO(open(DAX1, O_RDWR)),
	};
	struct ioat_dma_region_destroy destroy = { .size = sizeof(destroy) };

	for (;;) {
		DO(ioctl(dma, IOAT_DMA_REGION_CREATE, &create));
		destroy.region = create.out_region;
		DO(ioctl(dma, IOAT_DMA_REGION_DESTROY, &destroy));
		++*(atomic_int *)arg;
	}
	return NULL;
}

/* Another thread keeps the lock of the caller's mappings, as a mapping of a FUSE file can. */
TEST(stuck_mappings_of_the_caller)
{
	int round;

	shell("insmod /modules/lab_stuck.ko");
	for (round = 0; round < 10; round++) {
		pid_t pid = fork();

		if (pid == 0) {
			atomic_int made = 0;
			pthread_t thread;

			EXPECT(!pthread_create(&thread, NULL, make_regions, &made));
			while (made < 5 + round)
				usleep(100);
			mmap(NULL, 4096, PROT_READ, MAP_SHARED,
			     DO(open("/dev/lab_stuck", O_RDWR)), 0);
			FAIL("the mapping came back");
		}
		shell("until grep -q 1 /sys/module/lab_stuck/parameters/stuck; do sleep .05; done");
		usleep(20000);
		in_time("unbind", unbind, 10);
		kill_and_wait(pid);
		driver_of_dax1("bind");
	}
	shell("rmmod lab_stuck");
	open_and_close();
}

struct creation {
	pthread_t thread;
	int dma, result, error;
	struct page page;
};

static void *create_region(void *arg)
{
	struct creation *self = arg;

	self->result = ioctl(self->dma, IOAT_DMA_REGION_CREATE, self->page.at);
	self->error = errno;
	return NULL;
}

static void create_start(struct creation *self, int dma)
{
	struct ioat_dma_region_create create = {
		.size = sizeof(create), .length = 4096, .fd = DO(open(DAX0, O_RDWR)),
	};

	self->dma = dma;
	self->page = unwritable_page(&create, sizeof(create));
	EXPECT(!pthread_create(&self->thread, NULL, create_region, self));
	usleep(patience(200) * 1000);
}

/* Nobody has the name of a region before its maker does, or could take it away and reuse it. */
TEST(stuck_region_has_no_name_yet)
{
	int dma = dma_open();
	struct ioat_dma_region_destroy destroy = { .size = sizeof(destroy), .region = 0 };
	struct ioat_dma_region_create *create;
	struct creation creation;
	uint32_t other;

	need_userfaultfd();
	create_start(&creation, dma);
	EXPECT_IOCTL_ERRNO(ENOENT, dma, IOAT_DMA_REGION_DESTROY, &destroy);
	other = region_of(dma, DAX1, 0, MIB);
	EXPECT_EQ(other, 1);
	EXPECT_ERRNO(ENOENT, submit_one(dma, 1, 0, other, (struct ioat_dma_segment){ 0, 0, 64 }));
	allow_writes(&creation.page);
	pthread_join(creation.thread, NULL);
	EXPECT_EQ(creation.result, 0);
	create = creation.page.at;
	EXPECT_EQ(create->out_region, 0);
	DO(ioctl(dma, IOAT_DMA_REGION_DESTROY, &destroy));
	EXPECT_EQ(region_of(dma, DAX0, 0, 4096), 0);

	/* a maker who cannot be told in the end takes away its own region, and no other */
	DO(ioctl(dma, IOAT_DMA_REGION_DESTROY, &destroy));
	create_start(&creation, dma);
	ioctl(dma, IOAT_DMA_REGION_DESTROY, &destroy);
	DO(mprotect(creation.page.at, 4096, PROT_READ));
	allow_writes(&creation.page);
	pthread_join(creation.thread, NULL);
	EXPECT_EQ(creation.result, -1);
	EXPECT_EQ(creation.error, EFAULT);
	EXPECT_EQ(region_of(dma, DAX0, 0, 4096), 0);
	EXPECT_EQ(region_of(dma, DAX0, 0, 4096), 2);
}
