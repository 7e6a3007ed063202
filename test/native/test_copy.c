// SPDX-License-Identifier: Apache-2.0
/* The copy kernels that this CPU has, and each instruction that writes back. */
#include "fixture.h"

#include <sys/mman.h>

#define SIZE 9000u
#define GUARD 128u

TEST(streaming_copies_every_byte_and_no_other)
{
	static unsigned char from[SIZE + 2 * GUARD];
	static unsigned char to[SIZE + 2 * GUARD];
	static unsigned char want[SIZE + 2 * GUARD];
	unsigned int kernels = 0;

	for (unsigned int n = 0; n < STREAM_KERNELS; n++) {
		const struct stream_kernel *kernel = &stream_kernels[n];

		if (!stream_kernel_usable(kernel)) {
			printf("# this CPU cannot run %s\n", kernel->name);
			continue;
		}
		kernels++;
		for (unsigned int round = 0; round < rounds(6000); round++) {
			size_t limit = round % 2 ? 300 : SIZE;
			size_t from_at = random_below(GUARD);
			size_t to_at = random_below(GUARD);
			size_t size = random_below(limit + 1);

			random_fill(from, sizeof(from));
			random_fill(to, sizeof(to));
			memcpy(want, to, sizeof(to));
			memcpy(want + to_at, from + from_at, size);
			copy_streaming(kernel, to + to_at, from + from_at, size);
			CHECK(memcmp(to, want, sizeof(to)) == 0);
		}
	}
	CHECK(kernels > 0);
}

/* Loads past the end of a source would fault at the end of its mapping. */
TEST(streaming_reads_nothing_past_the_end)
{
	size_t page = 4096;
	unsigned char *map = SYS((unsigned char *)mmap(NULL, 6 * page,
				PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));

	SYS(mprotect(map + 2 * page, page, PROT_NONE));
	SYS(mprotect(map + 5 * page, page, PROT_NONE));
	for (unsigned int n = 0; n < STREAM_KERNELS; n++) {
		if (!stream_kernel_usable(&stream_kernels[n]))
			continue;
		for (size_t size = 1; size <= 2 * page; size += 1 + random_below(7)) {
			unsigned char *from = map + 2 * page - size;
			unsigned char *to = map + 5 * page - size;

			random_fill(from, size);
			copy_streaming(&stream_kernels[n], to, from, size);
			CHECK(memcmp(to, from, size) == 0);
		}
	}
}

/* Whatever it measures, what it chooses can be used. */
TEST(calibration_chooses_what_this_cpu_can_run)
{
	struct dma_shim_cpu_info info;
	struct context context;
	struct copy_plan plan;

	hooks.plan = __real_copy_plan();
	plan = *hooks.plan;
	CHECK(stream_kernel_usable(plan.fastest));
	CHECK(stream_kernel_usable(plan.uncached) && plan.uncached->uncached);
	CHECK(plan.stream_from >= STREAM_SEGMENT_MIN && plan.stream_from <= 16 * MIB);
	CHECK(plan.threads >= 1 && plan.threads <= MAX_COPY_THREADS);
	CHECK(plan.threads < cpu_count() || plan.threads == 1);

	context = context_open(0);
	dma_shim_cpu_info(context.shim, &info);
	CHECK_EQ(info.threads, plan.threads);
	CHECK_EQ(info.stream_from, plan.stream_from);
	CHECK(strcmp(info.instruction_set, plan.fastest->name) == 0);
	context_close(&context);
}

TEST(calibration_leaves_a_cpu_to_the_caller)
{
	const struct copy_plan *plan;

	hooks.cpus = 6;
	plan = __real_copy_plan();
	CHECK(plan->threads >= 1 && plan->threads <= 5);
}

TEST(calibration_does_without_threads)
{
	hooks.cpus = 4;
	hooks.threads = 2;
	CHECK(__real_copy_plan()->threads >= 1);
}

