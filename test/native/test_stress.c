// SPDX-License-Identifier: Apache-2.0
/* Many threads at once, several contexts, and closing in the middle of it. */
#include "fixture.h"

#include <unistd.h>

#define HAMMERS 4u
#define ROUNDS rounds(4000)

struct hammer {
	struct context *context;
	const struct file *file;
	unsigned int number;
	uint64_t submitted;
	pthread_t thread;
};

/* Each has its own stripe of the device, so that their bytes do not race. */
static void *hammer_main(void *argument)
{
	struct hammer *hammer = argument;
	uint64_t stripe = hammer->file->size / HAMMERS;
	uint64_t base = hammer->number * stripe;
	uint64_t state = hammer->number + 1;

	for (uint64_t n = 0; n < ROUNDS; n++) {
		uint64_t tag = n * HAMMERS + hammer->number;
		struct dma_shim_job job = job_of(tag, hammer->file->handle, DMA_SHIM_NOWHERE);
		uint64_t size;

		state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
		size = state >> 40 & 63 ? 1 + (state >> 33) % 4096 : stripe;
		job.priority = (uint32_t)(state >> 50) % 3;
		job.flags = DMA_SHIM_JOB_CHECKSUM;
		CHECK_EQ(submit_one(hammer->context, job, base, 0, size), 0);
		hammer->submitted++;
		if (state >> 60 < 8) {
			int result = dma_shim_cancel(hammer->context->shim, tag);

			CHECK(result == 0 || result == -ENOENT);
		}
		CHECK_EQ(dma_shim_device_close(hammer->context->shim, 77), -EBADF);
	}
	return NULL;
}

TEST(threads_submit_and_cancel_against_each_other)
{
	struct context context = context_open(3);
	struct file file = file_device(&context, "a", 8 * MIB);
	struct hammer hammers[HAMMERS];
	unsigned char *seen = calloc(HAMMERS * ROUNDS, 1);
	unsigned int succeeded = 0;

	for (unsigned int n = 0; n < HAMMERS; n++) {
		hammers[n] = (struct hammer) { &context, &file, n, 0, 0 };
		CHECK_EQ(pthread_create(&hammers[n].thread, NULL, hammer_main, &hammers[n]), 0);
	}
	for (unsigned int n = 0; n < HAMMERS * ROUNDS; n++) {
		struct dma_shim_completion done = next_done(&context);

		CHECK(done.tag < HAMMERS * ROUNDS && !seen[done.tag]);
		seen[done.tag] = 1;
		CHECK(done.status == 0 || done.status == -ECANCELED);
		succeeded += done.status == 0;
	}
	for (unsigned int n = 0; n < HAMMERS; n++)
		pthread_join(hammers[n].thread, NULL);
	CHECK(succeeded > 0);
	no_more_records(&context);
	CHECK_EQ(dma_shim_device_close(context.shim, file.handle), 0);
	free(seen);
	context_close(&context);
}

/* A tag goes round: each time its old job's record is seen, a new one begins. */
TEST(a_tag_can_be_used_again_at_once)
{
	struct context context = context_open(2);
	struct file file = file_device(&context, "a", 64 * KIB);
	unsigned int done = 0;

	for (unsigned int n = 0; n < rounds(20000); n++) {
		int result = submit_one(&context, job_of(1, file.handle, file.handle),
					0, 4096, 1 + n % 4096);

		if (result == -EEXIST) {
			dma_shim_cancel(context.shim, 1);
			continue;
		}
		CHECK_EQ(result, 0);
		done++;
	}
	while (done--)
		done_of(&context, 1);
	no_more_records(&context);
	context_close(&context);
}

/* Jobs write the same bytes at once here, which the thread sanitizer may not see. */
#ifndef __SANITIZE_THREAD__
static void work_of_all_kinds(struct context *context, const struct file *a,
			      const struct file *disk, uint64_t count)
{
	for (uint64_t n = 0; n < count; n++) {
		struct dma_shim_job job = job_of(n, a->handle, n % 3 ? a->handle : disk->handle);
		struct dma_shim_segment segments[2] = {
			{ 0, 2 * MIB, n % 2 ? 2 * MIB : 300 }, { 0, 1 * MIB, 4096 },
		};

		job.flags = n % 2 ? DMA_SHIM_JOB_FLUSH | DMA_SHIM_JOB_CHECKSUM : 0;
		job.priority = n % 3;
		CHECK_EQ(submit(context, job, segments, 2), 0);
	}
}

