// SPDX-License-Identifier: GPL-2.0-only
/* Random copies against a model. */
#include "harness.h"

#define ARENA (8 * MIB)
#define HALF (ARENA / 2)

static uint64_t random_state = 0x9e3779b97f4a7c15;

static uint64_t below(uint64_t limit)
{
	return (((uint64_t)random32(&random_state) << 32) | random32(&random_state)) % limit;
}

/* Small ones, pages and large ones alike; about their boundaries most of all. */
static uint64_t random_length(uint64_t most)
{
	static const uint64_t near[] = { 1, 64, 4096, 65536, MIB, 2 * MIB };
	uint64_t length = near[below(6)] + below(9) - 4;

	if (below(3) == 0)
		length = below(most);
	return length && length <= most ? length : 1 + below(most);
}

/*
 * Requests of several segments, several in flight: the destinations of a round do not
 * overlap each other, so that the model can be copied in any order.
 */
TEST_TIMED(random_copies, 240)
{
	struct device devices[] = { device_map(DAX0), device_map(DAX1) };
	uint8_t *model = malloc(ARENA);
	int dma = dma_open(), round, i, n;
	/* the arena is not where the device begins, and has guards on both sides */
	const uint64_t base = 6 * MIB + 64;
	uint32_t regions[2] = {
		region_of(dma, DAX0, base, ARENA), region_of(dma, DAX1, base, ARENA),
	};

	for (round = 0; round < 60; round++) {
		int from = below(2), to = below(2);
		struct device *src = &devices[from], *dst = &devices[to];
		struct ioat_dma_segment segments[32];
		uint64_t at = HALF;
		struct ioat_dma_submit submit = {
			.size = sizeof(submit), .src_region = regions[from],
			.dst_region = regions[to], .channel = IOAT_DMA_ANY_CHANNEL,
			.flags = below(4) ? 0 : IOAT_DMA_SUBMIT_ORDERED,
		};
		/* else neighbours may share a cache line */
		bool apart = round % 4;
		int requests = 0;

		overlaps_are_meant(!apart);
		pattern(src->bytes + base, HALF, round);
		memset(dst->bytes + base - 4096, POISON, 4096);
		memset(dst->bytes + base + HALF, POISON, HALF + 4096);
		memcpy(model, dst->bytes + base, ARENA);
		for (n = 0; n < 32 && at < ARENA - 8; n++) {
			uint64_t most = ARENA - at < 3 * MIB ? ARENA - at : 3 * MIB;
			uint64_t length = random_length(most);
			uint64_t start = below(HALF - (length < HALF ? length : HALF - 1));

			if (length > HALF)
				break;
			segments[n] = (struct ioat_dma_segment){ start, at, length };
			memcpy(model + at, src->bytes + base + start, length);
			at += length + below(100);
			if (apart)
				at = (at + 63) & ~UINT64_C(63);
		}
		for (i = 0; i < n; i += submit.segment_count) {
			submit.segments = (uintptr_t)(segments + i);
			submit.segment_count = 1 + below(n - i);
			submit.tag = i;
			DO(ioctl(dma, IOAT_DMA_SUBMIT, &submit));
			requests++;
		}
		while (requests--)
			EXPECT_EQ(next_completion(dma).status, IOAT_DMA_DONE);
		EXPECT(is_byte(dst->bytes + base - 4096, 4096, POISON));
		EXPECT(!memcmp(dst->bytes + base, model, ARENA));
		EXPECT(is_byte(dst->bytes + base + ARENA, 4096, POISON));
	}
	overlaps_are_meant(false);
}
