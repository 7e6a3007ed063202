// SPDX-License-Identifier: Apache-2.0
/* Durability: what is written back or synced, by what, and what fails then. */
#include "fixture.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Which lines hold bytes that a cached store wrote, and which were written back */
static unsigned char *dax_base;
static _Atomic unsigned char dirty[DAX_SIZE / CACHE_LINE];
static _Atomic unsigned int written_back;

static void note_write_back(const unsigned char *start, size_t size)
{
	for (uintptr_t at = ((uintptr_t)start - (uintptr_t)dax_base) / CACHE_LINE;
	     at <= ((uintptr_t)start + size - 1 - (uintptr_t)dax_base) / CACHE_LINE; at++) {
		CHECK(at < DAX_SIZE / CACHE_LINE);
		dirty[at] = 0;
		written_back++;
	}
	__real_write_back(start, size);
}

/* As copy_streaming() does it: whole lines past the cache, the ends not. */
static void note_streaming(const struct stream_kernel *kernel, unsigned char *to,
			   const unsigned char *from, size_t size)
{
	uint64_t first = (uint64_t)(to - dax_base);
	uint64_t end = first + size;

	for (uint64_t at = (first + CACHE_LINE - 1) / CACHE_LINE; at < end / CACHE_LINE; at++)
		dirty[at] &= 0xfe;
	if (first % CACHE_LINE)
		dirty[first / CACHE_LINE] |= 2;
	if (end % CACHE_LINE)
		dirty[end / CACHE_LINE] |= 2;
	__real_copy_streaming(kernel, to, from, size);
}

static void mark_dirty(const struct dma_shim_segment *segments, unsigned int count)
{
	for (unsigned int n = 0; n < count; n++) {
		uint64_t first = segments[n].dst_offset / CACHE_LINE;
		uint64_t last = (segments[n].dst_offset + segments[n].size - 1) / CACHE_LINE;

		/* Bit 0: streaming cleans it. Bit 1: a smaller store may come after. */
		for (uint64_t at = first; at <= last; at++)
			dirty[at] |= segments[n].size < STREAM_SEGMENT_MIN ? 2 : 1;
	}
}

TEST(every_line_that_was_stored_through_the_cache_is_written_back)
{
	struct cpu_features features = *cpu_features();
	enum writeback_instruction best = features.writeback;
	static const uint32_t basis[] = {
		DMA_SHIM_FLUSH_CLFLUSH, DMA_SHIM_FLUSH_CLFLUSHOPT, DMA_SHIM_FLUSH_CLWB,
	};
	unsigned char *memory = malloc(DAX_SIZE);

	random_fill(memory, DAX_SIZE);
	for (unsigned int round = 0; round < rounds(30); round++) {
		struct context context;
		struct dma_shim_device_info info;
		struct dma_shim_job job;
		struct dma_shim_segment segments[20];
		unsigned int count = 1 + (unsigned int)random_below(20);
		char path[300];
		struct dma_shim_completion done;

		features.writeback = (enum writeback_instruction)(round % (best + 1));
		hooks.features = &features;
		context = context_open(2);
		job = job_of(1, DMA_SHIM_MEMORY,
			     fake_dax(&context, "dax", DMA_SHIM_MEMORY_CONTROLLER, &info));
		CHECK_EQ(info.persistence, DMA_SHIM_MEMORY_CONTROLLER);
		CHECK_EQ(info.flush_basis, basis[features.writeback]);
		CHECK_EQ(info.size, DAX_SIZE);
		dax_base = context.shim->devices[job.destination]->base;

		for (unsigned int n = 0; n < count; n++) {
			uint64_t limit = random_below(4) ? 5000 : 2500 * KIB;

			segments[n].size = 1 + random_below(limit);
			segments[n].src_offset = random_below(DAX_SIZE - segments[n].size + 1);
			segments[n].dst_offset = random_below(DAX_SIZE - segments[n].size + 1);
		}
		memset((void *)dirty, 0, sizeof(dirty));
		mark_dirty(segments, count);
		hooks.write_back = note_write_back;
		hooks.copy_streaming = note_streaming;
		job.memory_size = DAX_SIZE;
		job.segment_count = count;
		job.flags = DMA_SHIM_JOB_FLUSH | DMA_SHIM_JOB_VERIFY;
		CHECK_EQ(dma_shim_submit(context.shim, &job, segments, memory, NULL), 0);
		done = next_done(&context);
		CHECK_EQ(done.status, 0);
		CHECK(done.flush_ns > 0);
		for (unsigned int n = 0; n < DAX_SIZE / CACHE_LINE; n++)
			CHECK_EQ(dirty[n], 0);
		context_close(&context);
		hooks = (struct hooks) { 0 };
		snprintf(path, sizeof(path), "%s/dax", scratch());
		SYS(unlink(path));
	}
	free(memory);
}

