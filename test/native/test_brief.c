// SPDX-License-Identifier: Apache-2.0
/* Brief jobs of a batch: who copies them, and that it changes nothing else. */
#include "fixture.h"

#include <sched.h>
#include <unistd.h>

#define JOBS 16u

static pthread_t caller;
static _Atomic unsigned int by_caller;
static _Atomic unsigned int by_others;

/* Verified jobs come by here twice for each segment. */
static uint32_t note_thread(uint32_t crc, const void *bytes, size_t size)
{
	if (pthread_equal(pthread_self(), caller))
		by_caller++;
	else
		by_others++;
	return __real_crc32c(crc, bytes, size);
}

static struct gate gate = GATE;

/* What the last batch came to */
static int32_t errors[JOBS];
static struct dma_shim_completion over[JOBS];

static void copy_at_gate(const struct stream_kernel *kernel, unsigned char *to,
			 const unsigned char *from, size_t size)
{
	gate_wait(&gate);
	__real_copy_streaming(kernel, to, from, size);
}

static void wait_until_idle(struct dma_shim *shim)
{
	bool idle = false;

	while (!idle) {
		pthread_mutex_lock(&shim->lock);
		idle = shim->pool.idle == shim->pool.thread_count;
		pthread_mutex_unlock(&shim->lock);
		sched_yield();
	}
}

/* @count verified jobs of @size bytes each, side by side, into @to's second half */
static void submit_verified(struct context *context, const struct file *from,
			    const struct file *to, uint32_t count, uint64_t size)
{
	struct dma_shim_segment segments[JOBS];
	struct dma_shim_job jobs[JOBS];

	caller = pthread_self();
	hooks.crc32c = note_thread;
	for (uint32_t n = 0; n < count; n++) {
		jobs[n] = job_of(n + 1, from->handle, to->handle);
		jobs[n].segment_count = 1;
		jobs[n].flags = DMA_SHIM_JOB_VERIFY | DMA_SHIM_JOB_FLUSH;
		segments[n] = (struct dma_shim_segment) {
			n * size, to->size / 2 + n * size, size,
		};
	}
	CHECK_EQ(dma_shim_submit_batch(context->shim, jobs, count, segments, errors,
				       over), 0);
}

/* The first @helped of them were over at once. */
static void all_succeed(struct context *context, const struct file *from,
			const struct file *to, uint32_t count, uint64_t size,
			uint32_t helped)
{
	for (uint32_t n = 0; n < count; n++) {
		struct dma_shim_completion done;

		CHECK_EQ(errors[n], n < helped);
		done = n < helped ? over[n] : next_done(context);
		CHECK_EQ(done.kind, DMA_SHIM_DONE);
		CHECK_EQ(done.status, 0);
		CHECK_EQ(done.bytes_done, size);
		CHECK_EQ(done.source_crc, done.destination_crc);
		if (n < helped)
			CHECK_EQ(done.tag, n + 1);
	}
	no_more_records(context);
	CHECK_EQ(memcmp(to->bytes + to->size / 2, from->bytes, count * size), 0);
}

TEST(the_caller_copies_what_is_brief)
{
	struct context context = context_open(2);
	struct file a = file_device(&context, "a", 2 * MIB);

	random_fill(a.bytes, MIB);
	wait_until_idle(context.shim);
	submit_verified(&context, &a, &a, 8, 4 * KIB);
	CHECK_EQ(by_caller, 16);
	CHECK_EQ(by_others, 0);
	all_succeed(&context, &a, &a, 8, 4 * KIB, 8);
	context_close(&context);
}

TEST(the_caller_copies_no_more_than_he_would_not_notice)
{
	struct context context = context_open(2);
	struct file a = file_device(&context, "a", 2 * MIB);

	random_fill(a.bytes, MIB);
	wait_until_idle(context.shim);
	submit_verified(&context, &a, &a, JOBS, 60 * KIB);
	all_succeed(&context, &a, &a, JOBS, 60 * KIB, 4);
	CHECK_EQ(by_caller, 2 * 4);
	CHECK_EQ(by_others, 2 * (JOBS - 4));
	context_close(&context);
}

