// SPDX-License-Identifier: GPL-2.0-only
/* Random copies against a model, and random ioctls. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>

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

#define FUZZ_THREADS 4
#define FUZZ_CALLS 25000

struct fuzzer {
	pthread_t thread;
	uint64_t state;
	int number;
};

static int fuzz_shared[4];
static int fuzz_dax[2];

static uint64_t interesting(uint64_t *state)
{
	static const uint64_t values[] = {
		0, 1, 2, 3, 4095, 4096, 65536, 1 << 20, 1 << 21, 0x7fffffff, 0x80000000, 0xffffffff,
		1ULL << 32, 1ULL << 40, INT64_MAX, 1ULL << 63, UINT64_MAX - 4095, UINT64_MAX,
	};

	if (random32(state) % 4 == 0)
		return ((uint64_t)random32(state) << 32) | random32(state);
	if (random32(state) % 2)
		return random32(state) % 256;
	return values[random32(state) % (sizeof(values) / sizeof(values[0]))];
}

static unsigned long random_command(uint64_t *state)
{
	static const unsigned long commands[] = {
		IOAT_DMA_INFO, IOAT_DMA_CHANNEL_INFO, IOAT_DMA_REGION_CREATE,
		IOAT_DMA_REGION_DESTROY, IOAT_DMA_SUBMIT, IOAT_DMA_SUBMIT, IOAT_DMA_CANCEL,
		IOAT_DMA_LEGACY_COPY, IOAT_DMA_LEGACY_COUNT, IOAT_DMA_LEGACY_RESERVE,
		IOAT_DMA_LEGACY_START, IOAT_DMA_LEGACY_WAIT,
	};

	if (random32(state) % 20 == 0)
		return _IOC(random32(state) % 4, 0xad, random32(state) % 256, random32(state) % 128);
	return commands[random32(state) % (sizeof(commands) / sizeof(commands[0]))];
}

/* Mostly such that they get past the first checks. */
static void random_argument(unsigned long command, uint64_t *words, struct ioat_dma_segment *segments,
			    uint64_t *state)
{
	int i;

	for (i = 0; i < 16; i++)
		words[i] = interesting(state);
	if (random32(state) % 8 == 0)
		return;
	switch (command) {
	case IOAT_DMA_REGION_CREATE: {
		struct ioat_dma_region_create *create = (void *)words;

		create->size = sizeof(*create);
		create->flags = create->__reserved = 0;
		create->fd = fuzz_dax[random32(state) % 2];
		create->offset %= 300 * MIB;
		create->length %= 16 * MIB;
		break;
	}
	case IOAT_DMA_SUBMIT: {
		struct ioat_dma_submit *submit = (void *)words;

		submit->size = sizeof(*submit);
		submit->flags &= 1;
		submit->src_region %= 8;
		submit->dst_region %= 8;
		submit->channel = random32(state) % 3 ? IOAT_DMA_ANY_CHANNEL : submit->channel % 3;
		submit->timeout_ms %= 4000;
		submit->segments = (uintptr_t)segments;
		submit->segment_count = submit->segment_count % 16;
		submit->__reserved = 0;
		for (i = 0; i < 16; i++)
			segments[i] = (struct ioat_dma_segment){
				interesting(state) % MIB, interesting(state) % MIB,
				interesting(state) % (random32(state) % 8 ? 65536 : 4 * MIB),
			};
		break;
	}
	case IOAT_DMA_LEGACY_COPY:
		strcpy((char *)words, random32(state) % 2 ? DAX0 : DAX1);
		words[8] %= 100 * MIB;
		words[9] %= 100 * MIB;
		words[10] %= MIB;
		break;
	case IOAT_DMA_LEGACY_START:
		words[0] %= 3;
		strcpy((char *)(words + 1), DAX0);
		words[5] %= 100 * MIB;
		words[6] %= 100 * MIB;
		words[7] %= MIB;
		break;
	case IOAT_DMA_LEGACY_WAIT:
		words[0] %= 3;
		break;
	case IOAT_DMA_INFO:
	case IOAT_DMA_CHANNEL_INFO:
	case IOAT_DMA_REGION_DESTROY:
	case IOAT_DMA_CANCEL:
		*(uint32_t *)words = command == IOAT_DMA_INFO ? sizeof(struct ioat_dma_info) :
			command == IOAT_DMA_CHANNEL_INFO ? sizeof(struct ioat_dma_channel_info) :
			command == IOAT_DMA_CANCEL ? sizeof(struct ioat_dma_cancel) :
						     sizeof(struct ioat_dma_region_destroy);
		if (command == IOAT_DMA_CANCEL)
			words[1] %= 256;
		break;
	}
}

static void *fuzz(void *arg)
{
	struct fuzzer *self = arg;
	uint64_t words[16] __attribute__((aligned(8)));
	struct ioat_dma_segment segments[16];
	struct ioat_dma_completion done[64];
	int i;

	for (i = 0; i < FUZZ_CALLS; i++) {
		unsigned long command = random_command(&self->state);
		int *fd = &fuzz_shared[random32(&self->state) % 4];

		random_argument(command, words, segments, &self->state);
		ioctl(*fd, command, random32(&self->state) % 50 ? (void *)words :
		      (void *)interesting(&self->state));
		if (i % 8 == 0 && read(*fd, done, sizeof(done)) < 0)
			EXPECT(errno == EAGAIN || errno == EINVAL || errno == EBADF);
		/* now and then close one under the others' hands */
		if (random32(&self->state) % 500 == 0) {
			int fresh = open("/dev/ioat-dma", O_RDWR | O_NONBLOCK);

			dup2(fresh, *fd);
			close(fresh);
		}
	}
	return NULL;
}

/* 100,000 ioctls, from four threads on four files. */
TEST_TIMED(random_ioctls, 400)
{
	struct fuzzer fuzzers[FUZZ_THREADS];
	struct device guard = device_map(DAX1);
	int i, dma;

	overlaps_are_meant(true);
	fuzz_dax[0] = DO(open(DAX0, O_RDWR));
	fuzz_dax[1] = DO(open(DAX1, O_RDONLY)); /* so nothing may write to it but by its path */
	memset(guard.bytes + 210 * MIB, POISON, MIB);
	for (i = 0; i < 4; i++)
		fuzz_shared[i] = DO(open("/dev/ioat-dma", O_RDWR | O_NONBLOCK));
	for (i = 0; i < FUZZ_THREADS; i++) {
		fuzzers[i].state = 0x1234567 + i;
		EXPECT(!pthread_create(&fuzzers[i].thread, NULL, fuzz, &fuzzers[i]));
	}
	for (i = 0; i < FUZZ_THREADS; i++)
		pthread_join(fuzzers[i].thread, NULL);
	for (i = 0; i < 4; i++)
		close(fuzz_shared[i]);
	EXPECT(is_byte(guard.bytes + 210 * MIB, MIB, POISON));
	dma = dma_open();
	wait_for_channels(dma, IOAT_DMA_CHANNEL_READY, 2, 10000);
	overlaps_are_meant(false);
}