/* What went past the cache is not written back line by line. */
TEST(large_copies_leave_little_to_write_back)
{
	struct context context = context_open(1);
	struct dma_shim_device_info info;
	uint32_t dax = fake_dax(&context, "dax", DMA_SHIM_MEMORY_CONTROLLER, &info);
	struct dma_shim_job job = job_of(1, dax, dax);

	dax_base = context.shim->devices[dax]->base;
	hooks.write_back = note_write_back;
	job.flags = DMA_SHIM_JOB_FLUSH;
	CHECK_EQ(submit_one(&context, job, 0, DAX_SIZE / 2 + 3, DAX_SIZE / 2 - 3), 0);
	CHECK_EQ(next_done(&context).status, 0);
	CHECK(written_back > 0 && written_back <= 2 * (DAX_SIZE / 2 / PIECE_SIZE));
	context_close(&context);
}

/* What is written back at once passes the caches by whatever the size of the job. */
TEST(what_is_to_be_written_back_is_streamed_below_the_threshold)
{
	struct copy_plan plan = *copy_plan();
	struct dma_shim_device_info info;
	struct context context;
	struct dma_shim_job job;
	uint32_t dax;

	plan.stream_from = DAX_SIZE;
	plan.fastest = &stream_kernels[STREAM_KERNELS - 1];
	CHECK(!plan.fastest->uncached);
	hooks.plan = &plan;
	context = context_open(1);
	dax = fake_dax(&context, "dax", DMA_SHIM_MEMORY_CONTROLLER, &info);
	dax_base = context.shim->devices[dax]->base;
	hooks.write_back = note_write_back;
	job = job_of(1, dax, dax);
	job.flags = DMA_SHIM_JOB_FLUSH;
	CHECK_EQ(submit_one(&context, job, 0, MIB, STREAM_SEGMENT_MIN), 0);
	CHECK_EQ(next_done(&context).status, 0);
	CHECK_EQ(written_back, 2);
	context_close(&context);
}

/* A string move may leave lines in the caches, so all that it wrote is written back. */
TEST(a_kernel_that_goes_through_the_cache_is_never_taken_for_one_that_does_not)
{
	struct copy_plan plan = *copy_plan();
	struct dma_shim_device_info info;
	struct context context;
	struct dma_shim_job job;
	uint32_t dax;

	plan.uncached = &stream_kernels[STREAM_KERNELS - 1];
	hooks.plan = &plan;
	context = context_open(1);
	dax = fake_dax(&context, "dax", DMA_SHIM_MEMORY_CONTROLLER, &info);
	dax_base = context.shim->devices[dax]->base;
	hooks.write_back = note_write_back;
	job = job_of(1, dax, dax);
	job.flags = DMA_SHIM_JOB_FLUSH;
	CHECK_EQ(submit_one(&context, job, 0, 2 * MIB, MIB), 0);
	CHECK_EQ(next_done(&context).status, 0);
	CHECK_EQ(written_back, MIB / CACHE_LINE);
	context_close(&context);
}

static void expect_no_write_back(uint32_t persistence, uint32_t basis)
{
	struct context context = context_open(1);
	struct dma_shim_device_info info;
	uint32_t dax = fake_dax(&context, "dax", persistence, &info);
	struct dma_shim_job job = job_of(1, dax, dax);

	CHECK_EQ(info.persistence, persistence);
	CHECK_EQ(info.flush_basis, basis);
	hooks.write_back = note_write_back;
	job.flags = DMA_SHIM_JOB_FLUSH;
	CHECK_EQ(submit_one(&context, job, 0, 100 * KIB, 100 * KIB), 0);
	CHECK_EQ(next_done(&context).status, 0);
	CHECK_EQ(written_back, 0);
	context_close(&context);
}

