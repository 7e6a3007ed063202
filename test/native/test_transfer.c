// SPDX-License-Identifier: Apache-2.0
/* Jobs against a model that does the same with memmove(). */
#include "fixture.h"

#include <sys/mman.h>

#define DEVICES 2u
#define DEVICE_SIZE (5 * MIB)
#define MEMORY_SIZE (3 * MIB)

/* Devices and memory by the same index, in the library's hands and as a model */
struct world {
	struct context context;
	struct file device[DEVICES];
	unsigned char *memory;
	unsigned char *model[DEVICES + 1];
};

static struct world world_make(uint32_t threads)
{
	struct world world = { .context = context_open(threads) };

	for (unsigned int n = 0; n < DEVICES; n++) {
		char name[16];

		snprintf(name, sizeof(name), "device%u", n);
		world.device[n] = file_device(&world.context, name, DEVICE_SIZE);
		random_fill(world.device[n].bytes, DEVICE_SIZE);
		world.model[n] = malloc(DEVICE_SIZE);
		memcpy(world.model[n], world.device[n].bytes, DEVICE_SIZE);
	}
	world.memory = malloc(MEMORY_SIZE);
	random_fill(world.memory, MEMORY_SIZE);
	world.model[DEVICES] = malloc(MEMORY_SIZE);
	memcpy(world.model[DEVICES], world.memory, MEMORY_SIZE);
	return world;
}

static void world_compare(struct world *world)
{
	for (unsigned int n = 0; n < DEVICES; n++)
		CHECK(!memcmp(world->model[n], world->device[n].bytes, DEVICE_SIZE));
	CHECK(!memcmp(world->model[DEVICES], world->memory, MEMORY_SIZE));
}

static void world_free(struct world *world)
{
	world_compare(world);
	context_close(&world->context);
	for (unsigned int n = 0; n <= DEVICES; n++)
		free(world->model[n]);
	free(world->memory);
}

static uint32_t handle_of(const struct world *world, unsigned int index)
{
	return index < DEVICES ? world->device[index].handle : DMA_SHIM_MEMORY;
}

static uint64_t size_of(unsigned int index)
{
	return index < DEVICES ? DEVICE_SIZE : MEMORY_SIZE;
}

/* Mostly small, at times more than two pieces */
static uint64_t random_size(uint64_t limit)
{
	static const uint64_t sizes[] = { 1, 64, 4 * KIB, 300 * KIB, 3 * MIB };
	uint64_t size = 1 + random_below(sizes[random_below(5)]);

	return size < limit ? size : limit;
}

static struct dma_shim_segment random_segment(unsigned int from, unsigned int to)
{
	for (;;) {
		struct dma_shim_segment segment;
		uint64_t limit = size_of(from) < size_of(to) ? size_of(from) : size_of(to);
		uint64_t apart;

		segment.size = random_size(limit);
		segment.src_offset = random_below(size_of(from) - segment.size + 1);
		segment.dst_offset = random_below(size_of(to) - segment.size + 1);
		apart = segment.src_offset > segment.dst_offset ?
			segment.src_offset - segment.dst_offset :
			segment.dst_offset - segment.src_offset;
		if (from != to || apart >= segment.size)
			return segment;
	}
}

static void random_job(struct world *world, uint64_t tag)
{
	unsigned int from = (unsigned int)random_below(DEVICES + 1);
	unsigned int to = (unsigned int)random_below(DEVICES + 1);
	struct dma_shim_job job = job_of(tag, handle_of(world, from), handle_of(world, to));
	struct dma_shim_segment segments[40];
	uint32_t count = random_below(3) ? 1 + (uint32_t)random_below(40) : 1;
	struct dma_shim_completion done;
	uint32_t crc;
	uint64_t bytes = 0;

	job.priority = (uint32_t)random_below(3);
	job.flags = (uint32_t)random_below(8);
	if (to == DEVICES)
		job.flags &= ~DMA_SHIM_JOB_FLUSH;
	job.crc_seed = crc = (uint32_t)random_u64();
	if (from == DEVICES || to == DEVICES)
		job.memory_size = MEMORY_SIZE;

	for (uint32_t n = 0; n < count; n++) {
		struct dma_shim_segment segment = random_segment(from, to);
		unsigned char *source = world->model[from] + segment.src_offset;

		segments[n] = segment;
		memcpy(world->model[to] + segment.dst_offset, source, segment.size);
		crc = crc32c(crc, source, segment.size);
		bytes += segment.size;
	}
	job.segment_count = count;
	CHECK_EQ(dma_shim_submit(world->context.shim, &job, segments,
				 job.memory_size ? world->memory : NULL, NULL), 0);

	done = done_of(&world->context, tag);
	CHECK_EQ(done.status, 0);
	CHECK_EQ(done.segment, 0);
	CHECK_EQ(done.bytes_done, bytes);
	CHECK_EQ(done.source_crc, job.flags & ~DMA_SHIM_JOB_FLUSH ? crc : 0);
	CHECK_EQ(done.destination_crc, job.flags & DMA_SHIM_JOB_VERIFY ? crc : 0);
}

