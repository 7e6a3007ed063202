// SPDX-License-Identifier: Apache-2.0
/* Cancelling at each stage of a job, and who gets which share of the pool. */
#include "fixture.h"

#include <unistd.h>

static struct gate gate = GATE;

static void copy_at_gate(const struct stream_kernel *kernel, unsigned char *to,
			 const unsigned char *from, size_t size)
{
	gate_wait(&gate);
	__real_copy_streaming(kernel, to, from, size);
}

static int msync_at_gate(void *start, size_t size, int flags)
{
	gate_wait(&gate);
	return __real_msync(start, size, flags);
}

TEST(cancel_stops_a_copy_at_the_next_piece)
{
	struct context context = context_open(2);
	struct file a = file_device(&context, "a", 16 * MIB);
	struct dma_shim_completion done;

	hooks.copy_streaming = copy_at_gate;
	random_fill(a.bytes, 8 * MIB);
	CHECK_EQ(submit_one(&context, job_of(1, a.handle, a.handle), 0, 8 * MIB, 8 * MIB), 0);
	gate_await(&gate, 2);
	gate_let(&gate, 1);
	gate_await(&gate, 3);
	CHECK_EQ(dma_shim_cancel(context.shim, 1), 0);
	CHECK_EQ(dma_shim_cancel(context.shim, 1), 0);
	no_more_records(&context);
	gate_let(&gate, GATE_OPEN);
	done = next_done(&context);
	CHECK_EQ(done.status, -ECANCELED);
	CHECK_EQ(done.bytes_done, 3 * MIB);
	CHECK_EQ(gate.arrived, 3);
	CHECK(memcmp(a.bytes, a.bytes + 8 * MIB, 3 * MIB) == 0);
	CHECK_EQ(dma_shim_cancel(context.shim, 1), -ENOENT);
	context_close(&context);
	CHECK_EQ(gate.arrived, 3);
}

/* The job was done before the cancel came: it ends with success. */
TEST(cancel_during_the_last_piece_does_not_undo_success)
{
	struct context context = context_open(1);
	struct file a = file_device(&context, "a", 2 * MIB);

	hooks.copy_streaming = copy_at_gate;
	CHECK_EQ(submit_one(&context, job_of(1, a.handle, a.handle), 0, MIB, MIB), 0);
	gate_await(&gate, 1);
	CHECK_EQ(dma_shim_cancel(context.shim, 1), 0);
	gate_let(&gate, 1);
	CHECK_EQ(next_done(&context).status, 0);
	context_close(&context);
}

TEST(cancel_between_copy_and_verify)
{
	struct context context = context_open(1);
	struct file a = file_device(&context, "a", 2 * MIB);
	struct dma_shim_segment segments[] = { { 0, MIB, MIB }, { 0, MIB, MIB } };
	struct dma_shim_completion done;

	hooks.copy_streaming = copy_at_gate;
	CHECK_EQ(submit(&context, job_of(1, a.handle, a.handle), segments, 2), 0);
	gate_await(&gate, 1);
	CHECK_EQ(dma_shim_cancel(context.shim, 1), 0);
	gate_let(&gate, 1);
	done = next_done(&context);
	CHECK_EQ(done.status, -ECANCELED);
	CHECK_EQ(done.segment, 1);
	CHECK_EQ(done.bytes_done, MIB);
	context_close(&context);
}

TEST(cancel_ends_a_waiting_job_at_once)
{
	struct context context = context_open(1);
	struct file a = file_device(&context, "a", 2 * MIB);
	struct dma_shim_completion done;

	hooks.copy_streaming = copy_at_gate;
	CHECK_EQ(submit_one(&context, job_of(1, a.handle, a.handle), 0, MIB, MIB), 0);
	gate_await(&gate, 1);
	CHECK_EQ(submit_one(&context, job_of(2, a.handle, a.handle), 0, MIB, MIB), 0);
	CHECK_EQ(submit_one(&context, job_of(3, a.handle, a.handle), 0, MIB, MIB), 0);
	CHECK_EQ(dma_shim_cancel(context.shim, 2), 0);
	done = done_of(&context, 2);
	CHECK_EQ(done.status, -ECANCELED);
	CHECK_EQ(done.bytes_done, 0);
	CHECK_EQ(done.started_ns, done.finished_ns);
	gate_let(&gate, GATE_OPEN);
	CHECK_EQ(done_of(&context, 1).status, 0);
	CHECK_EQ(done_of(&context, 3).status, 0);
	context_close(&context);
}

