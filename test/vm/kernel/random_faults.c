// SPDX-License-Identifier: GPL-2.0-only
/*
 * 10,000 requests under random faults: none is said to be done that was not, none is
 * told of twice or never, and no byte is touched that was not asked for.
 */
#include <poll.h>

#include "harness.h"

#define ROUNDS 40
#define REQUESTS 250
#define SLOT 8192 /* a request's bytes, with a guard behind them */

static uint64_t state = 0x2545f4914f6cdd1d;

static uint32_t below(uint32_t limit)
{
	return random32(&state) % limit;
}

/* Whatever the driver reports, and what it only learns by its timer. Never `corrupt`. */
static void random_fault(char *spec, size_t size)
{
	static const char *const kinds[] = {
		"error=0x100", "error=0x200", "error=0x100", "error=0x200", "lost-irq", "delay=3ms",
		"lost-completion", "error=0x1", "error=0x10", "hang",
	};
	const char *kind = kinds[below(sizeof(kinds) / sizeof(kinds[0]))];

	snprintf(spec, size, "%s@%ux%u/0.%u", kind, 1 + below(REQUESTS / 2), 1 + below(3), below(2));
}

struct outcomes {
	int done, failed, aborted, timed_out;
};

static void check(const struct ioat_dma_completion *completion, const uint8_t *from, const uint8_t *to,
		  uint32_t length, struct outcomes *outcomes)
{
	switch (completion->status) {
	case IOAT_DMA_DONE:
		outcomes->done++;
		EXPECT_EQ(completion->bytes_done, length);
		EXPECT(!memcmp(from, to, length));
		break;
	case IOAT_DMA_FAILED: outcomes->failed++; break;
	case IOAT_DMA_ABORTED: outcomes->aborted++; break;
	case IOAT_DMA_TIMED_OUT: outcomes->timed_out++; break;
	default: FAIL("status %u", completion->status);
	}
	EXPECT(is_byte(to + length, SLOT - length, POISON));
}

TEST_TIMED(random_faults, 600)
{
	struct device from = device_map(DAX0), to = device_map(DAX1);
	int dma = dma_open(), round, i;
	uint32_t src = region_of(dma, DAX0, 0, 4 * MIB), dst = region_of(dma, DAX1, 0, 4 * MIB);
	struct outcomes outcomes = { 0 };

	for (round = 0; round < ROUNDS; round++) {
		uint32_t lengths[REQUESTS], told[REQUESTS] = { 0 };
		char spec[64];

		pattern(from.bytes, REQUESTS * SLOT, round);
		memset(to.bytes, POISON, REQUESTS * SLOT);
		random_fault(spec, sizeof(spec));
		set_fault(spec);
		for (i = 0; i < REQUESTS; i++) {
			lengths[i] = 1 + below(SLOT - 1);
			DO(submit_one(dma, i, src, dst, (struct ioat_dma_segment){
				(uint64_t)i * SLOT, (uint64_t)i * SLOT, lengths[i] }));
		}
		for (i = 0; i < REQUESTS; i++) {
			struct ioat_dma_completion completion = next_completion(dma);
			uint64_t at = completion.tag * SLOT;

			EXPECT(completion.tag < REQUESTS && !told[completion.tag]++);
			check(&completion, from.bytes + at, to.bytes + at, lengths[completion.tag],
			      &outcomes);
		}
		set_fault("clear");
		wait_for_channels(dma, IOAT_DMA_CHANNEL_READY, 2, 20000);
		while (poll(&(struct pollfd){ .fd = dma, .events = POLLIN }, 1, 0))
			EXPECT_EQ(next_record(dma).flags, IOAT_DMA_COMPLETION_SETTLED);
	}
	printf("    %d done, %d failed, %d aborted, %d timed out\n", outcomes.done, outcomes.failed,
	       outcomes.aborted, outcomes.timed_out);
	EXPECT(outcomes.failed && outcomes.done > ROUNDS * REQUESTS / 2);
}