TEST(caches_that_persist_need_a_fence_only)
{
	expect_no_write_back(DMA_SHIM_CPU_CACHE, DMA_SHIM_FLUSH_CPU_CACHE);
}

TEST(a_volatile_device_has_nothing_to_flush)
{
	expect_no_write_back(DMA_SHIM_VOLATILE, DMA_SHIM_FLUSH_NONE);
}

/* What msync() was called for */
struct call {
	uint64_t start;
	uint64_t end;
};

static unsigned char *synced_base;
static struct call calls[64];
static _Atomic unsigned int call_count;
static _Atomic int sync_errno;
static struct gate gate = GATE;

static void note_call(void *start, size_t size, int flags)
{
	unsigned int call = call_count++;
	uint64_t offset = (uint64_t)((unsigned char *)start - synced_base);

	CHECK_EQ(flags, MS_SYNC);
	CHECK_EQ((uintptr_t)start % 4096, 0);
	CHECK(call < 64);
	calls[call] = (struct call) { offset, offset + size };
}

static int note_msync(void *start, size_t size, int flags)
{
	note_call(start, size, flags);
	if (sync_errno) {
		errno = sync_errno;
		return -1;
	}
	return __real_msync(start, size, flags);
}

static int note_msync_at_gate(void *start, size_t size, int flags)
{
	gate_wait(&gate);
	return note_msync(start, size, flags);
}

TEST(a_file_is_synced_where_it_was_written)
{
	struct context context = context_open(2);
	struct file a = disk_device(&context, "a", 300 * MIB);
	struct dma_shim_segment segments[] = {
		{ 0, 200 * MIB + 1, 5000 },
		{ 0, 10000, 1 },
		{ 0, 64 * MIB - 10, 20 },
		{ 0, 5 * MIB, 4096 },
		{ 0, 200 * MIB + 4000, 5000 },
		{ 0, 300 * MIB - 1, 1 },
	};
	static const struct call want[] = {
		{ 8192, 64 * MIB },
		{ 64 * MIB, 64 * MIB + 10 },
		{ 200 * MIB, 200 * MIB + 9000 },
		{ 300 * MIB - 4096, 300 * MIB },
	};
	struct dma_shim_job job = job_of(1, a.handle, a.handle);
	struct dma_shim_completion done;

	synced_base = context.shim->devices[a.handle]->base;
	hooks.msync = note_msync;
	job.flags = DMA_SHIM_JOB_FLUSH;
	CHECK_EQ(submit(&context, job, segments, 6), 0);
	done = next_done(&context);
	CHECK_EQ(done.status, 0);
	CHECK(done.flush_ns > 0);
	CHECK_EQ(call_count, 4);
	CHECK(memcmp(calls, want, sizeof(want)) == 0);

	/* No FLUSH, no call */
	job.flags = 0;
	CHECK_EQ(submit(&context, job, segments, 6), 0);
	CHECK_EQ(next_done(&context).status, 0);
	CHECK_EQ(call_count, 4);
	context_close(&context);
}

TEST(a_large_range_is_synced_in_windows)
{
	struct context context = context_open(1);
	struct file a = disk_device(&context, "a", 400 * MIB);
	struct dma_shim_job job = job_of(1, a.handle, a.handle);
	struct dma_shim_segment segments[3] = {
		/* A hundred bytes where no window ends, then far beyond */
		{ 0, 100 * MIB, 100 }, { 0, 390 * MIB, 100 }, { 0, 100 * MIB + 50, 2 * MIB },
	};

	synced_base = context.shim->devices[a.handle]->base;
	hooks.msync = note_msync;
	job.flags = DMA_SHIM_JOB_FLUSH;
	CHECK_EQ(submit(&context, job, segments, 3), 0);
	CHECK_EQ(next_done(&context).status, 0);
	CHECK_EQ(call_count, 2);
	CHECK_EQ(calls[0].start, 100 * MIB);
	CHECK_EQ(calls[0].end, 102 * MIB + 50);

	/* One segment over a boundary */
	call_count = 0;
	CHECK_EQ(submit_one(&context, job, 0, 127 * MIB, 2 * MIB), 0);
	CHECK_EQ(next_done(&context).status, 0);
	CHECK_EQ(call_count, 2);
	CHECK_EQ(calls[0].start, 127 * MIB);
	CHECK_EQ(calls[0].end, 128 * MIB);
	CHECK_EQ(calls[1].start, 128 * MIB);
	CHECK_EQ(calls[1].end, 129 * MIB);
	context_close(&context);
}

