// SPDX-License-Identifier: Apache-2.0
/*
 * Random jobs, priorities, cancels and time limits on a module where anything
 * may go wrong, against a model. Whatever happens: a job that says it is done
 * has copied what the model says, every job ends once, and nothing writes to
 * the memory of a job that has finished.
 */
#include "fake_module.h"

#include <unistd.h>

#define AREAS 10u
#define AREA_SIZE (3 * MIB)
#define JOBS rounds(1500)
#define MOST_SEGMENTS 40u

/* Where one job at a time may be: its share of both devices */
struct area {
	bool busy;
	struct dma_shim_job job;
	uint64_t size;
	unsigned char *before[2];       /* as it should be while no job is there */
	unsigned char *after[2];        /* as it should be once the job is done */
};

static struct area areas[AREAS];
static struct dma_context dma;
static uint64_t fate_state = 1;         /* the module's thread's own */

static uint64_t chance(uint64_t limit)
{
	fate_state = fate_state * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (fate_state >> 33) % limit;
}

static enum fate any_fate(const struct fake_operation *operation)
{
	enum fate late = chance(3) ? 0 : FATE_UNSETTLED;

	(void)operation;
	switch (chance(120)) {
	case 0:
		return FATE_READ | late;
	case 1:
		return FATE_LOST | late;
	case 2:
		return FATE_CHANNEL | late;
	case 3: case 4: case 5: case 6:
		return FATE_ABORTED | late;
	case 7:
		return chance(4) ? FATE_DONE : FATE_HANG;
	case 8: case 9: case 10:
		return FATE_WAIT;
	default:
		return FATE_DONE;
	}
}

static int any_refusal(const struct ioat_dma_submit *submit)
{
	(void)submit;
	switch (chance(60)) {
	case 0: case 1: case 2:
		return EAGAIN;
	case 3:
		return ENOMEM;
	case 4:
		return chance(5) ? 0 : ENODEV;
	default:
		return 0;
	}
}

static unsigned char *bytes_of(uint32_t area, unsigned int device)
{
	return (device ? dma.b.bytes : dma.a.bytes) + area * AREA_SIZE;
}

static bool overlaps_itself(const struct dma_shim_segment *segment)
{
	uint64_t from = segment->src_offset, to = segment->dst_offset;

	return (from > to ? from - to : to - from) < segment->size;
}

/* Some next to each other, some anywhere; sizes of all orders of magnitude */
static uint32_t make_segments(uint32_t area, bool same, struct dma_shim_segment *segments)
{
	uint32_t count = 1 + (uint32_t)random_below(random_below(3) ? 4 : MOST_SEGMENTS);
	bool in_line = random_below(2);
	uint64_t at = 0;

	for (uint32_t n = 0; n < count; n++) {
		struct dma_shim_segment *segment = &segments[n];
		uint64_t most = UINT64_C(1) << random_below(22);

		if (most > AREA_SIZE / 2 / count && in_line)
			most = AREA_SIZE / 2 / count;
		do {
			uint64_t size = 1 + random_below(most);

			if (size > AREA_SIZE / 2)
				size = AREA_SIZE / 2;
			*segment = (struct dma_shim_segment) {
				random_below(AREA_SIZE - size + 1),
				random_below(AREA_SIZE - size + 1), size,
			};
			if (in_line) {
				segment->src_offset = at;
				segment->dst_offset = AREA_SIZE / 2 + at;
			}
		} while (same && overlaps_itself(segment));
		at += segment->size;
		segment->src_offset += area * AREA_SIZE;
		segment->dst_offset += area * AREA_SIZE;
	}
	return count;
}

