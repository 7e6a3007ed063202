/* SPDX-License-Identifier: Apache-2.0 */
/* What the processor offers, and how it copies; knows no devices or jobs. */
#ifndef DMA_SHIM_CPU_H
#define DMA_SHIM_CPU_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CACHE_LINE 64u
#define MAX_COPY_THREADS 64u

/* cpu.c: what this processor has */
enum writeback_instruction { WRITEBACK_CLFLUSH, WRITEBACK_CLFLUSHOPT, WRITEBACK_CLWB };

struct cpu_features {
	bool sse42;
	bool avx2;
	bool avx512f;
	bool sha;               /* and the SSE that goes with it */
	enum writeback_instruction writeback;
};

const struct cpu_features *cpu_features(void);

/* The most that Linux can be built for on x86-64: arch/x86/Kconfig, NR_CPUS */
#define MAX_CPUS 8192u

/* A set of CPUs: @set is how glibc would have it, which is too small */
struct cpus {
	union {
		/* first, for that is what {0} clears */
		unsigned long bits[MAX_CPUS / 64];
		cpu_set_t set;
	};
};

#define CPU_MODEL_SIZE 56u

const char *cpu_model(void);
void cpus_allowed(struct cpus *cpus);
unsigned int cpus_count(const struct cpus *cpus);
unsigned int cpu_count(void);

/**
 * struct cgroup_limits - what control groups allow
 * @cpus:   whole CPUs' time, at least one; UINT32_MAX: no limit
 * @memory: bytes; UINT64_MAX: no limit
 */
struct cgroup_limits {
	uint32_t cpus;
	uint64_t memory;
};

/* cgroup.c */
struct cgroup_limits cgroup_limits(const char *root);

/* copy.c: moving bytes between two ranges that do not overlap */
struct stream_kernel {
	const char *name;
	bool uncached;          /* leaves no line dirty that it wrote whole */
	/*
	 * @size bytes, and again so many @apart bytes behind, and all between; @to is
	 * CACHE_LINE-aligned, @size and @apart <= @size are multiples of CACHE_LINE
	 */
	void (*copy)(unsigned char *to, const unsigned char *from, size_t size,
		     size_t apart);
	/* the CACHE_LINE bytes of @line, again and again; @to and @size as above */
	void (*fill)(unsigned char *to, const unsigned char *line, size_t size);
};

#define STREAM_KERNELS 4u
extern const struct stream_kernel stream_kernels[STREAM_KERNELS];

/*
 * Smaller segments go through the cache: two ragged ends each cost too much. At 4 KiB,
 * of many that no cache holds together, streaming them is 1.2 to 1.6 times as fast.
 */
#define STREAM_SEGMENT_MIN (UINT64_C(4) << 10)

bool stream_kernel_usable(const struct stream_kernel *kernel);
void copy_streaming(const struct stream_kernel *kernel, unsigned char *to,
		    const unsigned char *from, size_t size);
void store_fence(void);

/**
 * struct pattern - what a job fills with
 * @line:    the pattern, as often as it fits
 * @uniform: one byte throughout
 */
struct pattern {
	unsigned char line[CACHE_LINE];
	bool uniform;
};

/* fill.c */
void pattern_set(struct pattern *pattern, const uint8_t *bytes, size_t size);
void pattern_fill(const struct pattern *pattern, const struct stream_kernel *kernel,
		  unsigned char *to, uint64_t offset, size_t size);
uint32_t pattern_crc32c(const struct pattern *pattern, uint32_t crc, uint64_t offset,
			size_t size);

/* compare.c */
size_t equal_bytes(const unsigned char *a, const unsigned char *b, size_t size);

/**
 * struct copy_plan - how this machine copies best
 * @fastest:     of all kernels, for what is too large for the caches
 * @uncached:    of those that leave nothing to write back
 * @stream_from: bytes in a job from which @fastest is not slower than memcpy(3) that
 *               finds all in a cache
 * @threads:     that copy, 1 to MAX_COPY_THREADS
 */
struct copy_plan {
	const struct stream_kernel *fastest;
	const struct stream_kernel *uncached;
	uint64_t stream_from;
	uint32_t threads;
};

/* calibrate.c */
void copy_plan_prepare(void);
const struct copy_plan *copy_plan(void);

/* writeback.c: from CPU caches to the memory controller */
void write_back(const unsigned char *start, size_t size);

/* checksum.c: CRC-32C */
void crc32c_init(void);
uint32_t crc32c(uint32_t crc, const void *bytes, size_t size);
uint32_t crc32c_table(uint32_t crc, const void *bytes, size_t size);
uint32_t crc32c_shift(uint32_t crc, uint64_t size);

#endif /* DMA_SHIM_CPU_H */
