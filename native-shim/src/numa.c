// SPDX-License-Identifier: Apache-2.0
/*
 * Which CPUs are near a device's memory.
 *
 * A CPU of another node copies at a fraction of the speed, above all where it
 * writes to persistent memory. So a thread moves, before it runs a piece, to
 * the node of the destination, or of the source where only that has one. It
 * stays there until a piece is for elsewhere: a move costs some tens of
 * microseconds, a piece far from home costs more.
 *
 * A thread may go anywhere for memory of which nothing is known, and where to
 * move would not help: all CPUs of ours are of that node, or, as with CXL
 * memory that has a node of its own, none.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/sysmacros.h>

#include "internal.h"

/* "0-3,8,10-11\n", with MAX_CPUS single CPUs */
#define LIST_SIZE (MAX_CPUS * 5)

/* Those of a list that are allowed; false where it is no list. */
static bool parse(const char *list, const struct cpus *allowed, struct cpus *near)
{
	char *next;

	*near = (struct cpus) { 0 };
	while (*list && *list != '\n') {
		unsigned long first = strtoul(list, &next, 10);
		unsigned long last = first;

		if (next == list)
			return false;
		list = next;
		if (*list == '-') {
			last = strtoul(++list, &next, 10);
			if (next == list)
				return false;
			list = next;
		}
		if (*list == ',')
			list++;
		for (unsigned long cpu = first; cpu <= last && cpu < MAX_CPUS; cpu++) {
			if (CPU_ISSET_S(cpu, sizeof(*allowed), &allowed->set))
				CPU_SET_S(cpu, sizeof(*near), &near->set);
		}
	}
	return true;
}

/* The node of a device in sysfs, or NUMA_ANYWHERE */
static int node_of(dev_t number)
{
	char path[64];
	char text[16];
	int node;

	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u/numa_node", major(number),
		 minor(number));
	if (!sysfs_read(path, text, sizeof(text)) || sscanf(text, "%d", &node) != 1 || node < 0)
		return NUMA_ANYWHERE;
	return node;
}

/* Find out where threads should be that copy from or to a device; see above. */
void numa_locate(struct device *device, dev_t number, const struct cpus *allowed)
{
	int node = node_of(number);
	unsigned int count;
	char path[64];
	char *list;

	device->node = NUMA_ANYWHERE;
	if (node == NUMA_ANYWHERE)
		return;
	list = malloc(LIST_SIZE);
	if (!list)
		return;
	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/cpulist", node);
	if (sysfs_read(path, list, LIST_SIZE) && parse(list, allowed, &device->near)) {
		count = cpus_count(&device->near);
		if (count && count < cpus_count(allowed))
			device->node = node;
	}
	free(list);
}

/**
 * numa_move() - have the calling thread be where it should for a job
 * @node: where it is
 *
 * Return: where it is now. That it may not go there is harmless.
 */
int numa_move(int node, const struct job *job)
{
	const struct device *near = job->destination_device;
	int wanted;

	if (!near || near->node == NUMA_ANYWHERE)
		near = job->source_device;
	wanted = near ? near->node : NUMA_ANYWHERE;
	if (wanted != node) {
		const struct cpus *cpus = wanted == NUMA_ANYWHERE ? &job->shim->allowed :
								    &near->near;

		sched_setaffinity(0, sizeof(*cpus), &cpus->set);
	}
	return wanted;
}
