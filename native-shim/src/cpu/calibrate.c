// SPDX-License-Identifier: Apache-2.0
/*
 * How this machine copies best, found by measuring, once in a process.
 *
 * Which loop is fastest, and from which size on it beats memcpy(3), differs
 * with the processor, its caches and what the C library makes of it. Three
 * questions are asked, in some tens of milliseconds:
 *
 *  - which kernel copies fastest what is in no cache;
 *  - from which size on it is no slower than memcpy(3) even if that finds
 *    both ranges in a cache, which is the best that can happen to it. On ranges
 *    that are in none the kernels win at any size, but that is not known beforehand;
 *  - how many threads it takes until memory is busy.
 *
 * Each figure is the best of a few: whatever disturbs a measurement makes it
 * slower.
 */
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "../os/os.h"
#include "cpu.h"

/* Two ranges of that size: more together than a core's share of most caches */
#define RANGE (UINT64_C(16) << 20)

/* Measured in no more than this part of the memory that is allowed */
#define MEMORY_SHARE 8u

#define ROUNDS 3u

/* Asked about from here on, in powers of two, up to RANGE */
#define STREAM_FROM_MIN (UINT64_C(256) << 10)

/* Once over, what was not asked keeps the answer that was assumed. */
#define BUDGET_NS UINT64_C(60000000)

/* What a thread more has to add, to be worth a CPU; in per cent */
#define THREAD_GAIN 10u

static struct copy_plan plan;
static pthread_once_t plan_once = PTHREAD_ONCE_INIT;

/* Where bytes are copied from and to, and until when there is time for it */
struct bench {
	unsigned char *from;
	unsigned char *to;
	uint64_t deadline;
};

/* With @kernel, or with memcpy(3) if that is NULL */
static uint64_t time_copy(const struct bench *bench, const struct stream_kernel *kernel,
			  uint64_t size)
{
	uint64_t began = now_ns();

	if (kernel)
		copy_streaming(kernel, bench->to, bench->from, size);
	else
		memcpy(bench->to, bench->from, size);
	store_fence();
	return now_ns() - began;
}

static bool time_is_up(const struct bench *bench)
{
	return now_ns() >= bench->deadline;
}

/* The fastest of the usable kernels; and of those that pass the caches by */
static void choose_kernels(const struct bench *bench)
{
	uint64_t best[STREAM_KERNELS];
	const struct stream_kernel *fastest = NULL;
	const struct stream_kernel *uncached = NULL;

	memset(best, 0xff, sizeof(best));
	for (unsigned int round = 0; round < ROUNDS && !time_is_up(bench); round++) {
		for (unsigned int n = 0; n < STREAM_KERNELS; n++) {
			uint64_t time;

			if (!stream_kernel_usable(&stream_kernels[n]))
				continue;
			time = time_copy(bench, &stream_kernels[n], RANGE);
			if (time < best[n])
				best[n] = time;
		}
	}
	for (unsigned int n = 0; n < STREAM_KERNELS; n++) {
		const struct stream_kernel *kernel = &stream_kernels[n];

		if (!stream_kernel_usable(kernel))
			continue;
		if (!fastest || best[n] < best[fastest - stream_kernels])
			fastest = kernel;
		if (kernel->uncached &&
		    (!uncached || best[n] < best[uncached - stream_kernels]))
			uncached = kernel;
	}
	plan.fastest = fastest;
	plan.uncached = uncached;
}

/* Whether the chosen kernel keeps up with memcpy(3) that finds all in a cache */
static bool keeps_up(const struct bench *bench, uint64_t size)
{
	uint64_t streaming = UINT64_MAX;
	uint64_t cached = UINT64_MAX;

	for (unsigned int round = 0; round < ROUNDS; round++) {
		uint64_t time = time_copy(bench, plan.fastest, size);

		if (time < streaming)
			streaming = time;
		/* The first one brings it into the caches. */
		time_copy(bench, NULL, size);
		time = time_copy(bench, NULL, size);
		if (time < cached)
			cached = time;
	}
	return streaming <= cached;
}