TEST(closing_with_work_in_flight)
{
	for (unsigned int round = 0; round < 12; round++) {
		struct context context = context_open(1 + round % 4);
		struct file a = file_device(&context, "a", 4 * MIB);
		struct file disk = disk_device(&context, "disk", 4 * MIB);
		struct dma_shim_completion record;
		unsigned int done = 0;

		work_of_all_kinds(&context, &a, &disk, 100);
		usleep((useconds_t)random_below(5000));
		dma_shim_close(context.shim);
		while (next_record(&context, &record))
			done += record.kind == DMA_SHIM_DONE;
		CHECK_EQ(done, 100);
		close(context.socket);
	}
}
#endif

TEST(closing_with_checksums_in_flight)
{
	for (unsigned int round = 0; round < 30; round++) {
		struct context context = context_open(1 + round % 4);
		struct file a = file_device(&context, "a", 8 * MIB);
		struct dma_shim_completion record;
		unsigned int done = 0;

		for (uint64_t n = 0; n < 50; n++) {
			struct dma_shim_job job = job_of(n, a.handle, DMA_SHIM_NOWHERE);

			job.flags = DMA_SHIM_JOB_CHECKSUM;
			CHECK_EQ(submit_one(&context, job, 0, 0, n % 2 ? 8 * MIB : 99), 0);
		}
		usleep((useconds_t)random_below(3000));
		dma_shim_close(context.shim);
		while (next_record(&context, &record))
			done += record.kind == DMA_SHIM_DONE;
		CHECK_EQ(done, 50);
		close(context.socket);
	}
}

TEST(contexts_do_not_know_of_each_other)
{
	enum { CONTEXTS = 5 };
	struct context contexts[CONTEXTS];
	struct file files[CONTEXTS];

	for (unsigned int n = 0; n < CONTEXTS; n++) {
		char name[8];

		snprintf(name, sizeof(name), "c%u", n);
		contexts[n] = context_open(2);
		files[n] = file_device(&contexts[n], name, 4 * MIB);
		CHECK_EQ(files[n].handle, 0);
		random_fill(files[n].bytes, 2 * MIB);
	}
	for (unsigned int round = 0; round < 20; round++) {
		for (unsigned int n = 0; n < CONTEXTS; n++)
			CHECK_EQ(submit_one(&contexts[n], job_of(1, 0, 0), 0, 2 * MIB, 2 * MIB), 0);
		for (unsigned int n = 0; n < CONTEXTS; n++)
			CHECK_EQ(done_of(&contexts[n], 1).status, 0);
	}
	/* In another order than they were made */
	for (unsigned int n = 0; n < CONTEXTS; n++) {
		unsigned int which = n * 2 % CONTEXTS;

		CHECK(memcmp(files[which].bytes, files[which].bytes + 2 * MIB, 2 * MIB) == 0);
		context_close(&contexts[which]);
	}
}

static void *open_and_close(void *argument)
{
	const char *name = argument;

	for (unsigned int n = 0; n < 40; n++) {
		struct context context = context_open(1 + n % 3);
		struct file file;

		file = file_make(scratch(), name, 64 * KIB);
		file_open(&context, &file);
		CHECK_EQ(submit_one(&context, job_of(1, file.handle, file.handle),
				    0, 8192, 8192), 0);
		if (n % 2)
			CHECK_EQ(next_done(&context).status, 0);
		context_close(&context);
		close(file.descriptor);
	}
	return NULL;
}

TEST(contexts_come_and_go_side_by_side)
{
	static char names[][4] = { "t0", "t1", "t2", "t3" };
	pthread_t threads[4];

	scratch();
	for (unsigned int n = 0; n < 4; n++)
		CHECK_EQ(pthread_create(&threads[n], NULL, open_and_close, names[n]), 0);
	for (unsigned int n = 0; n < 4; n++)
		pthread_join(threads[n], NULL);
}