static void random_jobs(uint32_t threads, unsigned int rounds)
{
	struct world world = world_make(threads);

	for (unsigned int n = 0; n < rounds; n++) {
		random_job(&world, n);
		if (n % 20 == 0)
			world_compare(&world);
	}
	world_free(&world);
}

TEST(random_jobs_do_what_the_model_does_on_one_thread)
{
	random_jobs(1, rounds(240));
}

TEST(random_jobs_do_what_the_model_does_on_four_threads)
{
	random_jobs(4, rounds(240));
}

TEST(random_jobs_do_what_the_model_does_without_cpu_features)
{
	static const struct cpu_features none = { .writeback = WRITEBACK_CLFLUSH };

	hooks.features = &none;
	random_jobs(2, rounds(100));
}

TEST(random_jobs_do_what_the_model_does_with_each_kernel)
{
	struct world world = world_make(3);

	for (unsigned int n = 0; n < STREAM_KERNELS; n++) {
		if (!stream_kernel_usable(&stream_kernels[n]))
			continue;
		world.context.shim->plan.fastest = &stream_kernels[n];
		for (unsigned int round = 0; round < rounds(60); round++)
			random_job(&world, round);
	}
	world_free(&world);
}

/* A chain: each segment reads what the one before it wrote. */
TEST(segments_see_what_earlier_ones_wrote)
{
	enum { LINKS = 4096, LINK = 37 };
	struct context context = context_open(4);
	struct file file = file_device(&context, "chain", 1 * MIB);
	struct dma_shim_segment *segments = calloc(LINKS, sizeof(*segments));
	struct dma_shim_job job = job_of(1, file.handle, file.handle);
	struct dma_shim_completion done;

	random_fill(file.bytes, file.size);
	for (unsigned int n = 0; n < LINKS; n++)
		segments[n] = (struct dma_shim_segment) { n * LINK, (n + 1) * LINK, LINK };
	job.flags = DMA_SHIM_JOB_VERIFY;
	CHECK_EQ(submit(&context, job, segments, LINKS), 0);
	done = next_done(&context);
	CHECK_EQ(done.status, 0);
	CHECK_EQ(done.bytes_done, LINKS * LINK);
	for (unsigned int n = 1; n <= LINKS; n++)
		CHECK(memcmp(file.bytes, file.bytes + n * LINK, LINK) == 0);
	free(segments);
	context_close(&context);
}

/* The same where every link is several pieces, copied by several threads. */
TEST(large_segments_see_what_earlier_ones_wrote)
{
	struct context context = context_open(4);
	uint64_t link = 2 * MIB + 4321;
	struct file a = file_device(&context, "a", 10 * link);
	struct dma_shim_segment segments[9];
	struct dma_shim_job job = job_of(1, a.handle, a.handle);

	for (unsigned int round = 0; round < rounds(6) + 1; round++) {
		random_fill(a.bytes, a.size);
		for (unsigned int n = 0; n < 9; n++)
			segments[n] = (struct dma_shim_segment) { n * link, (n + 1) * link, link };
		CHECK_EQ(submit(&context, job, segments, 9), 0);
		CHECK_EQ(next_done(&context).status, 0);
		for (unsigned int n = 1; n < 10; n++)
			CHECK(memcmp(a.bytes, a.bytes + n * link, link) == 0);
	}
	context_close(&context);
}

