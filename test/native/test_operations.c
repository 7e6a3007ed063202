// SPDX-License-Identifier: Apache-2.0
/* Fills and compares against a model that writes and looks byte by byte. */
#include "fixture.h"

#include <unistd.h>

#define SIZE (5 * MIB)

struct pair {
	struct context context;
	struct file a, b;
};

static struct pair pair_make(uint32_t threads)
{
	struct pair pair = { .context = context_open(threads) };

	pair.a = file_device(&pair.context, "a", SIZE);
	pair.b = file_device(&pair.context, "b", SIZE);
	random_fill(pair.a.bytes, SIZE);
	memcpy(pair.b.bytes, pair.a.bytes, SIZE);
	return pair;
}

static struct dma_shim_job fill_of(uint64_t tag, uint32_t destination, uint32_t pattern_size)
{
	struct dma_shim_job job = job_of(tag, DMA_SHIM_NOWHERE, destination);

	job.operation = DMA_SHIM_FILL;
	job.pattern_size = pattern_size;
	random_fill(job.pattern, pattern_size);
	return job;
}

static struct dma_shim_job compare_of(uint64_t tag, uint32_t source, uint32_t destination)
{
	struct dma_shim_job job = job_of(tag, source, destination);

	job.operation = DMA_SHIM_COMPARE;
	return job;
}

/* Mostly small, at times more than two pieces */
static uint64_t random_size(void)
{
	static const uint64_t sizes[] = { 1, 64, 200, 4 * KIB, 300 * KIB, 3 * MIB };

	return 1 + random_below(sizes[random_below(6)]);
}

static void random_filling(struct pair *pair, unsigned char *model, uint64_t tag)
{
	struct dma_shim_job job = fill_of(tag, pair->a.handle, 1u << random_below(7));
	uint32_t count = 1 + (uint32_t)random_below(random_below(2) ? 20 : 1);
	struct dma_shim_segment segments[20];
	struct dma_shim_completion done;
	uint64_t bytes = 0;
	uint32_t crc = 0;

	job.flags = (uint32_t)random_below(8);
	for (uint32_t n = 0; n < count; n++) {
		uint64_t size = random_size();
		uint64_t at = random_below(SIZE - size + 1);

		segments[n] = (struct dma_shim_segment) { 0, at, size };
		for (uint64_t byte = 0; byte < size; byte++)
			model[at + byte] = job.pattern[byte % job.pattern_size];
		crc = crc32c(crc, model + at, size);
		bytes += size;
	}
	CHECK_EQ(submit(&pair->context, job, segments, count), 0);
	done = done_of(&pair->context, tag);
	CHECK_EQ(done.status, 0);
	CHECK_EQ(done.bytes_done, bytes);
	CHECK_EQ(done.difference, DMA_SHIM_NO_DIFFERENCE);
	CHECK_EQ(done.source_crc, job.flags & ~DMA_SHIM_JOB_FLUSH ? crc : 0);
	CHECK_EQ(done.destination_crc, job.flags & DMA_SHIM_JOB_VERIFY ? crc : 0);
}

static void random_fills(struct pair *pair, unsigned int rounds)
{
	unsigned char *model = malloc(SIZE);

	memcpy(model, pair->a.bytes, SIZE);
	for (unsigned int n = 0; n < rounds; n++) {
		random_filling(pair, model, n);
		if (n % 10 == 0)
			CHECK(!memcmp(model, pair->a.bytes, SIZE));
	}
	CHECK(!memcmp(model, pair->a.bytes, SIZE));
	CHECK(!memcmp(pair->a.bytes, model, SIZE));
	free(model);
}

TEST(fills_do_what_the_model_does)
{
	struct pair pair = pair_make(3);

	random_fills(&pair, rounds(200));
	context_close(&pair.context);
}

TEST(fills_do_what_the_model_does_with_each_kernel)
{
	struct pair pair = pair_make(2);

	for (unsigned int n = 0; n < STREAM_KERNELS; n++) {
		if (!stream_kernel_usable(&stream_kernels[n]))
			continue;
		pair.context.shim->plan.fastest = &stream_kernels[n];
		pair.context.shim->plan.stream_from = 0;
		random_fills(&pair, rounds(48));
	}
	context_close(&pair.context);
}

/* What differs first, as a single thread that looks byte by byte would find it */
static bool first_difference(const struct pair *pair, const struct dma_shim_segment *segments,
			     uint32_t count, uint32_t *segment, uint64_t *offset)
{
	for (uint32_t n = 0; n < count; n++) {
		for (uint64_t at = 0; at < segments[n].size; at++) {
			if (pair->a.bytes[segments[n].src_offset + at] !=
			    pair->b.bytes[segments[n].dst_offset + at]) {
				*segment = n;
				*offset = at;
				return true;
			}
		}
	}
	return false;
}

