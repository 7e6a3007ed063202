// SPDX-License-Identifier: Apache-2.0
/* What is refused, and that a refusal leaves nothing behind. */
#include "fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#define SIZE (64 * KIB)

struct refusal {
	struct context context;
	struct file a;
	struct file b;
	unsigned char memory[4096];
	struct dma_shim_job job;
	struct dma_shim_segment segment;
};

static struct refusal *refusal_make(void)
{
	struct refusal *refusal = calloc(1, sizeof(*refusal));

	refusal->context = context_open(1);
	refusal->a = file_device(&refusal->context, "a", SIZE);
	refusal->b = file_device(&refusal->context, "b", SIZE);
	return refusal;
}

/* A job that would be taken, for the test to spoil */
static void reset(struct refusal *refusal)
{
	refusal->job = job_of(5, refusal->a.handle, refusal->b.handle);
	refusal->segment = (struct dma_shim_segment) { 0, 0, 4096 };
}

static int try(struct refusal *refusal)
{
	return dma_shim_submit(refusal->context.shim, &refusal->job, &refusal->segment,
			       refusal->memory, NULL);
}

#define REFUSED(error, ...)						\
	do {								\
		reset(r);						\
		__VA_ARGS__;						\
		CHECK_EQ(try(r), error);				\
	} while (0)

TEST(fields_out_of_range_are_refused)
{
	struct refusal *r = refusal_make();

	REFUSED(-EINVAL, r->job.engine = 0);
	REFUSED(-EINVAL, r->job.engine = 3);
	REFUSED(-EINVAL, r->job.priority = 3);
	REFUSED(-EINVAL, r->job.priority = UINT32_MAX);
	REFUSED(-EINVAL, r->job.flags = 8);
	REFUSED(-EINVAL, r->job.flags = UINT32_C(1) << 31);
	REFUSED(-EINVAL, r->job.segment_count = 0);
	REFUSED(-EINVAL, r->job.segment_count = DMA_SHIM_MAX_SEGMENTS + 1);
	REFUSED(-EINVAL, r->job.source = DMA_SHIM_NOWHERE);
	REFUSED(-EINVAL, r->segment.size = 0);
	REFUSED(-ENODEV, r->job.engine = DMA_SHIM_ENGINE_DMA);
	REFUSED(-EBADF, r->job.source = 2);
	REFUSED(-EBADF, r->job.destination = 255);
	REFUSED(-EBADF, r->job.destination = 256);
	REFUSED(-EBADF, r->job.source = UINT32_C(0xfffffffc));
	reset(r);
	CHECK_EQ(dma_shim_submit(NULL, &r->job, &r->segment, NULL, NULL), -EINVAL);
	CHECK_EQ(dma_shim_submit(r->context.shim, NULL, &r->segment, NULL, NULL), -EINVAL);
	CHECK_EQ(dma_shim_submit(r->context.shim, &r->job, NULL, NULL, NULL), -EINVAL);

	no_more_records(&r->context);
	/* Nothing holds on to the devices. */
	CHECK_EQ(dma_shim_device_close(r->context.shim, r->a.handle), 0);
	CHECK_EQ(dma_shim_device_close(r->context.shim, r->b.handle), 0);
	context_close(&r->context);
	free(r);
}

TEST(flags_that_do_not_fit_are_refused)
{
	struct refusal *r = refusal_make();

	REFUSED(-EINVAL, r->job.destination = DMA_SHIM_MEMORY, r->job.memory_size = 4096,
		r->job.flags = DMA_SHIM_JOB_FLUSH);
	REFUSED(-EINVAL, r->job.destination = DMA_SHIM_NOWHERE,
		r->job.flags = DMA_SHIM_JOB_CHECKSUM | DMA_SHIM_JOB_FLUSH);
	REFUSED(-EINVAL, r->job.destination = DMA_SHIM_NOWHERE,
		r->job.flags = DMA_SHIM_JOB_VERIFY);
	REFUSED(-EINVAL, r->job.destination = DMA_SHIM_NOWHERE,
		r->job.flags = DMA_SHIM_JOB_CHECKSUM | DMA_SHIM_JOB_VERIFY);
	REFUSED(-EINVAL, r->job.destination = DMA_SHIM_NOWHERE);
	context_close(&r->context);
	free(r);
}

