// SPDX-License-Identifier: Apache-2.0
/*
 * What the copy engine is measured against, and the engine itself without the
 * daemon: copier FILE FILE. Both files are mapped whole. Each line on stdin is one
 * measurement between them, whose nanoseconds are a line on stdout:
 *
 *   memcpy SIZE COUNT TIMES   COUNT pieces of SIZE bytes, one after the other
 *   NAME SIZE COUNT TIMES     likewise with a loop written for the purpose, see below
 *   fill SIZE COUNT TIMES     one job of the library that fills the second file
 *   compare SIZE COUNT TIMES  one that compares both, which are equal then
 *   memcmp SIZE COUNT TIMES   libc's, of both
 *   job SIZE COUNT TIMES      the same pieces as one job of the library: from its
 *                             submission until its end has been read
 *   copy SIZE COUNT TIMES     likewise, but only the time in which it copied
 *
 * All that is done so often, and the last time measured: a processor that has just
 * slept is slow at first.
 */
#include <fcntl.h>
#include <immintrin.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../../../native-shim/include/dma_shim.h"

static _Noreturn void die(const char *what)
{
	perror(what);
	exit(1);
}

typedef void (*copy_function)(char *to, const char *from, size_t size);

static void movsb(char *to, const char *from, size_t size)
{
	__asm__ volatile("rep movsb"
			 : "+D"(to), "+S"(from), "+c"(size) : : "memory");
}

/* Non-temporal stores, LINES cache lines a turn, PREFETCH bytes ahead (0: none) */
#define STREAMING_LOOP(name, LINES, PREFETCH)					\
	__attribute__((target("avx2")))						\
	static void name(char *to, const char *from, size_t size)		\
	{									\
		for (; size; size -= 64 * LINES) {				\
			__m256i part[2 * LINES];				\
										\
			for (int n = 0; PREFETCH && n < LINES; n++)		\
				_mm_prefetch(from + PREFETCH + 64 * n,		\
					     _MM_HINT_NTA);			\
			for (int n = 0; n < 2 * LINES; n++)			\
				part[n] = _mm256_loadu_si256(			\
					(const __m256i *)(from + 32 * n));	\
			for (int n = 0; n < 2 * LINES; n++)			\
				_mm256_stream_si256((__m256i *)(to + 32 * n),	\
						    part[n]);			\
			from += 64 * LINES;					\
			to += 64 * LINES;					\
		}								\
		_mm_sfence();							\
	}

STREAMING_LOOP(avx2_1, 1, 0)
STREAMING_LOOP(avx2_2, 2, 0)
STREAMING_LOOP(avx2_4, 4, 0)
STREAMING_LOOP(avx2_1_prefetch, 1, 512)
STREAMING_LOOP(avx2_4_prefetch, 4, 2048)

static void libc(char *to, const char *from, size_t size)
{
	memcpy(to, from, size);
}

/* Ways to fill, which read nothing */

static void libc_memset(char *to, const char *from, size_t size)
{
	(void)from;
	memset(to, 0x5a, size);
}

static void stosb(char *to, const char *from, size_t size)
{
	(void)from;
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(0x5a) : "memory");
}

__attribute__((target("avx2")))
static void avx2_set(char *to, const char *from, size_t size)
{
	__m256i part = _mm256_set1_epi8(0x5a);

	(void)from;
	for (; size; size -= 64, to += 64) {
		_mm256_stream_si256((__m256i *)to, part);
		_mm256_stream_si256((__m256i *)(to + 32), part);
	}
	_mm_sfence();
}

static void libc_memcmp(char *to, const char *from, size_t size)
{
	if (memcmp(to, from, size))
		die("memcmp: they differ");
}

static const struct { const char *name; copy_function copy; } loops[] = {
	{ "memset", libc_memset },
	{ "stosb", stosb },
	{ "avx2_set", avx2_set },
	{ "memcmp", libc_memcmp },
	{ "memcpy", libc },
	{ "movsb", movsb },
	{ "avx2_1", avx2_1 },
	{ "avx2_2", avx2_2 },
	{ "avx2_4", avx2_4 },
	{ "avx2_1_prefetch", avx2_1_prefetch },
	{ "avx2_4_prefetch", avx2_4_prefetch },
};

static const char *paths[2];
static char *bytes[2];

static struct dma_shim *shim;
static int completions;
static uint32_t devices[2];

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void map(unsigned int n)
{
	int file = open(paths[n], O_RDWR | O_CLOEXEC);
	struct stat stat;

	if (file < 0 || fstat(file, &stat))
		die(paths[n]);
	bytes[n] = mmap(NULL, (size_t)stat.st_size, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_POPULATE, file, 0);
	if (bytes[n] == MAP_FAILED)
		die(paths[n]);
}