static void expect_sync_failure(int error, int status)
{
	struct context context = context_open(1);
	struct file a = disk_device(&context, "a", 1 * MIB);
	struct dma_shim_job job = job_of(1, a.handle, a.handle);
	struct dma_shim_segment segments[] = { { 0, 500 * KIB, 100 }, { 0, 9000, 100 } };
	struct dma_shim_completion done;

	synced_base = context.shim->devices[a.handle]->base;
	hooks.msync = note_msync;
	sync_errno = error;
	job.flags = DMA_SHIM_JOB_FLUSH;
	CHECK_EQ(submit(&context, job, segments, 2), 0);
	done = next_done(&context);
	CHECK_EQ(done.status, status);
	/* The first of those in the window, by where it is */
	CHECK_EQ(done.segment, 1);
	CHECK_EQ(done.bytes_done, 200);

	/* It is reported once; what is submitted later may well succeed. */
	sync_errno = 0;
	CHECK_EQ(submit(&context, job, segments, 2), 0);
	CHECK_EQ(next_done(&context).status, 0);
	context_close(&context);
}

TEST(a_disk_that_fails_fails_the_job)
{
	expect_sync_failure(EIO, -EIO);
}

TEST(a_disk_that_is_full_fails_the_job)
{
	expect_sync_failure(ENOSPC, -ENOSPC);
}

TEST(any_other_failure_to_sync_is_an_io_error)
{
	expect_sync_failure(ENOMEM, -EIO);
}

/*
 * The kernel reports a lost write once. A job that was in flight on the device
 * then cannot know that the write was not its own.
 */
static int fail_first_window(void *start, size_t size, int flags)
{
	gate_wait(&gate);
	note_call(start, size, flags);
	if ((unsigned char *)start == synced_base) {
		errno = EIO;
		return -1;
	}
	return __real_msync(start, size, flags);
}

TEST(a_failed_sync_fails_all_that_were_in_flight_there)
{
	struct context context = context_open(1);
	struct file a = disk_device(&context, "a", 200 * MIB);
	struct file b = disk_device(&context, "b", 1 * MIB);
	struct dma_shim_job job = job_of(1, a.handle, a.handle);
	int status[5];

	synced_base = context.shim->devices[a.handle]->base;
	hooks.msync = fail_first_window;
	job.flags = DMA_SHIM_JOB_FLUSH;
	CHECK_EQ(submit_one(&context, job, 100, 0, 100), 0);
	gate_await(&gate, 1);
	job.tag = 2;
	CHECK_EQ(submit_one(&context, job, 0, 100 * MIB, 100), 0);
	job = job_of(3, b.handle, b.handle);
	job.flags = DMA_SHIM_JOB_FLUSH;
	CHECK_EQ(submit_one(&context, job, 0, 8192, 100), 0);
	gate_await(&gate, 2);
	gate_let(&gate, GATE_OPEN);
	for (unsigned int n = 0; n < 3; n++) {
		struct dma_shim_completion done = next_done(&context);

		status[done.tag] = done.status;
	}
	CHECK_EQ(status[1], -EIO);
	CHECK_EQ(status[2], -EIO);
	CHECK_EQ(status[3], 0);
	/* It made its own calls, and they did not fail. */
	CHECK_EQ(call_count, 3);

	/* What begins later has nothing to do with it. */
	job = job_of(4, a.handle, a.handle);
	job.flags = DMA_SHIM_JOB_FLUSH;
	CHECK_EQ(submit_one(&context, job, 0, 100 * MIB, 100), 0);
	CHECK_EQ(next_done(&context).status, 0);
	context_close(&context);
}

