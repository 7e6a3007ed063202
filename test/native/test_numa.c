// SPDX-License-Identifier: Apache-2.0
/* Where threads are when they copy, on a host of several nodes that sysfs tells of. */
#include "fixture.h"

#include <sched.h>

/* What the kernel tells: the node of each device opened next, and the CPUs of each node */
static const char *device_node;
static const char *node_cpus[2];

static const char *sysfs(const char *path)
{
	if (strstr(path, "/numa_node"))
		return device_node;
	if (strcmp(path, "/sys/devices/system/node/node0/cpulist") == 0)
		return node_cpus[0];
	if (strcmp(path, "/sys/devices/system/node/node1/cpulist") == 0)
		return node_cpus[1];
	FAIL("asks for %s", path);
}

/* Where the thread that copied last was allowed to be */
static struct cpus copied_on;

static void note_cpus(const struct stream_kernel *kernel, unsigned char *to,
		      const unsigned char *from, size_t size)
{
	cpus_allowed(&copied_on);
	__real_copy_streaming(kernel, to, from, size);
}

static uint32_t dax_of(struct context *context, const char *name, const char *node)
{
	struct dma_shim_device_info info;

	device_node = node;
	return fake_dax(context, name, DMA_SHIM_VOLATILE, &info);
}

static const struct cpus *copy_between(struct context *context, uint32_t source,
				       uint32_t destination, uint64_t size)
{
	copied_on = (struct cpus) { 0 };
	CHECK_EQ(submit_one(context, job_of(1, source, destination), 0, 2 * MIB, size), 0);
	CHECK_EQ(next_done(context).status, 0);
	return &copied_on;
}

static bool equal(const struct cpus *a, const struct cpus *b)
{
	return CPU_EQUAL_S(sizeof(*a), &a->set, &b->set);
}

static struct cpus only(unsigned int cpu)
{
	struct cpus cpus = { 0 };

	CPU_SET_S(cpu, sizeof(cpus), &cpus.set);
	return cpus;
}

/* The first CPU that we have is all of node 0, the others are node 1. */
static struct cpus two_nodes(unsigned int *first)
{
	static char lists[2][32];
	struct cpus all;

	cpus_allowed(&all);
	if (cpus_count(&all) < 2)
		SKIP("takes two CPUs");
	for (*first = 0; !CPU_ISSET_S(*first, sizeof(all), &all.set);)
		++*first;
	snprintf(lists[0], sizeof(lists[0]), "%u\n", *first);
	snprintf(lists[1], sizeof(lists[1]), "%u-%u\n", *first + 1, MAX_CPUS - 1);
	node_cpus[0] = lists[0];
	node_cpus[1] = lists[1];
	hooks.sysfs = sysfs;
	hooks.copy_streaming = note_cpus;
	return all;
}

TEST(a_thread_copies_near_the_destination)
{
	unsigned int first;
	struct cpus all = two_nodes(&first);
	struct cpus here = only(first), there = all;
	struct context context = context_open(1);
	uint32_t a = dax_of(&context, "a", "0\n");
	uint32_t b = dax_of(&context, "b", "1\n");
	uint32_t nowhere = dax_of(&context, "nowhere", "-1\n");
	uint32_t unknown = dax_of(&context, "unknown", NULL);

	CPU_CLR_S(first, sizeof(there), &there.set);
	CHECK(equal(copy_between(&context, a, b, MIB), &there));
	CHECK(equal(copy_between(&context, b, a, MIB), &here));
	/* where only the source has a node, near that */
	CHECK(equal(copy_between(&context, b, nowhere, MIB), &there));
	CHECK(equal(copy_between(&context, a, unknown, MIB), &here));
	/* where nothing is known, and idle before, anywhere */
	wait_until_idle(context.shim);
	CHECK(equal(copy_between(&context, nowhere, unknown, MIB), &all));
	CHECK(equal(copy_between(&context, nowhere, b, MIB), &there));
	context_close(&context);
}

/* A move takes longer than what is small. */
TEST(a_thread_does_not_move_for_a_small_piece)
{
	unsigned int first;
	struct cpus all = two_nodes(&first);
	struct context context = context_open(1);
	uint32_t a = dax_of(&context, "a", "0\n");

	CHECK(equal(copy_between(&context, a, a, 255 * KIB), &all));
	context_close(&context);
}

/* All of them on the few CPUs of a node would be in each other's way. */
TEST(threads_stay_where_the_node_has_no_room_for_them)
{
	unsigned int first;
	struct cpus all = two_nodes(&first);
	struct context context = context_open(2);
	uint32_t a = dax_of(&context, "a", "0\n");

	CHECK(equal(copy_between(&context, a, a, MIB), &all));
	context_close(&context);
}

TEST(a_thread_stays_where_moving_does_not_help)
{
	static const char *const useless[] = {
		"\n",          /* memory without CPUs */
		"0-8191\n",    /* all there are */
		"8192-9000\n", "junk\n", "0-\n", "0;1\n", "-1\n", NULL,
	};
	unsigned int first;
	struct cpus all = two_nodes(&first);

	for (size_t n = 0; n < sizeof(useless) / sizeof(*useless); n++) {
		struct context context = context_open(1);
		char name[16];
		uint32_t dax;

		node_cpus[1] = useless[n];
		snprintf(name, sizeof(name), "dax%zu", n);
		dax = dax_of(&context, name, "1\n");
		CHECK(equal(copy_between(&context, dax, dax, MIB), &all));
		context_close(&context);
	}
}

/* Half a list would name other CPUs. */
TEST(a_file_of_sysfs_is_read_whole_or_not_at_all)
{
	char path[300], text[8];
	FILE *file;

	snprintf(path, sizeof(path), "%s/cpulist", scratch());
	CHECK(!sysfs_read(path, text, sizeof(text)));
	file = fopen(path, "w");
	CHECK(file && fputs("0-3,10\n", file) >= 0 && fflush(file) == 0);
	CHECK(sysfs_read(path, text, sizeof(text)) && strcmp(text, "0-3,10\n") == 0);
	CHECK(fputs("1\n", file) >= 0 && fclose(file) == 0);
	CHECK(!sysfs_read(path, text, sizeof(text)));
	CHECK(!sysfs_read(scratch(), text, sizeof(text)));
}