TEST(many_small_segments_in_any_order)
{
	enum { COUNT = 4096, SIZE = 2048 };
	struct context context = context_open(2);
	struct file a = file_device(&context, "a", COUNT * SIZE);
	struct file b = file_device(&context, "b", COUNT * SIZE);
	struct dma_shim_segment *segments = calloc(COUNT, sizeof(*segments));
	unsigned char *model = malloc(COUNT * SIZE);

	random_fill(a.bytes, a.size);
	for (uint64_t n = 0; n < COUNT; n++)
		segments[n] = (struct dma_shim_segment) {
			(n * 1021 % COUNT) * SIZE, (n * 2039 % COUNT) * SIZE, SIZE,
		};
	for (uint64_t n = 0; n < COUNT; n++)
		memcpy(model + segments[n].dst_offset, a.bytes + segments[n].src_offset, SIZE);
	CHECK_EQ(submit(&context, job_of(1, a.handle, b.handle), segments, COUNT), 0);
	CHECK_EQ(next_done(&context).status, 0);
	CHECK(memcmp(model, b.bytes, b.size) == 0);
	free(segments);
	free(model);
	context_close(&context);
}

TEST(a_single_byte_and_a_whole_device)
{
	struct context context = context_open(3);
	struct file a = file_device(&context, "a", 7 * MIB + 13);
	struct file b = file_device(&context, "b", 7 * MIB + 13);

	random_fill(a.bytes, a.size);
	CHECK_EQ(submit_one(&context, job_of(1, a.handle, b.handle), a.size - 1, 0, 1), 0);
	CHECK_EQ(next_done(&context).bytes_done, 1);
	CHECK_EQ(b.bytes[0], a.bytes[a.size - 1]);
	CHECK_EQ(b.bytes[1], 0);
	CHECK_EQ(submit_one(&context, job_of(1, a.handle, b.handle), 0, 0, a.size), 0);
	CHECK_EQ(next_done(&context).bytes_done, a.size);
	CHECK(memcmp(a.bytes, b.bytes, a.size) == 0);
	context_close(&context);
}

TEST(checksum_with_nowhere_to_write_reads_only)
{
	struct context context = context_open(3);
	struct file a = file_device(&context, "a", 6 * MIB + 5);
	static const uint64_t sizes[] = { 1, 4095, 1 * MIB, 1 * MIB + 1, 6 * MIB };
	struct dma_shim_job job = job_of(1, a.handle, DMA_SHIM_NOWHERE);
	struct dma_shim_completion done;

	random_fill(a.bytes, a.size);
	job.flags = DMA_SHIM_JOB_CHECKSUM;
	job.crc_seed = 77;
	for (unsigned int n = 0; n < sizeof(sizes) / sizeof(*sizes); n++) {
		CHECK_EQ(submit_one(&context, job, 3, UINT64_MAX, sizes[n]), 0);
		done = next_done(&context);
		CHECK_EQ(done.status, 0);
		CHECK_EQ(done.bytes_done, sizes[n]);
		CHECK_EQ(done.source_crc, crc32c(77, a.bytes + 3, sizes[n]));
		CHECK_EQ(done.destination_crc, 0);
		CHECK_EQ(done.copy_ns, 0);
		CHECK(done.verify_ns > 0);
	}
	context_close(&context);
}

/* An upload in blocks gives the checksum of the whole in its last record. */
TEST(checksums_continue_from_a_seed)
{
	struct context context = context_open(2);
	struct file a = file_device(&context, "a", 4 * MIB);
	unsigned char *memory = malloc(a.size);
	struct dma_shim_job job = job_of(1, DMA_SHIM_MEMORY, a.handle);
	uint64_t at = 0;

	random_fill(memory, a.size);
	job.flags = DMA_SHIM_JOB_CHECKSUM | DMA_SHIM_JOB_FLUSH;
	while (at < a.size) {
		uint64_t size = 1 + random_below(900 * KIB);
		struct dma_shim_segment segment = { 0, at, 0 };

		segment.size = size < a.size - at ? size : a.size - at;
		job.memory_size = segment.size;
		CHECK_EQ(dma_shim_submit(context.shim, &job, &segment, memory + at, NULL), 0);
		job.crc_seed = next_done(&context).source_crc;
		at += segment.size;
	}
	CHECK_EQ(job.crc_seed, crc32c(0, memory, a.size));
	CHECK(memcmp(memory, a.bytes, a.size) == 0);
	free(memory);
	context_close(&context);
}

/* Memory is about to be read by who asked: it goes through the cache. */
static void no_streaming(const struct stream_kernel *kernel, unsigned char *to,
			 const unsigned char *from, size_t size)
{
	(void)kernel, (void)to, (void)from, (void)size;
	FAIL("memory was written past the cache");
}