TEST(jobs_that_wait_for_one_window_share_a_call)
{
	enum { JOBS = 50 };
	struct context context = context_open(1);
	struct file a = disk_device(&context, "a", 100 * MIB);

	synced_base = context.shim->devices[a.handle]->base;
	hooks.msync = note_msync_at_gate;
	for (uint64_t n = 0; n < JOBS; n++) {
		struct dma_shim_job job = job_of(n, a.handle, a.handle);
		uint64_t window = n % 2 ? 64 * MIB : 0;

		job.flags = DMA_SHIM_JOB_FLUSH;
		CHECK_EQ(submit_one(&context, job, 0, window + 8192 * (n + 1), 100), 0);
		if (n == 0)
			gate_await(&gate, 1);
	}
	/* One thread copies in turns: when this one finishes, the others wait. */
	CHECK_EQ(submit_one(&context, job_of(JOBS, a.handle, a.handle), 0, 8192, 1), 0);
	done_of(&context, JOBS);
	gate_let(&gate, GATE_OPEN);
	for (uint64_t n = 0; n < JOBS; n++)
		CHECK_EQ(next_done(&context).status, 0);
	CHECK_EQ(call_count, 3);
	CHECK_EQ(calls[1].start, 64 * MIB + 8192 * 2);
	CHECK_EQ(calls[1].end, 64 * MIB + 8192 * JOBS + 100);
	CHECK_EQ(calls[2].start, 8192 * 3);
	CHECK_EQ(calls[2].end, 8192 * (JOBS - 1) + 100);
	context_close(&context);
}

TEST(a_slow_disk_holds_up_no_copy)
{
	struct context context = context_open(1);
	struct file disk = disk_device(&context, "disk", 1 * MIB);
	struct file a = file_device(&context, "a", 4 * MIB);

	hooks.msync = note_msync_at_gate;
	synced_base = context.shim->devices[disk.handle]->base;
	for (uint64_t n = 0; n < 20; n++) {
		struct dma_shim_job job = job_of(100 + n, a.handle, disk.handle);

		job.flags = DMA_SHIM_JOB_FLUSH;
		CHECK_EQ(submit_one(&context, job, 0, 0, 100), 0);
	}
	gate_await(&gate, 1);
	for (uint64_t n = 0; n < 100; n++) {
		CHECK_EQ(submit_one(&context, job_of(n, a.handle, a.handle), 0, 2 * MIB, 2 * MIB), 0);
		CHECK_EQ(done_of(&context, n).status, 0);
	}
	gate_let(&gate, GATE_OPEN);
	for (uint64_t n = 0; n < 20; n++)
		CHECK(next_done(&context).tag >= 100);
	context_close(&context);
}

static int truncate_then_msync(void *start, size_t size, int flags)
{
	gate_wait(&gate);
	return __real_msync(start, size, flags);
}

TEST(a_file_cut_short_while_it_is_synced_is_no_success)
{
	struct context context = context_open(1);
	struct file a = disk_device(&context, "a", 1 * MIB);
	struct dma_shim_job job = job_of(1, a.handle, a.handle);

	hooks.msync = truncate_then_msync;
	job.flags = DMA_SHIM_JOB_FLUSH;
	CHECK_EQ(submit_one(&context, job, 0, 512 * KIB, 4096), 0);
	gate_await(&gate, 1);
	SYS(ftruncate(a.descriptor, 4096));
	gate_let(&gate, 1);
	CHECK_EQ(next_done(&context).status, -ENXIO);
	context_close(&context);
}

/* No seams: the real msync(), and the bytes are in the file. */
TEST(a_flushed_file_has_the_bytes)
{
	struct context context = context_open(2);
	struct file a = file_device(&context, "a", 3 * MIB);
	struct file disk = disk_device(&context, "disk", 3 * MIB);
	unsigned char *read_back = malloc(3 * MIB);
	struct dma_shim_job job = job_of(1, a.handle, disk.handle);

	random_fill(a.bytes, a.size);
	job.flags = DMA_SHIM_JOB_FLUSH | DMA_SHIM_JOB_VERIFY;
	CHECK_EQ(submit_one(&context, job, 0, 0, 3 * MIB), 0);
	CHECK_EQ(next_done(&context).status, 0);
	context_close(&context);
	CHECK_EQ(pread(disk.descriptor, read_back, 3 * MIB, 0), 3 * MIB);
	CHECK(memcmp(read_back, a.bytes, 3 * MIB) == 0);
	free(read_back);
}