TEST(memory_and_its_size_belong_together)
{
	struct refusal *r = refusal_make();

	REFUSED(-EINVAL, r->job.source = DMA_SHIM_MEMORY);
	REFUSED(-EINVAL, r->job.memory_size = 4096);
	REFUSED(-ERANGE, r->job.source = DMA_SHIM_MEMORY, r->job.memory_size = 4095);
	REFUSED(-EINVAL, r->job.source = DMA_SHIM_MEMORY, r->job.memory_size = UINT64_MAX);
	reset(r);
	r->job.source = DMA_SHIM_MEMORY;
	r->job.memory_size = 4096;
	CHECK_EQ(dma_shim_submit(r->context.shim, &r->job, &r->segment, NULL, NULL), -EINVAL);
	CHECK_EQ(try(r), 0);
	CHECK_EQ(next_done(&r->context).status, 0);
	context_close(&r->context);
	free(r);
}

TEST(ranges_outside_are_refused)
{
	struct refusal *r = refusal_make();

	REFUSED(-ERANGE, r->segment.src_offset = SIZE - 4095);
	REFUSED(-ERANGE, r->segment.dst_offset = SIZE - 4095);
	REFUSED(-ERANGE, r->segment.src_offset = SIZE);
	REFUSED(-ERANGE, r->segment.dst_offset = SIZE + 1);
	REFUSED(-ERANGE, r->segment.size = SIZE + 1);
	REFUSED(-ERANGE, r->segment.src_offset = UINT64_MAX);
	REFUSED(-ERANGE, r->segment.size = UINT64_MAX);
	REFUSED(-ERANGE, r->segment.src_offset = 4096, r->segment.size = UINT64_MAX - 4095);
	REFUSED(-ERANGE, r->segment.src_offset = 4096, r->segment.dst_offset = 4096,
		r->segment.size = UINT64_MAX - 4095);
	REFUSED(-ERANGE, r->segment.dst_offset = UINT64_MAX - 4095);
	REFUSED(-ERANGE, r->job.destination = DMA_SHIM_NOWHERE,
		r->job.flags = DMA_SHIM_JOB_CHECKSUM, r->segment.src_offset = SIZE);
	reset(r);
	r->segment = (struct dma_shim_segment) { 0, SIZE - 4096, 4096 };
	CHECK_EQ(try(r), 0);
	CHECK_EQ(next_done(&r->context).status, 0);
	context_close(&r->context);
	free(r);
}

/* One bad segment at the end, and not a byte of the others moves. */
TEST(bounds_are_checked_before_anything_moves)
{
	struct refusal *r = refusal_make();
	struct dma_shim_segment segments[] = { { 0, 0, 4096 }, { 0, SIZE, 1 } };

	random_fill(r->a.bytes, SIZE);
	reset(r);
	CHECK_EQ(submit(&r->context, r->job, segments, 2), -ERANGE);
	for (unsigned int n = 0; n < SIZE; n++)
		CHECK_EQ(r->b.bytes[n], 0);
	no_more_records(&r->context);
	context_close(&r->context);
	free(r);
}

TEST(overlapping_ranges_are_refused)
{
	struct refusal *r = refusal_make();
	unsigned char *memory = r->memory;
	struct dma_shim_job job;

	REFUSED(-EINVAL, r->job.destination = r->a.handle);
	REFUSED(-EINVAL, r->job.destination = r->a.handle, r->segment.dst_offset = 4095);
	REFUSED(-EINVAL, r->job.destination = r->a.handle, r->segment.src_offset = 4095);
	reset(r);
	r->job.destination = r->a.handle;
	r->segment.dst_offset = 4096;
	CHECK_EQ(try(r), 0);
	CHECK_EQ(next_done(&r->context).status, 0);

	job = job_of(1, DMA_SHIM_MEMORY, DMA_SHIM_MEMORY);
	job.memory_size = 4096;
	r->segment = (struct dma_shim_segment) { 0, 2047, 2048 };
	CHECK_EQ(dma_shim_submit(r->context.shim, &job, &r->segment, memory, NULL), -EINVAL);
	r->segment.dst_offset = 2048;
	random_fill(memory, 2048);
	CHECK_EQ(dma_shim_submit(r->context.shim, &job, &r->segment, memory, NULL), 0);
	CHECK_EQ(next_done(&r->context).status, 0);
	CHECK(memcmp(memory, memory + 2048, 2048) == 0);
	context_close(&r->context);
	free(r);
}