/* The smallest size from which on the kernel keeps up, from the largest down */
static void choose_threshold(const struct bench *bench)
{
	plan.stream_from = RANGE;
	while (plan.stream_from > STREAM_FROM_MIN && !time_is_up(bench) &&
	       keeps_up(bench, plan.stream_from / 2))
		plan.stream_from /= 2;
}

/* A thread's part of the range; all begin when @go is set. */
struct share {
	struct bench bench;
	uint64_t size;
	_Atomic bool *go;
	pthread_t thread;
};

static void *copy_share(void *argument)
{
	struct share *share = argument;

	while (!atomic_load(share->go))
		sched_yield();
	time_copy(&share->bench, plan.fastest, share->size);
	return NULL;
}

/* How long that many threads take for the range together; UINT64_MAX: not to be had */
static uint64_t time_threads(const struct bench *bench, uint32_t count)
{
	struct share shares[MAX_COPY_THREADS];
	uint64_t size = RANGE / count / CACHE_LINE * CACHE_LINE;
	_Atomic bool go = false;
	uint32_t started = 0;
	uint64_t began;
	int error = 0;

	while (started < count && !error) {
		struct share *share = &shares[started];

		*share = (struct share) { .bench = *bench, .size = size, .go = &go };
		share->bench.from += started * size;
		share->bench.to += started * size;
		error = thread_start(&share->thread, "dma-calibrate", copy_share, share);
		if (!error)
			started++;
	}
	began = now_ns();
	atomic_store(&go, true);
	for (uint32_t n = 0; n < started; n++)
		pthread_join(shares[n].thread, NULL);
	return error ? UINT64_MAX : now_ns() - began;
}

/* As many as the doubling of them still gains something */
static void choose_threads(const struct bench *bench)
{
	uint64_t before = 0;

	if (plan.threads == 1)
		return;
	for (uint32_t count = 1; count <= plan.threads && !time_is_up(bench); count *= 2) {
		uint64_t best = UINT64_MAX;

		for (unsigned int round = 0; round < ROUNDS; round++) {
			uint64_t time = time_threads(bench, count);

			if (time < best)
				best = time;
		}
		if (best == UINT64_MAX)
			return;
		if (count > 1 && best > before - before * THREAD_GAIN / 100) {
			plan.threads = count / 2;
			return;
		}
		before = best;
	}
}

/* One CPU is left to the caller. */
static uint32_t thread_limit(void)
{
	unsigned int cpus = cpu_count();

	if (cpus <= 2)
		return 1;
	return cpus - 1 < MAX_COPY_THREADS ? cpus - 1 : MAX_COPY_THREADS;
}

/* Used if there is no time, or no memory, to measure */
static void assume(void)
{
	unsigned int best = 0;

	while (!stream_kernel_usable(&stream_kernels[best]))
		best++;
	plan = (struct copy_plan) {
		.fastest = &stream_kernels[best],
		.uncached = &stream_kernels[best],
		.stream_from = RANGE,
		.threads = thread_limit(),
	};
}

static void calibrate(void)
{
	struct bench bench = { .deadline = now_ns() + BUDGET_NS };
	unsigned char *memory;

	assume();
	/* If memory is tight, none of it is spent on this. */
	if (cgroup_limits("").memory / MEMORY_SHARE < 2 * RANGE)
		return;
	memory = mmap(NULL, 2 * RANGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return;
	/* Fewer page faults to wait for; harmless if the kernel refuses. */
	madvise(memory, 2 * RANGE, MADV_HUGEPAGE);
	memset(memory, 1, 2 * RANGE);
	bench.from = memory;
	bench.to = memory + RANGE;

	choose_kernels(&bench);
	choose_threshold(&bench);
	choose_threads(&bench);
	munmap(memory, 2 * RANGE);
}

/* Does not change once it is there. */
const struct copy_plan *copy_plan(void)
{
	pthread_once(&plan_once, calibrate);
	return &plan;
}

static void *make_plan(void *unused)
{
	(void)unused;
	copy_plan();
	return NULL;
}

/* Has copy_plan() find it made, or being made. */
void copy_plan_prepare(void)
{
	pthread_t thread;

	if (cpu_count() > 1 && !thread_start(&thread, "dma-calibrate", make_plan, NULL))
		pthread_detach(thread);
}