static void random_comparison(struct pair *pair, uint64_t tag)
{
	bool memory = random_below(2);
	struct dma_shim_job job = compare_of(tag, memory ? DMA_SHIM_MEMORY : pair->a.handle,
					     pair->b.handle);
	uint32_t count = 1 + (uint32_t)random_below(random_below(2) ? 20 : 1);
	uint32_t changes = (uint32_t)random_below(4);
	struct dma_shim_segment segments[20];
	struct dma_shim_completion done;
	uint64_t total = 0, offset = 0;
	uint32_t segment = 0;
	bool differs;

	for (uint32_t n = 0; n < count; n++) {
		uint64_t size = random_size();
		uint64_t at = random_below(SIZE - size + 1);

		segments[n] = (struct dma_shim_segment) { at, at, size };
		total += size;
	}
	for (uint32_t n = 0; n < changes; n++)
		pair->b.bytes[random_below(SIZE)] ^= (unsigned char)(1 + random_below(255));
	differs = first_difference(pair, segments, count, &segment, &offset);

	job.segment_count = count;
	job.memory_size = memory ? SIZE : 0;
	CHECK_EQ(dma_shim_submit(pair->context.shim, &job, segments,
				 memory ? pair->a.bytes : NULL, NULL), 0);
	done = done_of(&pair->context, tag);
	CHECK_EQ(done.status, 0);
	CHECK_EQ(done.segment, segment);
	CHECK_EQ(done.difference, differs ? offset : DMA_SHIM_NO_DIFFERENCE);
	if (differs)
		CHECK(done.bytes_done > 0 && done.bytes_done <= total);
	else
		CHECK_EQ(done.bytes_done, total);
	CHECK_EQ(done.flush_ns + done.verify_ns, 0);
	memcpy(pair->b.bytes, pair->a.bytes, SIZE);
}

TEST(comparisons_find_the_first_difference)
{
	for (uint32_t threads = 1; threads <= 4; threads += 3) {
		struct pair pair = pair_make(threads);

		for (unsigned int n = 0; n < rounds(120); n++)
			random_comparison(&pair, n);
		context_close(&pair.context);
	}
}

/* Many differences: whichever piece is the first to be done, the first in order counts. */
TEST(the_first_of_many_differences_is_told)
{
	struct pair pair = pair_make(4);

	for (unsigned int round = 0; round < rounds(60); round++) {
		uint64_t first = random_below(SIZE);
		struct dma_shim_completion done;

		for (uint64_t at = first; at < SIZE; at += 1 + random_below(9))
			pair.b.bytes[at] = (unsigned char)~pair.a.bytes[at];
		CHECK_EQ(submit_one(&pair.context,
				    compare_of(round, pair.a.handle, pair.b.handle), 0, 0, SIZE), 0);
		done = done_of(&pair.context, round);
		CHECK_EQ(done.status, 0);
		CHECK_EQ(done.difference, first);
		memcpy(pair.b.bytes, pair.a.bytes, SIZE);
	}
	context_close(&pair.context);
}

TEST(ranges_that_are_compared_may_overlap)
{
	struct pair pair = pair_make(2);
	struct dma_shim_job job = compare_of(1, pair.a.handle, pair.a.handle);
	struct dma_shim_completion done;

	memset(pair.a.bytes, 7, 2 * MIB);
	CHECK_EQ(submit_one(&pair.context, job, 0, 100, 1 * MIB), 0);
	done = next_done(&pair.context);
	CHECK_EQ(done.status, 0);
	CHECK_EQ(done.difference, DMA_SHIM_NO_DIFFERENCE);
	CHECK_EQ(submit_one(&pair.context, job, 5, 5, 1 * MIB), 0);
	CHECK_EQ(next_done(&pair.context).difference, DMA_SHIM_NO_DIFFERENCE);
	context_close(&pair.context);
}

/* The end of a file is gone: what stands before it decides, as for one thread alone. */
TEST(a_comparison_ends_at_whichever_comes_first)
{
	struct pair pair = pair_make(4);
	struct dma_shim_job job = compare_of(1, pair.a.handle, pair.b.handle);
	struct dma_shim_completion done;

	SYS(ftruncate(pair.b.descriptor, 2 * MIB));
	for (unsigned int round = 0; round < rounds(30); round++) {
		CHECK_EQ(submit_one(&pair.context, job, 0, 0, SIZE), 0);
		done = next_done(&pair.context);
		CHECK_EQ(done.status, -ENXIO);
		CHECK_EQ(done.segment, 0);
		CHECK_EQ(done.difference, DMA_SHIM_NO_DIFFERENCE);
		CHECK(done.bytes_done <= 2 * MIB);

		pair.b.bytes[2 * MIB - 1] ^= 1;
		CHECK_EQ(submit_one(&pair.context, job, 0, 0, SIZE), 0);
		done = next_done(&pair.context);
		CHECK_EQ(done.status, 0);
		CHECK_EQ(done.difference, 2 * MIB - 1);
		pair.b.bytes[2 * MIB - 1] ^= 1;
	}
	context_close(&pair.context);
}

TEST(a_fill_fails_where_its_device_has_gone)
{
	struct pair pair = pair_make(1);
	struct dma_shim_completion done;

	SYS(ftruncate(pair.a.descriptor, 64 * KIB));
	CHECK_EQ(submit_one(&pair.context, fill_of(1, pair.a.handle, 4), 0, 0, SIZE), 0);
	done = next_done(&pair.context);
	CHECK_EQ(done.status, -ENXIO);
	context_close(&pair.context);
}