static struct gate gate = GATE;

static void copy_at_gate(const struct stream_kernel *kernel, unsigned char *to,
			 const unsigned char *from, size_t size)
{
	gate_wait(&gate);
	__real_copy_streaming(kernel, to, from, size);
}

TEST(a_tag_in_flight_is_refused_and_free_after_its_end)
{
	struct context context = context_open(1);
	struct file a = file_device(&context, "a", 2 * MIB);

	hooks.copy_streaming = copy_at_gate;
	CHECK_EQ(submit_one(&context, job_of(7, a.handle, a.handle), 0, MIB, MIB), 0);
	gate_await(&gate, 1);
	CHECK_EQ(submit_one(&context, job_of(7, a.handle, a.handle), 0, MIB, MIB), -EEXIST);
	CHECK_EQ(dma_shim_device_close(context.shim, a.handle), -EBUSY);
	gate_let(&gate, GATE_OPEN);
	CHECK_EQ(done_of(&context, 7).status, 0);
	for (unsigned int n = 0; n < rounds(1000); n++) {
		CHECK_EQ(submit_one(&context, job_of(7, a.handle, a.handle), 0, 4096, 4096), 0);
		CHECK_EQ(done_of(&context, 7).status, 0);
	}
	CHECK_EQ(dma_shim_device_close(context.shim, a.handle), 0);
	CHECK_EQ(dma_shim_device_close(context.shim, a.handle), -EBADF);
	context_close(&context);
}

TEST(options_are_checked)
{
	struct dma_shim *shim = (struct dma_shim *)&gate;
	struct dma_shim_options options = { .cpu_threads = 65 };
	struct dma_shim_cpu_info info;

	CHECK_EQ(dma_shim_open(&options, &shim), -EINVAL);
	options = (struct dma_shim_options) { .reserved = 1 };
	CHECK_EQ(dma_shim_open(&options, &shim), -EINVAL);
	CHECK_EQ(dma_shim_open(NULL, &shim), -EINVAL);
	CHECK(shim == (struct dma_shim *)&gate);
	options.reserved = 0;
	CHECK_EQ(dma_shim_open(&options, NULL), -EINVAL);
	dma_shim_close(NULL);

	CHECK_EQ(dma_shim_open(&options, &shim), 0);
	memset(&info, 0xff, sizeof(info));
	dma_shim_cpu_info(shim, &info);
	CHECK(info.threads >= 1 && info.threads <= 64);
	CHECK(info.cpus >= 1);
	CHECK(memchr(info.instruction_set, 0, sizeof(info.instruction_set)));
	CHECK(strlen(info.instruction_set) > 0);
	dma_shim_close(shim);

	options.cpu_threads = 64;
	CHECK_EQ(dma_shim_open(&options, &shim), 0);
	dma_shim_cpu_info(shim, &info);
	CHECK_EQ(info.threads, 64);
	dma_shim_close(shim);
	CHECK_EQ(dma_shim_abi(), DMA_SHIM_ABI);
	CHECK(strlen(dma_shim_version()) >= 5);
}

/* Whichever allocation fails, nothing is kept and the next try works. */
TEST(running_out_of_memory_is_reported)
{
	unsigned int refused = 0;

	for (int nth = 1; nth <= 6; nth++) {
		struct dma_shim_options options = { .cpu_threads = 1 };
		struct dma_shim_device_spec spec = { .kind = DMA_SHIM_FILE };
		struct dma_shim_device_info info;
		struct context context;
		struct file a = file_make(scratch(), "a", 64 * KIB);
		int result;

		if (nth == 1) {
			hooks.allocations = 1;
			CHECK_EQ(dma_shim_open(&options, &context.shim), -ENOMEM);
		}
		context = context_open(1);
		if (nth == 1) {
			hooks.allocations = 1;
			CHECK_EQ(dma_shim_device_open(context.shim, a.path, &spec, &info),
				 -ENOMEM);
		}
		file_open(&context, &a);
		hooks.allocations = nth;
		result = submit_one(&context, job_of(1, a.handle, a.handle), 0, 8192, 4096);
		if (result) {
			hooks.allocations = 0;
			refused++;
			CHECK_EQ(result, -ENOMEM);
			CHECK_EQ(dma_shim_cancel(context.shim, 1), -ENOENT);
			no_more_records(&context);
			CHECK_EQ(dma_shim_device_close(context.shim, a.handle), 0);
			file_open(&context, &a);
			CHECK_EQ(submit_one(&context, job_of(1, a.handle, a.handle),
					    0, 8192, 4096), 0);
		}
		CHECK_EQ(done_of(&context, 1).status, 0);
		hooks.allocations = 0;
		context_close(&context);
		close(a.descriptor);
	}
	/* The job, the table of tags, the ring of records */
	CHECK_EQ(refused, 3);
}