TEST(a_job_that_is_not_brief_is_left_to_the_threads)
{
	struct context context = context_open(2);
	struct file a = file_device(&context, "a", 2 * MIB);

	random_fill(a.bytes, MIB);
	wait_until_idle(context.shim);
	submit_verified(&context, &a, &a, 1, 64 * KIB);
	all_succeed(&context, &a, &a, 1, 64 * KIB, 0);
	CHECK_EQ(by_caller, 0);
	context_close(&context);
}

TEST(what_may_come_from_a_disk_is_left_to_the_threads)
{
	struct context context = context_open(2);
	struct file memory = file_device(&context, "memory", 2 * MIB);
	struct file disk = disk_device(&context, "disk", 2 * MIB);

	random_fill(disk.bytes, MIB);
	wait_until_idle(context.shim);
	submit_verified(&context, &disk, &memory, 2, 4 * KIB);
	all_succeed(&context, &disk, &memory, 2, 4 * KIB, 0);
	wait_until_idle(context.shim);
	submit_verified(&context, &memory, &disk, 2, 4 * KIB);
	all_succeed(&context, &memory, &disk, 2, 4 * KIB, 0);
	CHECK_EQ(by_caller, 0);
	context_close(&context);
}

TEST(brief_jobs_take_their_turn_where_a_thread_is_at_work)
{
	struct context context = context_open(1);
	struct file a = file_device(&context, "a", 4 * MIB);

	random_fill(a.bytes, MIB);
	hooks.copy_streaming = copy_at_gate;
	CHECK_EQ(submit_one(&context, job_of(100, a.handle, a.handle), 0, MIB, MIB), 0);
	gate_await(&gate, 1);
	submit_verified(&context, &a, &a, 4, 4 * KIB);
	CHECK_EQ(by_caller + by_others, 0);
	gate_let(&gate, GATE_OPEN);
	CHECK_EQ(next_done(&context).tag, 100);
	all_succeed(&context, &a, &a, 4, 4 * KIB, 0);
	CHECK_EQ(by_caller, 0);
	context_close(&context);
}

TEST(a_fault_in_the_callers_hands_is_the_jobs_failure)
{
	struct context context = context_open(1);
	struct file a = file_device(&context, "a", 2 * MIB);

	SYS(ftruncate(a.descriptor, MIB));
	for (unsigned int n = 0; n < 3; n++) {
		wait_until_idle(context.shim);
		submit_verified(&context, &a, &a, 2, 4 * KIB);
		for (unsigned int each = 0; each < 2; each++) {
			CHECK_EQ(errors[each], 1);
			CHECK_EQ(over[each].status, -ENXIO);
			CHECK_EQ(over[each].bytes_done, 0);
		}
		no_more_records(&context);
	}
	/* The checksums were never reached; and what is there can still be copied. */
	CHECK_EQ(by_caller + by_others, 0);
	CHECK_EQ(submit_one(&context, job_of(9, a.handle, a.handle), 0, 8192, 4096), 0);
	CHECK_EQ(next_done(&context).status, 0);
	context_close(&context);
}

static _Atomic unsigned int written_back_by_caller;

static void note_write_back(const unsigned char *start, size_t size)
{
	if (pthread_equal(pthread_self(), caller))
		written_back_by_caller++;
	__real_write_back(start, size);
}

TEST(the_caller_writes_back_what_he_copied)
{
	struct context context = context_open(1);
	struct file a = file_device(&context, "a", 2 * MIB);

	/* As of persistent memory */
	context.shim->devices[a.handle]->flush_basis = DMA_SHIM_FLUSH_CLFLUSH;
	random_fill(a.bytes, MIB);
	hooks.write_back = note_write_back;
	wait_until_idle(context.shim);
	submit_verified(&context, &a, &a, 3, 4 * KIB);
	CHECK_EQ(written_back_by_caller, 3);
	all_succeed(&context, &a, &a, 3, 4 * KIB, 3);
	for (uint32_t n = 0; n < 3; n++)
		CHECK(over[n].flush_ns > 0);
	context_close(&context);
}