TEST(operations_are_cancelled_between_pieces)
{
	struct pair pair = pair_make(1);
	unsigned char *before = malloc(SIZE);

	memcpy(before, pair.a.bytes, SIZE);
	for (uint64_t tag = 1; tag < 60; tag++) {
		bool fills = tag % 2;
		struct dma_shim_job job = fills ? fill_of(tag, pair.b.handle, 1) :
			compare_of(tag, pair.a.handle, pair.a.handle);
		struct dma_shim_completion done;

		CHECK_EQ(submit_one(&pair.context, job, 0, 0, SIZE), 0);
		if (random_below(2))
			usleep((useconds_t)random_below(500));
		dma_shim_cancel(pair.context.shim, tag);
		done = done_of(&pair.context, tag);
		CHECK(done.status == -ECANCELED || !done.status);
		CHECK(done.status ? done.bytes_done < SIZE : done.bytes_done == SIZE);
		if (!fills)
			continue;
		for (uint64_t at = 0; at < done.bytes_done; at += 997)
			CHECK_EQ(pair.b.bytes[at], job.pattern[0]);
		CHECK(!memcmp(pair.b.bytes + done.bytes_done, before + done.bytes_done,
			      SIZE - done.bytes_done));
		memcpy(pair.b.bytes, before, SIZE);
	}
	CHECK(!memcmp(pair.a.bytes, before, SIZE));
	free(before);
	context_close(&pair.context);
}

TEST(operations_that_do_not_fit_are_refused)
{
	struct pair pair = pair_make(1);
	struct dma_shim_job fill = fill_of(1, pair.a.handle, 4);
	struct dma_shim_job compare = compare_of(1, pair.a.handle, pair.b.handle);
	struct dma_shim_job copy = job_of(1, pair.a.handle, pair.b.handle);
	struct dma_shim_job job;
	static const uint32_t sizes[] = { 0, 3, 12, 65, 128, UINT32_MAX };

	for (size_t n = 0; n < sizeof(sizes) / sizeof(*sizes); n++) {
		job = fill;
		memset(job.pattern, 0, sizeof(job.pattern));
		job.pattern_size = sizes[n];
		CHECK_EQ(submit_one(&pair.context, job, 0, 0, 8), -EINVAL);
	}
#define REFUSED(base_, field_, value_)						\
	do {									\
		job = base_;							\
		job.field_ = value_;						\
		CHECK_EQ(submit_one(&pair.context, job, 0, 0, 8), -EINVAL);	\
	} while (0)
	REFUSED(fill, pattern[63], 1);
	REFUSED(fill, source, pair.b.handle);
	REFUSED(fill, source, DMA_SHIM_MEMORY);
	REFUSED(fill, destination, DMA_SHIM_NOWHERE);
	REFUSED(fill, destination, DMA_SHIM_MEMORY);
	REFUSED(compare, flags, DMA_SHIM_JOB_FLUSH);
	REFUSED(compare, flags, DMA_SHIM_JOB_VERIFY);
	REFUSED(compare, flags, DMA_SHIM_JOB_CHECKSUM);
	REFUSED(compare, destination, DMA_SHIM_NOWHERE);
	REFUSED(compare, destination, DMA_SHIM_MEMORY);
	REFUSED(compare, source, DMA_SHIM_NOWHERE);
	REFUSED(compare, pattern_size, 1);
	REFUSED(compare, operation, 3);
	REFUSED(copy, source, DMA_SHIM_NOWHERE);
	REFUSED(copy, pattern[0], 1);
#undef REFUSED
	CHECK_EQ(submit_one(&pair.context, fill, 1, 0, 8), -EINVAL);
	CHECK_EQ(submit_one(&pair.context, fill, 0, SIZE - 7, 8), -ERANGE);
	CHECK_EQ(submit_one(&pair.context, compare, 0, SIZE - 7, 8), -ERANGE);
	no_more_records(&pair.context);
	CHECK(!memcmp(pair.a.bytes, pair.b.bytes, SIZE));
	context_close(&pair.context);
}

/* Cache lines that a fill may have left dirty are written back, those at its unaligned ends, too. */
TEST(a_fill_is_written_back)
{
	struct context context = context_open(1);
	struct dma_shim_device_info info;
	uint32_t dax = fake_dax(&context, "dax0.0", DMA_SHIM_MEMORY_CONTROLLER, &info);
	struct dma_shim_job job = fill_of(1, dax, 8);
	struct dma_shim_completion done;

	job.flags = DMA_SHIM_JOB_FLUSH | DMA_SHIM_JOB_VERIFY;
	CHECK_EQ(submit_one(&context, job, 0, 3, 3 * MIB + 5), 0);
	done = next_done(&context);
	CHECK_EQ(done.status, 0);
	CHECK_EQ(done.source_crc, done.destination_crc);
	CHECK(done.flush_ns > 0);
	context_close(&context);
}
