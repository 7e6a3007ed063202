// SPDX-License-Identifier: Apache-2.0
/*
 * Which CPUs are near a device's memory.
 *
 * A CPU of another node copies at a fraction of the speed, above all if it
 * writes to persistent memory. So a thread moves, before it runs a large piece,
 * to the node of the destination, or of the source if only that has one. It
 * stays there for all that is small, or whose place does not matter, and may go
 * anywhere again when it has nothing to do: a move takes as long as copying some
 * hundred kilobytes. Jobs on several nodes take turns all the same, so that with
 * fewer threads than nodes each of their pieces costs a move.
 *
 * Where a device is does not matter if nothing is known of its node, or to move
 * there would not help: all CPUs of ours are of that node; or fewer than there
 * are threads, or, as with CXL memory that has a node of its own, none.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/sysmacros.h>

#include "../internal.h"

/* "0-3,8,10-11\n", with MAX_CPUS single CPUs */
#define LIST_SIZE (MAX_CPUS * 5)

/* Smaller pieces take less time than the move */
#define MOVE_MIN (UINT64_C(256) << 10)

/* Those of a list that are allowed; false if it is no list. */
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
void numa_locate(struct device *device, dev_t number, const struct dma_shim *shim)
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
	if (sysfs_read(path, list, LIST_SIZE) &&
	    parse(list, &shim->allowed, &device->near)) {
		count = cpus_count(&device->near);
		if (count >= shim->pool.thread_count && count < cpus_count(&shim->allowed))
			device->node = node;
	}
	free(list);
}

static bool move(const struct cpus *cpus)
{
	return !sched_setaffinity(0, sizeof(*cpus), &cpus->set);
}

/**
 * numa_move() - have the calling thread, of the pool, be where it should for a piece
 * @node: where it is
 *
 * Return: where it is now. That it may not go there is harmless.
 */
int numa_move(int node, const struct piece *piece)
{
	const struct device *near = piece->job->destination_device;

	if (!near || near->node == NUMA_ANYWHERE)
		near = piece->job->source_device;
	/* What is written back is in the caches of where it was copied, if anywhere. */
	if (!near || near->node == NUMA_ANYWHERE || near->node == node ||
	    piece->size < MOVE_MIN || piece->step == STEP_WRITEBACK)
		return node;
	return move(&near->near) ? near->node : node;
}

/* Let the calling thread be anywhere that it might be at the start. */
void numa_leave(const struct dma_shim *shim)
{
	move(&shim->allowed);
}
