// SPDX-License-Identifier: Apache-2.0
/*
 * The threads that copy, and in which order they take up work.
 *
 * Jobs of one priority take turns, a piece each. Between priorities the one
 * that has had the least for its weight is next ("stride scheduling",
 * Waldspurger and Weihl 1995): none starves, and a small job of low priority
 * waits for about one piece's worth of its fair share, not for large jobs of
 * high priority to end.
 */
#include <stdio.h>

#include "internal.h"

/* Weights 16 : 4 : 1, as what a byte costs each */
static const uint64_t stride[PRIORITIES] = {
	[DMA_SHIM_HIGH] = 1,
	[DMA_SHIM_NORMAL] = 4,
	[DMA_SHIM_LOW] = 16,
};

/* What a piece costs beside its bytes: about what 16 KiB take to copy */
#define PIECE_COST (UINT64_C(16) << 10)

/*
 * Sending a record costs more than copying a few kilobytes. While every thread
 * is busy and small pieces wait, a thread keeps its records back and sends
 * them together, but no longer than these few small pieces take.
 */
#define DEFER_PIECE_SIZE (UINT64_C(64) << 10)
#define DEFER_PIECES 32u

/*
 * Queue a job that has pieces to hand out. With the lock held. Wakes nobody: a
 * thread of the pool that goes on to a job's next step takes it up itself.
 */
void pool_add(struct job *job)
{
	struct pool *pool = &job->shim->pool;
	struct list *ready = &pool->ready[job->priority];

	/* Time without work gives no claim to more of it later. */
	if (list_empty(ready) && pool->pass[job->priority] < pool->clock)
		pool->pass[job->priority] = pool->clock;
	list_add_tail(&job->queue, ready);
}

/* Take a piece; false where there is none. With the lock held. */
static bool take(struct pool *pool, struct piece *piece)
{
	uint32_t best = PRIORITIES;
	struct job *job;

	for (uint32_t n = 0; n < PRIORITIES; n++) {
		if (list_empty(&pool->ready[n]))
			continue;
		if (best == PRIORITIES || pool->pass[n] < pool->pass[best])
			best = n;
	}
	if (best == PRIORITIES)
		return false;

	job = list_entry(pool->ready[best].next, struct job, queue);
	list_remove(&job->queue);
	if (step_take(job, piece))
		list_add_tail(&job->queue, &pool->ready[best]);
	pool->clock = pool->pass[best];
	pool->pass[best] += (piece->size + PIECE_COST) * stride[best];
	return true;
}

static bool is_waiting(const struct pool *pool)
{
	for (uint32_t n = 0; n < PRIORITIES; n++) {
		if (!list_empty(&pool->ready[n]))
			return true;
	}
	return false;
}

/* See to it that somebody takes up what waits. With the lock held. */
void pool_wake(struct pool *pool)
{
	if (pool->idle && is_waiting(pool))
		pthread_cond_signal(&pool->work);
}

static void *worker(void *argument)
{
	struct dma_shim *shim = argument;
	struct pool *pool = &shim->pool;
	unsigned int deferred = 0;
	struct piece piece;

	thread_yield_to_callers();
	pthread_mutex_lock(&shim->lock);
	for (;;) {
		bool all_busy;

		if (!take(pool, &piece)) {
			if (deferred) {
				deferred = 0;
				pthread_mutex_unlock(&shim->lock);
				outbox_send(&shim->outbox);
				pthread_mutex_lock(&shim->lock);
				continue;
			}
			if (pool->stop)
				break;
			pool->idle++;
			pthread_cond_wait(&pool->work, &shim->lock);
			pool->idle--;
			continue;
		}
		/* Each thread that finds more work than its own wakes another. */
		pool_wake(pool);
		all_busy = !pool->idle;
		pthread_mutex_unlock(&shim->lock);

		if (deferred && !(all_busy && deferred < DEFER_PIECES &&
				  piece.size <= DEFER_PIECE_SIZE)) {
			deferred = 0;
			outbox_send(&shim->outbox);
		}
		piece_run(&piece);

		pthread_mutex_lock(&shim->lock);
		step_piece_done(&piece);
		deferred++;
	}
	pthread_mutex_unlock(&shim->lock);
	return NULL;
}

/* Return: 0, -EAGAIN or -ENOMEM; what was started is stopped by pool_stop(). */
int pool_start(struct dma_shim *shim, uint32_t threads)
{
	struct pool *pool = &shim->pool;

	for (uint32_t n = 0; n < PRIORITIES; n++)
		list_init(&pool->ready[n]);
	pthread_cond_init(&pool->work, NULL);

	while (pool->thread_count < threads) {
		char name[24];
		int error;

		snprintf(name, sizeof(name), "dma-copy-%u", pool->thread_count);
		error = thread_start(&pool->threads[pool->thread_count], name,
				     worker, shim);
		if (error)
			return error;
		pool->thread_count++;
	}
	return 0;
}

/* Wait for the threads to end; no job may be in flight. */
void pool_stop(struct dma_shim *shim)
{
	struct pool *pool = &shim->pool;

	pthread_mutex_lock(&shim->lock);
	pool->stop = true;
	pthread_cond_broadcast(&pool->work);
	pthread_mutex_unlock(&shim->lock);

	for (uint32_t n = 0; n < pool->thread_count; n++)
		pthread_join(pool->threads[n], NULL);
	pthread_cond_destroy(&pool->work);
}