/* Each is the first of its process to ask for a plan. */
TEST(calibration_can_begin_before_the_plan_is_needed)
{
	hooks.cpus = 2;
	hooks.threads = 2;
	dma_shim_prepare();
	/* One has been made: the next one is the second. */
	CHECK_EQ(hooks.threads, 1);
	CHECK(stream_kernel_usable(__real_copy_plan()->fastest));
}

TEST(calibration_does_not_begin_beside_what_needs_the_only_cpu)
{
	hooks.cpus = 1;
	hooks.threads = 2;
	dma_shim_prepare();
	CHECK_EQ(hooks.threads, 2);
	CHECK(stream_kernel_usable(__real_copy_plan()->fastest));
}

TEST(calibration_that_cannot_begin_early_is_made_when_needed)
{
	hooks.cpus = 2;
	hooks.threads = 1;
	dma_shim_prepare();
	CHECK(stream_kernel_usable(__real_copy_plan()->fastest));
}

/* Which jobs pass the caches by, and how: the kernels that were called tell. */
static _Atomic(const struct stream_kernel *) streamed_with;

static void note_kernel(const struct stream_kernel *kernel, unsigned char *to,
			const unsigned char *from, size_t size)
{
	streamed_with = kernel;
	__real_copy_streaming(kernel, to, from, size);
}

static const struct stream_kernel *kernel_of(struct context *context, uint32_t device,
					     const struct dma_shim_segment *segments,
					     uint32_t count)
{
	streamed_with = NULL;
	CHECK_EQ(submit(context, job_of(1, device, device), segments, count), 0);
	CHECK_EQ(next_done(context).status, 0);
	return streamed_with;
}

TEST(a_job_is_streamed_from_the_threshold_on)
{
	struct copy_plan plan = {
		.fastest = &stream_kernels[STREAM_KERNELS - 1],
		.uncached = &stream_kernels[STREAM_KERNELS - 2],
		.stream_from = 3 * MIB,
		.threads = 1,
	};
	struct dma_shim_segment whole = { 0, 4 * MIB, 3 * MIB };
	struct dma_shim_segment less = { 0, 4 * MIB, 3 * MIB - 1 };
	struct dma_shim_segment parts[48];
	struct context context;
	struct file a;

	hooks.plan = &plan;
	hooks.copy_streaming = note_kernel;
	context = context_open(0);
	a = file_device(&context, "a", 8 * MIB);
	CHECK(kernel_of(&context, a.handle, &whole, 1) == plan.fastest);
	CHECK(kernel_of(&context, a.handle, &less, 1) == NULL);
	/* Its segments together, unless each is too small by itself */
	for (unsigned int n = 0; n < 48; n++)
		parts[n] = (struct dma_shim_segment) { 0, 4 * MIB, 64 * KIB };
	CHECK(kernel_of(&context, a.handle, parts, 48) == plan.fastest);
	CHECK(kernel_of(&context, a.handle, parts, 47) == NULL);
	for (unsigned int n = 0; n < 48; n++)
		parts[n].size = STREAM_SEGMENT_MIN - 1;
	context.shim->plan.stream_from = 48 * (STREAM_SEGMENT_MIN - 1);
	CHECK(kernel_of(&context, a.handle, parts, 48) == NULL);
	context_close(&context);
}

TEST(write_back_runs_with_each_instruction)
{
	struct cpu_features features = *cpu_features();
	enum writeback_instruction best = features.writeback;
	static unsigned char bytes[5000];

	random_fill(bytes, sizeof(bytes));
	hooks.features = &features;
	for (unsigned int n = WRITEBACK_CLFLUSH; n <= best; n++) {
		features.writeback = (enum writeback_instruction)n;
		write_back(bytes + 1, 1);
		write_back(bytes + 63, 2);
		write_back(bytes + 7, sizeof(bytes) - 7);
		store_fence();
	}
}