TEST(cancel_while_a_disk_is_synced)
{
	struct context context = context_open(1);
	struct file a = disk_device(&context, "a", 192 * MIB);
	struct dma_shim_segment segments[] = {
		{ 0, 130 * MIB, 4096 }, { 0, 4096, 4096 }, { 0, 70 * MIB, 4096 },
	};
	struct dma_shim_job job = job_of(1, a.handle, a.handle);
	struct dma_shim_completion done;

	hooks.msync = msync_at_gate;
	job.flags = DMA_SHIM_JOB_FLUSH;
	CHECK_EQ(submit(&context, job, segments, 3), 0);
	gate_await(&gate, 1);
	job.tag = 2;
	CHECK_EQ(submit(&context, job, segments, 3), 0);
	job.tag = 3;
	CHECK_EQ(submit(&context, job, segments, 1), 0);

	/* 3 has copied when 4 has: one thread, in turns. */
	job.tag = 4;
	job.flags = 0;
	CHECK_EQ(submit(&context, job, segments, 1), 0);
	CHECK_EQ(done_of(&context, 4).status, 0);
	CHECK_EQ(dma_shim_cancel(context.shim, 3), 0);
	CHECK_EQ(done_of(&context, 3).status, -ECANCELED);

	CHECK_EQ(dma_shim_cancel(context.shim, 1), 0);
	no_more_records(&context);
	gate_let(&gate, GATE_OPEN);
	done = done_of(&context, 1);
	CHECK_EQ(done.status, -ECANCELED);
	CHECK_EQ(done.bytes_done, 3 * 4096);
	CHECK_EQ(done_of(&context, 2).status, 0);
	/* 1 in its first of three windows, then 2 in all of them */
	CHECK_EQ(gate.arrived, 4);
	context_close(&context);
}

/* A device whose only waiting job was cancelled can be closed and forgotten. */
TEST(cancelled_syncs_leave_no_trace_of_the_device)
{
	struct context context = context_open(1);
	struct file devices[6];
	struct dma_shim_job job;

	hooks.msync = msync_at_gate;
	for (unsigned int n = 0; n < 6; n++) {
		char name[8];

		snprintf(name, sizeof(name), "d%u", n);
		devices[n] = disk_device(&context, name, 64 * KIB);
		job = job_of(n, devices[n].handle, devices[n].handle);
		job.flags = DMA_SHIM_JOB_FLUSH;
		CHECK_EQ(submit_one(&context, job, 0, 8192, 4096), 0);
		/* Four threads are at a device each, so the fifth job waits. */
		if (n < SYNC_THREADS)
			gate_await(&gate, n + 1);
	}
	job.tag = 99;
	job.flags = 0;
	CHECK_EQ(submit_one(&context, job, 0, 8192, 4096), 0);
	CHECK_EQ(done_of(&context, 99).status, 0);
	for (unsigned int n = SYNC_THREADS; n < 6; n++) {
		CHECK_EQ(dma_shim_device_close(context.shim, devices[n].handle), -EBUSY);
		CHECK_EQ(dma_shim_cancel(context.shim, n), 0);
		CHECK_EQ(done_of(&context, n).status, -ECANCELED);
		CHECK_EQ(dma_shim_device_close(context.shim, devices[n].handle), 0);
	}
	gate_let(&gate, GATE_OPEN);
	for (unsigned int n = 0; n < SYNC_THREADS; n++)
		CHECK_EQ(next_done(&context).status, 0);
	context_close(&context);
}

/* One thread, held up while jobs gather behind it */
struct contest {
	struct context context;
	struct file a;
};