/* Not before it is needed: the daemon has its devices for itself. */
static void open_library(void)
{
	struct dma_shim_options options = { 0 };

	if (shim)
		return;
	if (dma_shim_open(&options, &shim))
		die("dma_shim_open");
	completions = dma_shim_completion_fd(shim);
	for (unsigned int n = 0; n < 2; n++) {
		struct dma_shim_device_spec spec = { .kind = DMA_SHIM_FILE };
		struct dma_shim_device_info info;
		int handle = dma_shim_device_open(shim, paths[n], &spec, &info);

		if (handle < 0)
			die("dma_shim_device_open");
		devices[n] = (uint32_t)handle;
	}
}

static void submit(uint64_t tag, uint64_t size, uint32_t count, uint32_t operation)
{
	static struct dma_shim_segment segments[DMA_SHIM_MAX_SEGMENTS];
	struct dma_shim_job job = {
		.tag = tag, .source = devices[0], .destination = devices[1],
		.engine = DMA_SHIM_ENGINE_CPU, .priority = DMA_SHIM_NORMAL,
		.segment_count = count, .operation = operation,
	};
	bool fills = operation == DMA_SHIM_FILL;

	if (fills) {
		job.source = DMA_SHIM_NOWHERE;
		job.pattern_size = 1;
		job.pattern[0] = 0x5a;
	}
	for (uint32_t n = 0; n < count; n++)
		segments[n] = (struct dma_shim_segment) {
			fills ? 0 : n * size, n * size, size
		};
	if (dma_shim_submit(shim, &job, segments, NULL, NULL))
		die("dma_shim_submit");
}

static struct dma_shim_completion wait_for(uint64_t tag)
{
	struct dma_shim_completion record;

	do {
		struct pollfd readable = { .fd = completions, .events = POLLIN };

		poll(&readable, 1, -1);
		if (read(completions, &record, sizeof(record)) != sizeof(record))
			die("completions");
		if (record.kind == DMA_SHIM_DONE && record.status)
			die("job");
	} while (record.kind != DMA_SHIM_DONE || record.tag != tag);
	return record;
}

/* One job after the other, from submission to end */
static uint64_t time_job(uint64_t size, uint32_t count, unsigned int times,
			 uint32_t operation)
{
	struct dma_shim_completion done;

	uint64_t began = 0;

	while (times--) {
		began = now();
		submit(1, size, count, operation);
		done = wait_for(1);
		if (done.difference != DMA_SHIM_NO_DIFFERENCE)
			die("compare: they differ");
	}
	return now() - began;
}

/* Submitted all at once, so that the thread goes from one to the next */
static uint64_t time_copy(uint64_t size, uint32_t count, unsigned int times)
{
	for (unsigned int n = 1; n <= times; n++)
		submit(n, size, count, DMA_SHIM_COPY);
	return wait_for(times).copy_ns;
}

static uint64_t time_loop(copy_function copy, uint64_t size, uint32_t count, unsigned int times)
{
	uint64_t began = 0;

	while (times--) {
		began = now();
		for (uint32_t piece = 0; piece < count; piece++)
			copy(bytes[1] + piece * size, bytes[0] + piece * size, size);
	}
	return now() - began;
}

static const struct { const char *name; uint32_t operation; bool copy_only; } jobs[] = {
	{ "job", DMA_SHIM_COPY, false },
	{ "copy", DMA_SHIM_COPY, true },
	{ "fill", DMA_SHIM_FILL, false },
	{ "compare", DMA_SHIM_COMPARE, false },
};

static uint64_t measure(const char *what, uint64_t size, uint32_t count, unsigned int times)
{
	for (uint32_t n = 0; n < sizeof(jobs) / sizeof(*jobs); n++) {
		if (strcmp(what, jobs[n].name))
			continue;
		open_library();
		return jobs[n].copy_only ?
		       time_copy(size, count, times) :
		       time_job(size, count, times, jobs[n].operation);
	}
	for (unsigned int n = 0; n < sizeof(loops) / sizeof(*loops); n++) {
		if (!strcmp(what, loops[n].name))
			return time_loop(loops[n].copy, size, count, times);
	}
	die(what);
}

int main(int argc, char **argv)
{
	char what[32];
	unsigned long size;
	unsigned int count, times;

	if (argc != 3)
		return 2;
	for (unsigned int n = 0; n < 2; n++) {
		paths[n] = argv[n + 1];
		map(n);
	}
	while (scanf("%31s %lu %u %u", what, &size, &count, &times) == 4) {
		printf("%lu\n", (unsigned long)measure(what, size, count, times));
		fflush(stdout);
	}
	return 0;
}
