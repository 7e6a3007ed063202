// SPDX-License-Identifier: Apache-2.0
/* What this processor has, and how much of it is ours. */
#include <cpuid.h>
#include <errno.h>
#include <sched.h>
#include <unistd.h>

#include "internal.h"

/* Leaf 7: Intel SDM volume 2, CPUID; AMD's uses the same bits. */
#define LEAF7_EBX_CLFLUSHOPT (1u << 23)
#define LEAF7_EBX_CLWB       (1u << 24)

static struct cpu_features features;
static pthread_once_t features_once = PTHREAD_ONCE_INIT;

static void detect(void)
{
	unsigned int eax, ebx, ecx, edx;

	/* These look at XCR0 too: whether the kernel keeps the registers. */
	__builtin_cpu_init();
	features.sse42 = __builtin_cpu_supports("sse4.2");
	features.avx2 = __builtin_cpu_supports("avx2");
	features.avx512f = __builtin_cpu_supports("avx512f");

	/* CLFLUSH is part of SSE2, hence of x86-64. */
	features.writeback = WRITEBACK_CLFLUSH;
	if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx))
		return;
	if (ebx & LEAF7_EBX_CLFLUSHOPT)
		features.writeback = WRITEBACK_CLFLUSHOPT;
	if (ebx & LEAF7_EBX_CLWB)
		features.writeback = WRITEBACK_CLWB;
}

const struct cpu_features *cpu_features(void)
{
	pthread_once(&features_once, detect);
	return &features;
}

/* CPUs that this process may run on; at least one */
unsigned int cpu_count(void)
{
	/* The kernel refuses a set smaller than its own: try larger ones. */
	for (int cpus = 1024; cpus <= 1 << 20; cpus *= 2) {
		size_t size = CPU_ALLOC_SIZE(cpus);
		cpu_set_t *set = CPU_ALLOC(cpus);
		int count = 0;
		int error = 0;

		if (!set)
			return 1;
		if (sched_getaffinity(0, size, set))
			error = errno;
		else
			count = CPU_COUNT_S(size, set);
		CPU_FREE(set);
		if (count > 0)
			return (unsigned int)count;
		if (error != EINVAL)
			return 1;
	}
	return 1;
}