TEST(downloads_go_through_the_cache)
{
	struct context context = context_open(2);
	struct file a = file_device(&context, "a", 3 * MIB);
	unsigned char *memory = malloc(a.size);
	struct dma_shim_job job = job_of(1, a.handle, DMA_SHIM_MEMORY);
	struct dma_shim_segment segment = { 0, 0, a.size };

	random_fill(a.bytes, a.size);
	hooks.copy_streaming = no_streaming;
	job.memory_size = a.size;
	CHECK_EQ(dma_shim_submit(context.shim, &job, &segment, memory, NULL), 0);
	CHECK_EQ(next_done(&context).status, 0);
	CHECK(memcmp(memory, a.bytes, a.size) == 0);
	free(memory);
	context_close(&context);
}

/* What VERIFY is for: bytes that are not what was copied. */
static _Atomic unsigned int checks_until_damage;
static unsigned char *damage_at;

static uint32_t damage(uint32_t crc, const void *bytes, size_t size)
{
	if (atomic_fetch_sub(&checks_until_damage, 1) == 1)
		*damage_at ^= 1;
	return __real_crc32c(crc, bytes, size);
}

static void expect_mismatch(uint64_t segment_size)
{
	struct context context = context_open(2);
	struct file a = file_device(&context, "a", 4 * segment_size);
	struct file b = file_device(&context, "b", 4 * segment_size);
	struct dma_shim_segment segments[4];
	struct dma_shim_job job = job_of(9, a.handle, b.handle);
	struct dma_shim_completion done;

	random_fill(a.bytes, a.size);
	for (unsigned int n = 0; n < 4; n++)
		segments[n] = (struct dma_shim_segment) {
			n * segment_size, n * segment_size, segment_size,
		};
	/* The source of segment 2 is read before its destination. */
	hooks.crc32c = damage;
	damage_at = b.bytes + 2 * segment_size + 5;
	checks_until_damage = 2 * 2 * (unsigned int)((segment_size + MIB - 1) / MIB) + 1;
	job.flags = DMA_SHIM_JOB_VERIFY;
	CHECK_EQ(submit(&context, job, segments, 4), 0);
	done = next_done(&context);
	hooks.crc32c = NULL;
	CHECK_EQ(done.status, -EBADMSG);
	CHECK_EQ(done.segment, 2);
	CHECK_EQ(done.bytes_done, 3 * segment_size);
	CHECK_EQ(done.source_crc, crc32c(0, a.bytes, 3 * segment_size));
	CHECK_EQ(done.destination_crc, crc32c(0, b.bytes, 3 * segment_size));
	CHECK(done.source_crc != done.destination_crc);
	for (uint64_t n = 3 * segment_size; n < b.size; n += 97)
		CHECK_EQ(b.bytes[n], 0);
	context_close(&context);
}

TEST(verify_finds_a_difference_in_a_small_segment)
{
	expect_mismatch(5000);
}

TEST(verify_finds_a_difference_in_a_large_segment)
{
	expect_mismatch(3 * MIB + 17);
}

/* And with nothing but another thread that writes where it should not. */
static _Atomic bool stop_writing;

static void *write_on(void *argument)
{
	unsigned char *byte = argument;

	while (!stop_writing)
		__atomic_add_fetch(byte, 1, __ATOMIC_RELAXED);
	return NULL;
}

TEST(verify_finds_a_destination_that_somebody_else_writes)
{
#ifdef __SANITIZE_THREAD__
	SKIP("a data race on purpose");
#endif
	struct context context = context_open(1);
	struct file a = file_device(&context, "a", 3 * MIB);
	struct file b = file_device(&context, "b", 3 * MIB);
	struct dma_shim_job job = job_of(9, a.handle, b.handle);
	struct dma_shim_completion done;
	pthread_t writer;

	job.flags = DMA_SHIM_JOB_VERIFY;
	CHECK_EQ(pthread_create(&writer, NULL, write_on, b.bytes + 2 * MIB), 0);
	do {
		CHECK_EQ(submit_one(&context, job, 0, 0, a.size), 0);
		done = next_done(&context);
	} while (!done.status);
	CHECK_EQ(done.status, -EBADMSG);
	stop_writing = true;
	pthread_join(writer, NULL);
	context_close(&context);
}