static struct contest contest_begin(void)
{
	struct contest contest = { .context = context_open(1) };

	contest.a = file_device(&contest.context, "a", 64 * MIB);
	hooks.copy_streaming = copy_at_gate;
	CHECK_EQ(submit_one(&contest.context,
			    job_of(UINT64_MAX, contest.a.handle, contest.a.handle),
			    0, MIB, MIB), 0);
	gate_await(&gate, 1);
	return contest;
}

TEST(small_jobs_do_not_wait_for_a_large_one)
{
	struct contest contest = contest_begin();
	struct context *context = &contest.context;
	uint32_t a = contest.a.handle;

	CHECK_EQ(submit_one(context, job_of(1000, a, a), 0, 32 * MIB, 32 * MIB), 0);
	for (unsigned int n = 0; n < 1000; n++) {
		struct dma_shim_job job = job_of(n, a, a);

		job.priority = DMA_SHIM_NORMAL;
		CHECK_EQ(submit_one(context, job, 0, 4096, 4096), 0);
	}
	gate_let(&gate, GATE_OPEN);
	done_of(context, UINT64_MAX);
	for (unsigned int n = 0; n < 1000; n++)
		done_of(context, n);
	done_of(context, 1000);
	context_close(context);
}

TEST(priorities_share_by_weight_and_none_starves)
{
	enum { JOBS = 100 };
	struct contest contest = contest_begin();
	struct context *context = &contest.context;
	unsigned int done[PRIORITIES] = { 0 };
	unsigned int total = 0;

	for (unsigned int n = 0; n < JOBS; n++) {
		for (uint32_t priority = 0; priority < PRIORITIES; priority++) {
			struct dma_shim_job job = job_of(n * PRIORITIES + priority,
							 contest.a.handle, contest.a.handle);

			job.priority = priority;
			CHECK_EQ(submit_one(context, job, 0, MIB, MIB), 0);
		}
	}
	gate_let(&gate, GATE_OPEN);
	done_of(context, UINT64_MAX);
	while (done[DMA_SHIM_HIGH] < JOBS - 4) {
		done[next_done(context).tag % PRIORITIES]++;
		total++;
	}
	/* 96 of high by now: 24 of normal and 6 of low are theirs */
	CHECK(done[DMA_SHIM_NORMAL] >= 20 && done[DMA_SHIM_NORMAL] <= 28);
	CHECK(done[DMA_SHIM_LOW] >= 4 && done[DMA_SHIM_LOW] <= 8);
	for (; total < PRIORITIES * JOBS; total++)
		next_done(context);
	context_close(context);
}

/* Idling does not save up for later: low has run alone before. */
TEST(a_priority_that_comes_late_has_no_claim_to_the_past)
{
	struct contest contest = contest_begin();
	struct context *context = &contest.context;
	uint32_t a = contest.a.handle;
	unsigned int low_first = 0;

	gate_let(&gate, GATE_OPEN);
	done_of(context, UINT64_MAX);
	for (unsigned int n = 0; n < 50; n++) {
		struct dma_shim_job job = job_of(n, a, a);

		CHECK_EQ(submit_one(context, job, 0, MIB, MIB), 0);
		done_of(context, n);
	}
	gate_let(&gate, 0);
	CHECK_EQ(submit_one(context, job_of(UINT64_MAX, a, a), 0, MIB, MIB), 0);
	gate_await(&gate, 52);
	for (unsigned int n = 0; n < 40; n++) {
		struct dma_shim_job job = job_of(n, a, a);

		job.priority = n % 2 ? DMA_SHIM_LOW : DMA_SHIM_NORMAL;
		CHECK_EQ(submit_one(context, job, 0, MIB, MIB), 0);
	}
	gate_let(&gate, GATE_OPEN);
	done_of(context, UINT64_MAX);
	for (unsigned int n = 0; n < 20; n++)
		low_first += next_done(context).tag % 2;
	/* A fifth of twenty, not the first twenty */
	CHECK(low_first <= 6);
	for (unsigned int n = 0; n < 20; n++)
		next_done(context);
	context_close(context);
}