static void start(uint32_t number, uint64_t tag)
{
	struct area *area = &areas[number];
	struct dma_shim_segment segments[MOST_SEGMENTS];
	unsigned int from = (unsigned int)random_below(2), to = (unsigned int)random_below(2);
	uint64_t base = number * AREA_SIZE;
	uint32_t count = make_segments(number, from == to, segments);

	/* Nothing has written there since the last job was over. */
	for (unsigned int n = 0; n < 2; n++) {
		CHECK(!memcmp(bytes_of(number, n), area->before[n], AREA_SIZE));
		memcpy(area->after[n], area->before[n], AREA_SIZE);
	}
	area->job = dma_job(tag, from ? &dma.b : &dma.a, to ? &dma.b : &dma.a);
	area->job.priority = (uint32_t)random_below(3);
	area->job.flags = (uint32_t)random_below(8);
	area->job.timeout_ms = (uint32_t)(random_below(4) ? 400 : 1 + random_below(20));
	area->size = 0;
	for (uint32_t n = 0; n < count; n++) {
		memmove(area->after[to] + segments[n].dst_offset - base,
			area->after[from] + segments[n].src_offset - base, segments[n].size);
		area->size += segments[n].size;
	}
	area->busy = true;
	CHECK_EQ(submit(&dma.context, area->job, segments, count), 0);
}

static void end(const struct dma_shim_completion *done)
{
	struct area *area = &areas[done->tag % AREAS];

	CHECK(area->busy && area->job.tag == done->tag);
	area->busy = false;
	CHECK(done->bytes_done <= area->size);
	CHECK(done->dma_error || done->status == 0 || done->status == -ECANCELED);
	if (done->status == 0) {
		CHECK_EQ(done->bytes_done, area->size);
		CHECK_EQ(done->dma_error, DMA_SHIM_DMA_ERROR_NONE);
		CHECK(done->dma_channels);
	}
	if (done->status == 0 && area->job.flags & DMA_SHIM_JOB_VERIFY)
		CHECK_EQ(done->source_crc, done->destination_crc);
	for (unsigned int n = 0; n < 2; n++) {
		if (done->status == 0)
			CHECK(!memcmp(bytes_of((uint32_t)(done->tag % AREAS), n),
				      area->after[n], AREA_SIZE));
		memcpy(area->before[n], bytes_of((uint32_t)(done->tag % AREAS), n), AREA_SIZE);
	}
}

TEST(dma_random_jobs_on_a_module_in_trouble)
{
	unsigned int ended = 0, succeeded = 0, retries = 0;
	uint64_t tag = AREAS;

	dma = dma_context_open(AREAS * AREA_SIZE);
	fate_state = random_u64();
	fake.max_queued = 200;
	fake.fate = any_fate;
	fake.refuse = any_refusal;
	random_fill(dma.a.bytes, dma.a.size);
	random_fill(dma.b.bytes, dma.b.size);
	for (uint32_t n = 0; n < AREAS; n++) {
		for (unsigned int device = 0; device < 2; device++) {
			areas[n].before[device] = malloc(AREA_SIZE);
			areas[n].after[device] = malloc(AREA_SIZE);
			memcpy(areas[n].before[device], bytes_of(n, device), AREA_SIZE);
		}
		start(n, tag++);
	}
	while (ended < JOBS) {
		struct dma_shim_completion done = next_done(&dma.context);

		end(&done);
		ended++;
		succeeded += done.status == 0;
		retries += done.dma_retries;
		if (ended + AREAS <= JOBS) {
			tag += AREAS;
			start((uint32_t)(done.tag % AREAS), tag - tag % AREAS + done.tag % AREAS);
		}
		if (random_below(10) == 0) {
			const struct area *area = &areas[random_below(AREAS)];
			int result = dma_shim_cancel(dma.context.shim, area->job.tag);

			CHECK(result == 0 || result == -ENOENT);
		}
	}
	no_more_records(&dma.context);
	CHECK(succeeded > JOBS / 10 && succeeded < JOBS && retries);
	for (uint32_t n = 0; n < AREAS; n++) {
		for (unsigned int device = 0; device < 2; device++) {
			CHECK(!memcmp(bytes_of(n, device), areas[n].before[device], AREA_SIZE));
			free(areas[n].before[device]);
			free(areas[n].after[device]);
		}
	}
	dma_context_close(&dma);
}
