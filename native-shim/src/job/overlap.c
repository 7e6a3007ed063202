// SPDX-License-Identifier: Apache-2.0
/* Whether the order of a job's segments matters. */
#include <errno.h>
#include <stdlib.h>

#include "../internal.h"

struct range {
	uint64_t start;
	uint64_t end;
};

static int by_start(const void *left, const void *right)
{
	const struct range *a = left;
	const struct range *b = right;

	return (a->start > b->start) - (a->start < b->start);
}

static bool disjoint(const struct range *ranges, uint32_t count)
{
	for (uint32_t n = 1; n < count; n++) {
		if (ranges[n].start < ranges[n - 1].end)
			return false;
	}
	return true;
}

/* @writes are disjoint, so their ends are in order as well. */
static bool apart(const struct range *reads, const struct range *writes, uint32_t count)
{
	uint32_t at = 0;

	for (uint32_t n = 0; n < count; n++) {
		while (at < count && writes[at].end <= reads[n].start)
			at++;
		if (at < count && writes[at].start < reads[n].end)
			return false;
	}
	return true;
}

/**
 * segments_independent() - whether no segment touches bytes that another writes
 * @segments:    of which none overlaps itself
 * @count:       of those
 * @same_device: they are read where they are written
 * @independent: the answer
 *
 * Then they may be copied in any order, at the same time, and again.
 *
 * Return: 0 or -ENOMEM.
 */
int segments_independent(const struct dma_shim_segment *segments, uint32_t count,
			 bool same_device, bool *independent)
{
	struct range *writes, *reads;

	*independent = true;
	if (count == 1)
		return 0;
	writes = malloc(2 * count * sizeof(*writes));
	if (!writes)
		return -ENOMEM;
	reads = writes + count;
	for (uint32_t n = 0; n < count; n++) {
		const struct dma_shim_segment *segment = &segments[n];

		writes[n].start = segment->dst_offset;
		writes[n].end = segment->dst_offset + segment->size;
		reads[n].start = segment->src_offset;
		reads[n].end = segment->src_offset + segment->size;
	}
	qsort(writes, count, sizeof(*writes), by_start);
	*independent = disjoint(writes, count);
	if (*independent && same_device) {
		qsort(reads, count, sizeof(*reads), by_start);
		*independent = apart(reads, writes, count);
	}
	free(writes);
	return 0;
}
