// SPDX-License-Identifier: Apache-2.0
/* Brief jobs: who copies them, and that it changes nothing else. */
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

static uint32_t (*check_hook)(uint32_t crc, const void *bytes, size_t size) = note_thread;

/* @count verified jobs of @size bytes each, side by side, into @to's second half */
static void submit_verified(struct context *context, const struct file *from,
			    const struct file *to, uint32_t count, uint64_t size)
{
	struct dma_shim_segment segments[JOBS];
	struct dma_shim_job jobs[JOBS];

	caller = pthread_self();
	hooks.crc32c = check_hook;
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

/* Return: how many of them, the first, the caller did himself. */
static uint32_t all_succeed(struct context *context, const struct file *from,
			    const struct file *to, uint32_t count, uint64_t size)
{
	uint32_t helped = 0;

	while (helped < count && errors[helped] == DMA_SHIM_SUBMIT_COMPLETED)
		helped++;
	for (uint32_t n = 0; n < count; n++) {
		struct dma_shim_completion done;

		CHECK_EQ(errors[n], n < helped ? DMA_SHIM_SUBMIT_COMPLETED : 0);
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
	CHECK_EQ(by_caller, 2 * helped);
	CHECK_EQ(by_others, 2 * (count - helped));
	by_caller = 0;
	by_others = 0;
	return helped;
}

/* Return: how many of them the caller did himself, with no thread at work. */
static uint32_t copy_verified(struct context *context, const struct file *from,
			      const struct file *to, uint32_t count, uint64_t size)
{
	random_fill(from->bytes, count * size);
	wait_until_idle(context->shim);
	submit_verified(context, from, to, count, size);
	return all_succeed(context, from, to, count, size);
}

TEST(the_caller_copies_what_is_brief)
{
	struct context context = context_open(2);
	struct file a = file_device(&context, "a", 2 * MIB);

	CHECK_EQ(copy_verified(&context, &a, &a, 1, 4 * KIB), 1);
	context_close(&context);
}

TEST(the_caller_copies_so_many_bytes_at_most)
{
	struct context context = context_open(2);
	struct file a = file_device(&context, "a", 2 * MIB);
	uint32_t helped;

	/* Three times 20 KiB each, for there are two checksums */
	helped = copy_verified(&context, &a, &a, JOBS, 20 * KIB);
	/* On a slow machine the caller stops sooner. */
	CHECK(helped >= 1 && helped <= 4);
	context_close(&context);
}

static uint32_t slow_check(uint32_t crc, const void *bytes, size_t size)
{
	usleep(1000);
	return note_thread(crc, bytes, size);
}

TEST(the_caller_copies_for_so_long_at_most)
{
	struct context context = context_open(2);
	struct file a = file_device(&context, "a", 2 * MIB);

	check_hook = slow_check;
	CHECK_EQ(copy_verified(&context, &a, &a, 4, 4 * KIB), 1);
	context_close(&context);
}

TEST(a_job_that_is_not_brief_is_left_to_the_threads)
{
	struct context context = context_open(2);
	struct file a = file_device(&context, "a", 2 * MIB);

	CHECK_EQ(copy_verified(&context, &a, &a, 1, 22 * KIB), 0);
	context_close(&context);
}

TEST(what_may_come_from_a_disk_is_left_to_the_threads)
{
	struct context context = context_open(2);
	struct file memory = file_device(&context, "memory", 2 * MIB);
	struct file disk = disk_device(&context, "disk", 2 * MIB);

	CHECK_EQ(copy_verified(&context, &disk, &memory, 2, 4 * KIB), 0);
	CHECK_EQ(copy_verified(&context, &memory, &disk, 2, 4 * KIB), 0);
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
	CHECK_EQ(all_succeed(&context, &a, &a, 4, 4 * KIB), 0);
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
		CHECK_EQ(errors[0], DMA_SHIM_SUBMIT_COMPLETED);
		for (unsigned int each = 0; each < 2; each++) {
			struct dma_shim_completion done = errors[each] ? over[each] :
									 next_done(&context);

			CHECK_EQ(done.status, -ENXIO);
			CHECK_EQ(done.bytes_done, 0);
		}
		no_more_records(&context);
	}
	/* The checksums were never reached; and what is there can still be copied. */
	CHECK_EQ(by_caller + by_others, 0);
	CHECK_EQ(submit_one(&context, job_of(9, a.handle, a.handle), 0, 8192, 4096), 0);
	CHECK_EQ(next_done(&context).status, 0);
	context_close(&context);
}

/* Return: what submitting @size bytes of @memory, to go to @to, comes to, all done. */
static int upload(struct context *context, const struct file *to, unsigned char *memory,
		  uint64_t size)
{
	struct dma_shim_job job = job_of(5, DMA_SHIM_MEMORY, to->handle);
	struct dma_shim_segment segment = { 0, MIB, size };
	struct dma_shim_completion done;
	int status;

	caller = pthread_self();
	hooks.crc32c = note_thread;
	random_fill(memory, size);
	job.memory_size = size;
	job.segment_count = 1;
	job.flags = DMA_SHIM_JOB_CHECKSUM;
	status = dma_shim_submit(context->shim, &job, &segment, memory, over);
	done = status == DMA_SHIM_SUBMIT_COMPLETED ? over[0] : next_done(context);
	CHECK_EQ(done.tag, 5);
	CHECK_EQ(done.status, 0);
	CHECK_EQ(done.bytes_done, size);
	CHECK_EQ(done.source_crc, __real_crc32c(0, memory, size));
	CHECK_EQ(memcmp(to->bytes + MIB, memory, size), 0);
	CHECK(status ? !by_others : !by_caller);
	by_caller = 0;
	by_others = 0;
	no_more_records(context);
	wait_until_idle(context->shim);
	return status;
}

TEST(the_caller_copies_from_its_own_memory)
{
	struct context context = context_open(2);
	struct file a = file_device(&context, "a", 2 * MIB);
	struct file disk = disk_device(&context, "disk", 2 * MIB);
	unsigned char *memory = malloc(257 * KIB);

	wait_until_idle(context.shim);
	CHECK_EQ(upload(&context, &a, memory, 1), DMA_SHIM_SUBMIT_COMPLETED);
	CHECK_EQ(upload(&context, &a, memory, 256 * KIB), DMA_SHIM_SUBMIT_COMPLETED);
	CHECK_EQ(upload(&context, &a, memory, 257 * KIB), 0);
	CHECK_EQ(upload(&context, &disk, memory, 1), 0);
	free(memory);
	context_close(&context);
}

/* Return: what fetching @count segments of @size bytes comes to, with them all there. */
static int download(struct context *context, const struct file *from, uint32_t count,
		    uint64_t size, struct dma_shim_completion *room)
{
	struct dma_shim_job job = job_of(5, from->handle, DMA_SHIM_MEMORY);
	struct dma_shim_segment segments[] = { { 100, 0, size }, { 100 + size, size, size } };
	unsigned char *memory = calloc(count, size);
	struct dma_shim_completion done;
	int status;

	random_fill(from->bytes, MIB);
	job.memory_size = count * size;
	job.segment_count = count;
	wait_until_idle(context->shim);
	status = dma_shim_submit(context->shim, &job, segments, memory, room);
	done = status == DMA_SHIM_SUBMIT_COMPLETED ? *room : next_done(context);
	CHECK_EQ(done.status, 0);
	CHECK_EQ(done.bytes_done, count * size);
	CHECK_EQ(memcmp(memory, from->bytes + 100, count * size), 0);
	no_more_records(context);
	free(memory);
	return status;
}

TEST(the_caller_copies_to_its_own_memory)
{
	struct context context = context_open(2);
	struct file a = file_device(&context, "a", 2 * MIB);

	CHECK_EQ(download(&context, &a, 1, 256 * KIB, over), DMA_SHIM_SUBMIT_COMPLETED);
	CHECK_EQ(download(&context, &a, 1, 256 * KIB + 1, over), 0);
	CHECK_EQ(download(&context, &a, 2, 100, over), 0);
	CHECK_EQ(download(&context, &a, 1, 100, NULL), 0);
	context_close(&context);
}

TEST(its_memory_takes_its_turn_if_a_thread_is_at_work)
{
	struct context context = context_open(1);
	struct file a = file_device(&context, "a", 4 * MIB);
	struct dma_shim_job job = job_of(5, DMA_SHIM_MEMORY, a.handle);
	struct dma_shim_segment segment = { 0, 3 * MIB, 4096 };
	unsigned char memory[4096] = { 1 };

	hooks.copy_streaming = copy_at_gate;
	CHECK_EQ(submit_one(&context, job_of(100, a.handle, a.handle), 0, MIB, MIB), 0);
	gate_await(&gate, 1);
	job.memory_size = sizeof(memory);
	job.segment_count = 1;
	CHECK_EQ(dma_shim_submit(context.shim, &job, &segment, memory, over), 0);
	CHECK_EQ(a.bytes[3 * MIB], 0);
	gate_let(&gate, GATE_OPEN);
	CHECK_EQ(next_done(&context).tag, 100);
	CHECK_EQ(next_done(&context).tag, 5);
	CHECK_EQ(memcmp(a.bytes + 3 * MIB, memory, 4096), 0);
	context_close(&context);
}

static _Atomic unsigned int written_back_by_caller;

static void note_write_back(const unsigned char *start, size_t size)
{
	if (pthread_equal(pthread_self(), caller))
		written_back_by_caller++;
	__real_write_back(start, size);
}

TEST(the_caller_writes_back_what_it_copied)
{
	struct context context = context_open(1);
	struct file a = file_device(&context, "a", 2 * MIB);

	/* As of persistent memory */
	context.shim->devices[a.handle]->flush_basis = DMA_SHIM_FLUSH_CLFLUSH;
	hooks.write_back = note_write_back;
	CHECK_EQ(copy_verified(&context, &a, &a, 1, 4 * KIB), 1);
	/* The first line and the last; what is between passed the caches by. */
	CHECK_EQ(written_back_by_caller, 2);
	CHECK(over[0].flush_ns > 0);
	context_close(&context);
}

TEST(a_brief_job_of_several_segments_sees_what_it_wrote)
{
	struct context context = context_open(1);
	struct file a = file_device(&context, "a", MIB);
	struct dma_shim_segment segments[] = {
		{ 0, 8192, 4096 }, { 8192, 16384, 4096 }, { 16384, 0, 100 },
	};
	struct dma_shim_job job = job_of(7, a.handle, a.handle);

	random_fill(a.bytes, 4096);
	job.segment_count = 3;
	wait_until_idle(context.shim);
	CHECK_EQ(dma_shim_submit_batch(context.shim, &job, 1, segments, errors, over), 0);
	CHECK_EQ(errors[0], DMA_SHIM_SUBMIT_COMPLETED);
	CHECK_EQ(over[0].status, 0);
	CHECK_EQ(over[0].bytes_done, 8292);
	CHECK_EQ(memcmp(a.bytes + 8192, a.bytes, 4096), 0);
	CHECK_EQ(memcmp(a.bytes + 16384, a.bytes, 4096), 0);
	context_close(&context);
}

static uint32_t another_each_time(uint32_t crc, const void *bytes, size_t size)
{
	static uint32_t calls;

	return __real_crc32c(crc, bytes, size) + calls++;
}

TEST(a_difference_that_the_caller_finds_fails_the_job)
{
	struct context context = context_open(1);
	struct file a = file_device(&context, "a", 2 * MIB);

	check_hook = another_each_time;
	wait_until_idle(context.shim);
	submit_verified(&context, &a, &a, 1, 4 * KIB);
	CHECK_EQ(errors[0], DMA_SHIM_SUBMIT_COMPLETED);
	CHECK_EQ(over[0].status, -EBADMSG);
	no_more_records(&context);
	context_close(&context);
}

TEST(closing_waits_for_what_the_caller_left)
{
	struct context context = context_open(2);
	struct file a = file_device(&context, "a", 2 * MIB);

	wait_until_idle(context.shim);
	submit_verified(&context, &a, &a, JOBS, 20 * KIB);
	context_close(&context);
}

#define ROUNDS rounds(4000)
#define IN_FLIGHT 4u

static struct dma_shim *contended;
static _Atomic unsigned int ended;
static _Atomic bool stop;

/* Batches of brief jobs, each inside a range of this thread's own; ends are counted. */
static void *submit_batches(void *argument)
{
	const struct file *a = argument;
	static _Atomic uint32_t number;
	uint32_t self = number++;

	for (uint32_t round = 0; round < ROUNDS; round++) {
		struct dma_shim_segment pieces[IN_FLIGHT];
		struct dma_shim_completion done[IN_FLIGHT];
		struct dma_shim_job jobs[IN_FLIGHT];
		int32_t result[IN_FLIGHT];

		for (uint32_t n = 0; n < IN_FLIGHT; n++) {
			uint64_t place = (self * ROUNDS + round) * IN_FLIGHT + n;

			jobs[n] = job_of(place + 1, a->handle, a->handle);
			jobs[n].segment_count = 1;
			pieces[n] = (struct dma_shim_segment) { place * 32, place * 32 + 16, 16 };
		}
		CHECK_EQ(dma_shim_submit_batch(contended, jobs, IN_FLIGHT, pieces, result, done), 0);
		for (uint32_t n = 0; n < IN_FLIGHT; n++) {
			CHECK(result[n] == 0 || result[n] == DMA_SHIM_SUBMIT_COMPLETED);
			if (!result[n])
				continue;
			CHECK_EQ(done[n].tag, jobs[n].tag);
			CHECK(done[n].status == 0 || done[n].status == -ECANCELED);
			ended++;
		}
	}
	return NULL;
}

static void *cancel_any(void *argument)
{
	(void)argument;
	while (!stop)
		dma_shim_cancel(contended, random_below(2 * ROUNDS * IN_FLIGHT) + 1);
	return NULL;
}

TEST(each_job_ends_once_by_whichever_thread)
{
	struct context context = context_open(2);
	struct file a = file_device(&context, "a", 2 * MIB);
	unsigned int expected = 2 * ROUNDS * IN_FLIGHT;
	struct dma_shim_completion record;
	pthread_t threads[3];

	contended = context.shim;
	for (unsigned int n = 0; n < 3; n++)
		CHECK_EQ(pthread_create(&threads[n], NULL, n < 2 ? submit_batches : cancel_any,
					&a), 0);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	stop = true;
	pthread_join(threads[2], NULL);
	while (ended < expected) {
		CHECK(next_record(&context, &record));
		CHECK_EQ(record.kind, DMA_SHIM_DONE);
		ended++;
	}
	no_more_records(&context);
	context_close(&context);
}
