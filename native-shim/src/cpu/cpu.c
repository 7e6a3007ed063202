// SPDX-License-Identifier: Apache-2.0
/* What this processor has, and how much of it is ours. */
#include <cpuid.h>
#include <stdio.h>

#include "../os/os.h"
#include "cpu.h"

/* Leaf 7: Intel SDM volume 2, CPUID; AMD's uses the same bits. */
#define LEAF7_EBX_CLFLUSHOPT (1u << 23)
#define LEAF7_EBX_CLWB       (1u << 24)
#define LEAF7_EBX_SHA        (1u << 29)

/* The processor's name, as it tells itself: three leaves of 16 characters */
#define LEAF_BRAND_FIRST 0x80000002u
#define LEAF_BRAND_LAST  0x80000004u

static struct cpu_features features;
static char model[CPU_MODEL_SIZE];
static pthread_once_t features_once = PTHREAD_ONCE_INIT;

/* /proc/cpuinfo says the same, but may be hidden. */
static void detect_model(void)
{
	unsigned int text[3][4] = { 0 };
	const char *start = (const char *)text;

	for (unsigned int leaf = LEAF_BRAND_FIRST; leaf <= LEAF_BRAND_LAST; leaf++) {
		unsigned int *part = text[leaf - LEAF_BRAND_FIRST];

		if (!__get_cpuid(leaf, &part[0], &part[1], &part[2], &part[3]))
			return;
	}
	while (start < (const char *)text + sizeof(text) && *start == ' ')
		start++;
	snprintf(model, sizeof(model), "%.*s",
		 (int)((const char *)text + sizeof(text) - start), start);
}

static void detect(void)
{
	unsigned int eax, ebx, ecx, edx;

	/* These look at XCR0 too: whether the kernel keeps the registers. */
	__builtin_cpu_init();
	features.sse42 = __builtin_cpu_supports("sse4.2");
	features.avx2 = __builtin_cpu_supports("avx2");
	features.avx512f = __builtin_cpu_supports("avx512f");

	detect_model();

	/* CLFLUSH is part of SSE2, hence of x86-64. */
	features.writeback = WRITEBACK_CLFLUSH;
	if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx))
		return;
	if (ebx & LEAF7_EBX_CLFLUSHOPT)
		features.writeback = WRITEBACK_CLFLUSHOPT;
	if (ebx & LEAF7_EBX_CLWB)
		features.writeback = WRITEBACK_CLWB;
	/* Of the registers that SSE has */
	features.sha = ebx & LEAF7_EBX_SHA && __builtin_cpu_supports("sse4.1");
}

const struct cpu_features *cpu_features(void)
{
	pthread_once(&features_once, detect);
	return &features;
}

/* Such as "Intel(R) Xeon(R) Gold 6338"; "" if it does not tell */
const char *cpu_model(void)
{
	pthread_once(&features_once, detect);
	return model;
}

/* CPUs that this process may run on; none if the kernel has more than MAX_CPUS */
void cpus_allowed(struct cpus *cpus)
{
	if (sched_getaffinity(0, sizeof(*cpus), &cpus->set))
		*cpus = (struct cpus) { 0 };
}

unsigned int cpus_count(const struct cpus *cpus)
{
	return (unsigned int)CPU_COUNT_S(sizeof(*cpus), &cpus->set);
}

/* How many CPUs' time this process may use; at least one */
unsigned int cpu_count(void)
{
	struct cgroup_limits limits = cgroup_limits("");
	struct cpus allowed;
	unsigned int count;

	cpus_allowed(&allowed);
	count = cpus_count(&allowed);
	if (!count)
		return 1;
	return count < limits.cpus ? count : limits.cpus;
}