TEST(a_batch_is_taken_but_for_what_is_refused)
{
	struct refusal *r = refusal_make();
	struct dma_shim_job jobs[5];
	/* One for each of the first three, two for the fourth, one for the last */
	struct dma_shim_segment segments[] = {
		{ 0, 0, 100 }, { 0, SIZE, 1 }, { 100, 100, 100 },
		{ 200, 200, 50 }, { 250, 250, 50 }, { 300, 300, 100 },
	};
	const int32_t expected[] = { 0, -ERANGE, -EBADF, 0, 0 };
	int32_t errors[5] = { 7, 7, 7, 7, 7 };
	struct dma_shim_completion over[5];

	for (uint32_t n = 0; n < SIZE; n++)
		r->a.bytes[n] = (unsigned char)(n * 7 + 1);
	for (uint64_t n = 0; n < 5; n++)
		jobs[n] = job_of(n, n == 2 ? 99 : r->a.handle, r->b.handle);
	for (uint32_t n = 0; n < 5; n++)
		jobs[n].segment_count = n == 3 ? 2 : 1;

	CHECK_EQ(dma_shim_submit_batch(NULL, jobs, 5, segments, errors, over), -EINVAL);
	CHECK_EQ(dma_shim_submit_batch(r->context.shim, NULL, 5, segments, errors, over), -EINVAL);
	CHECK_EQ(dma_shim_submit_batch(r->context.shim, jobs, 5, NULL, errors, over), -EINVAL);
	CHECK_EQ(dma_shim_submit_batch(r->context.shim, jobs, 5, segments, NULL, over), -EINVAL);
	CHECK_EQ(dma_shim_submit_batch(r->context.shim, jobs, 5, segments, errors, NULL), -EINVAL);
	CHECK_EQ(dma_shim_submit_batch(r->context.shim, jobs, 0, segments, errors, over), 0);
	no_more_records(&r->context);
	CHECK_EQ(errors[0], 7);

	CHECK_EQ(dma_shim_submit_batch(r->context.shim, jobs, 5, segments, errors, over), 0);
	for (uint32_t n = 0; n < 5; n++) {
		/* The caller may have done it himself: see test_brief.c */
		if (errors[n] == 1) {
			CHECK_EQ(over[n].tag, n);
			CHECK_EQ(over[n].status, 0);
			errors[n] = 0;
		} else if (!errors[n]) {
			CHECK_EQ(next_done(&r->context).status, 0);
		}
		CHECK_EQ(errors[n], expected[n]);
	}
	no_more_records(&r->context);
	CHECK(!memcmp(r->b.bytes, r->a.bytes, 100));
	CHECK(!memcmp(r->b.bytes + 200, r->a.bytes + 200, 200));
	for (uint32_t n = 100; n < 200; n++)
		CHECK_EQ(r->b.bytes[n], 0);
	context_close(&r->context);
	free(r);
}

static unsigned int descriptors(void)
{
	unsigned int count = 0;

	for (int n = 0; n < 1024; n++)
		count += fcntl(n, F_GETFD) >= 0;
	return count;
}

TEST(no_thread_to_be_had_is_reported)
{
	struct dma_shim_options options = { .cpu_threads = 3 };
	struct dma_shim *shim = NULL;
	unsigned int before = descriptors();
	int nth = 0;
	int result;

	do {
		struct sigaction now;

		hooks.threads = ++nth;
		result = dma_shim_open(&options, &shim);
		hooks.threads = 0;
		if (!result)
			break;
		CHECK_EQ(result, -EAGAIN);
		CHECK(!shim);
		CHECK_EQ(descriptors(), before);
		SYS(sigaction(SIGBUS, NULL, &now));
		CHECK(now.sa_flags != (SA_SIGINFO | SA_ONSTACK));
	} while (1);
	/* Three that copy, four that sync, one that delivers, four that stream */
	CHECK_EQ(nth, 13);
	dma_shim_close(shim);
}
