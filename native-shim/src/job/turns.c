// SPDX-License-Identifier: Apache-2.0
/*
 * The order in which an engine takes pieces of jobs.
 *
 * Jobs of one priority take turns, a piece each. Between priorities the one
 * that has had the least for its weight is next ("stride scheduling",
 * Waldspurger and Weihl 1995): none starves, and a small job of low priority
 * waits for about one piece's worth of its fair share, not for large jobs of
 * high priority to end.
 */
#include "../internal.h"

/* Weights 16 : 4 : 1, as what a byte costs each */
static const uint64_t stride[PRIORITIES] = {
	[DMA_SHIM_HIGH] = 1,
	[DMA_SHIM_NORMAL] = 4,
	[DMA_SHIM_LOW] = 16,
};

/* What a piece costs besides its bytes: about as much as copying 16 KiB */
#define PIECE_COST (UINT64_C(16) << 10)

void turns_init(struct turns *turns)
{
	for (uint32_t n = 0; n < PRIORITIES; n++)
		list_init(&turns->ready[n]);
}

/* Queue a job that has pieces to hand out. */
void turns_add(struct turns *turns, struct job *job)
{
	struct list *ready = &turns->ready[job->priority];

	/* Time without work gives no claim to more of it later. */
	if (list_empty(ready) && turns->pass[job->priority] < turns->clock)
		turns->pass[job->priority] = turns->clock;
	list_add_tail(&job->queue, ready);
}

/* The job whose turn it is, NULL if there is none */
struct job *turns_next(const struct turns *turns)
{
	uint32_t best = PRIORITIES;

	for (uint32_t n = 0; n < PRIORITIES; n++) {
		if (list_empty(&turns->ready[n]))
			continue;
		if (best == PRIORITIES || turns->pass[n] < turns->pass[best])
			best = n;
	}
	if (best == PRIORITIES)
		return NULL;
	return list_entry(turns->ready[best].next, struct job, queue);
}

/* The job whose turn it was has handed out a piece of that size; whether it has more */
void turns_took(struct turns *turns, struct job *job, uint64_t size, bool more)
{
	uint32_t priority = job->priority;

	list_remove(&job->queue);
	if (more)
		list_add_tail(&job->queue, &turns->ready[priority]);
	turns->clock = turns->pass[priority];
	turns->pass[priority] += (size + PIECE_COST) * stride[priority];
}

/* Whether anything waits. */
bool turns_waiting(const struct turns *turns)
{
	return turns_next(turns);
}
