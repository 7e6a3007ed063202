// SPDX-License-Identifier: GPL-2.0-only
/* HAMMER_CALLS ioctls (100,000 if it is not set), random by HAMMER_SEED. */
#include <fcntl.h>
#include <inttypes.h>

#include "hammer.h"

struct hammer hammer = { .node = PTHREAD_RWLOCK_INITIALIZER };

static uint64_t wanted;
static atomic_ulong made;
static struct worker workers[HAMMER_THREADS];

static uint64_t number_from(const char *variable, uint64_t otherwise)
{
	const char *text = getenv(variable);

	return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

int counted_ioctl(struct worker *self, enum call call, int fd, unsigned long command, void *arg)
{
	int ret = ioctl(fd, command, arg), error = ret < 0 ? errno : 0;

	atomic_fetch_add_explicit(&made, 1, memory_order_relaxed);
	self->tally.calls[call]++;
	self->tally.succeeded[call] += !error;
	return error;
}

static void *work(void *arg)
{
	struct worker *self = arg;

	exact_begin(self);
	while (atomic_load_explicit(&made, memory_order_relaxed) < wanted) {
		if (pick(self, 2))
			exact_call(self);
		else
			wild_call(self);
	}
	return NULL;
}

static void prepare(void)
{
	struct device first = device_map(DAX0), second = device_map(DAX1);
	int i;

	hammer.pci_slot = pci_slot();
	hammer.second = second.bytes;
	pattern(first.bytes + SOURCE_AT, SOURCE_SIZE, 71);
	pattern(second.bytes + SOURCE_AT, SOURCE_SIZE, 83);
	for (i = 0; i < 2; i++) {
		hammer.source[i] = malloc(SOURCE_SIZE);
		memcpy(hammer.source[i], (i ? second : first).bytes + SOURCE_AT, SOURCE_SIZE);
	}
	hammer.dax[0] = DO(open(DAX0, O_RDWR));
	hammer.dax[1] = DO(open(DAX1, O_RDONLY)); /* so nothing may write to it but by its path */
	for (i = 0; i < SHARED_FILES; i++)
		hammer.files[i] = DO(open("/dev/ioat-dma", O_RDWR | O_NONBLOCK));
}

static void report_progress(void)
{
	const uint64_t start = now_ms();
	uint64_t last = start;

	while (made < wanted) {
		usleep(10000);
		if (now_ms() - last < 10000)
			continue;
		last = now_ms();
		printf("    %" PRIu64 " calls after %" PRIu64 " s, %u events\n", (uint64_t)made,
		       (last - start) / 1000, hammer.events);
		fflush(stdout);
	}
	printf("    %" PRIu64 " calls in %" PRIu64 " ms, %u events\n", (uint64_t)made,
	       now_ms() - start, hammer.events);
}

static void report(void)
{
	static const char *const names[CALLS] = {
		"info", "channel_info", "region_create", "region_destroy", "submit", "cancel",
		"legacy copy", "legacy count", "legacy reserve", "legacy start", "legacy wait",
		"unknown",
	};
	struct tally sum = { 0 };
	const uint64_t *from;
	size_t i, t;

	for (t = 0; t < HAMMER_THREADS; t++) {
		from = (const uint64_t *)&workers[t].tally;
		for (i = 0; i < sizeof(sum) / sizeof(uint64_t); i++)
			((uint64_t *)&sum)[i] += from[i];
	}
	for (i = 0; i < CALLS; i++)
		printf("    %s: %" PRIu64 " of %" PRIu64 " succeeded\n", names[i],
		       sum.succeeded[i], sum.calls[i]);
	printf("    exact requests: %" PRIu64 " done, %" PRIu64 " failed, %" PRIu64 " aborted, %"
	       PRIu64 " canceled, %" PRIu64 " timed out, %" PRIu64 " gone; %" PRIu64
	       " unsettled at first\n", sum.ends[IOAT_DMA_DONE], sum.ends[IOAT_DMA_FAILED],
	       sum.ends[IOAT_DMA_ABORTED], sum.ends[IOAT_DMA_CANCELED],
	       sum.ends[IOAT_DMA_TIMED_OUT], sum.ends[IOAT_DMA_GONE], sum.unsettled);
	EXPECT(sum.ends[IOAT_DMA_DONE] > sum.calls[CALL_SUBMIT] / 20);
}

TEST_TIMED(hammer_of_ioctls, 0)
{
	uint64_t seed = number_from("HAMMER_SEED", 1) * 0x9e3779b97f4a7c15;
	pthread_t troublemaker;
	int i, dma;

	wanted = number_from("HAMMER_CALLS", 100000);
	overlaps_are_meant(true);
	prepare();
	for (i = 0; i < HAMMER_THREADS; i++) {
		workers[i].random = seed + i + 1;
		workers[i].number = i;
		EXPECT(!pthread_create(&workers[i].thread, NULL, work, &workers[i]));
	}
	EXPECT(!pthread_create(&troublemaker, NULL, chaos, &seed));
	report_progress();
	for (i = 0; i < HAMMER_THREADS; i++)
		pthread_join(workers[i].thread, NULL);
	hammer.stop = true;
	pthread_join(troublemaker, NULL);
	for (i = 0; i < HAMMER_THREADS; i++)
		exact_end(&workers[i]);
	report();
	for (i = 0; i < SHARED_FILES; i++)
		close(hammer.files[i]);
	dma = dma_open();
	wait_for_channels(dma, IOAT_DMA_CHANNEL_READY, 2, 30000);
	overlaps_are_meant(false);
}
