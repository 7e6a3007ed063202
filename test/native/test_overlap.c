// SPDX-License-Identifier: Apache-2.0
#include "fixture.h"

static bool touch(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
	return a < b + b_size && b < a + a_size;
}

/* What it means, word by word */
static bool independent(const struct dma_shim_segment *segments, uint32_t count, bool same)
{
	for (uint32_t i = 0; i < count; i++) {
		for (uint32_t j = 0; j < count; j++) {
			const struct dma_shim_segment *a = &segments[i], *b = &segments[j];

			if (i == j)
				continue;
			if (touch(a->dst_offset, a->size, b->dst_offset, b->size) ||
			    (same && touch(a->dst_offset, a->size, b->src_offset, b->size)))
				return false;
		}
	}
	return true;
}

TEST(independence_is_what_it_says)
{
	unsigned int found[2][2] = { { 0 } };

	for (unsigned int round = 0; round < rounds(100000); round++) {
		struct dma_shim_segment segments[6];
		uint32_t count = 1 + (uint32_t)random_below(6);
		bool same = random_below(2);
		bool got, want;

		for (uint32_t n = 0; n < count; n++) {
			struct dma_shim_segment *segment = &segments[n];

			do {
				*segment = (struct dma_shim_segment) {
					random_below(50), random_below(50), 1 + random_below(6),
				};
			} while (same && touch(segment->src_offset, segment->size,
					       segment->dst_offset, segment->size));
		}
		want = independent(segments, count, same);
		CHECK_EQ(segments_independent(segments, count, same, &got), 0);
		CHECK_EQ(got, want);
		found[same][got]++;
	}
	CHECK(found[0][0] && found[0][1] && found[1][0] && found[1][1]);
}

TEST(independence_at_the_end_of_the_address_space)
{
	struct dma_shim_segment segments[2] = {
		{ 0, UINT64_MAX - 1, 1 }, { 0, UINT64_MAX - 2, 1 },
	};
	bool got;

	CHECK_EQ(segments_independent(segments, 2, false, &got), 0);
	CHECK(got);
	segments[1].size = 2;
	CHECK_EQ(segments_independent(segments, 2, false, &got), 0);
	CHECK(!got);
}
