// SPDX-License-Identifier: Apache-2.0
/* The threads that copy, checksum and write back; and callers who do so themselves. */
#include <stdio.h>

#include "../internal.h"

/*
 * Sending a record costs more than copying a few kilobytes. While every thread
 * is busy and small pieces wait, a thread keeps its records back and sends
 * them together, but no longer than these few small pieces take.
 */
#define DEFER_PIECE_SIZE (UINT64_C(64) << 10)
#define DEFER_PIECES 32u

/* Whether work waits that an idle thread could take up. With the lock held. */
bool pool_wants(const struct pool *pool)
{
	return pool->idle && turns_waiting(&pool->turns);
}

/* Wake an idle thread if work waits. With the lock held. */
void pool_wake(struct pool *pool)
{
	if (pool_wants(pool))
		pthread_cond_signal(&pool->work);
}

/**
 * pool_help() - run a job that was just submitted, as far as that is brief
 * @help: what the job costs is taken off
 * @over: where its DONE record goes if it ends here
 *
 * Waking a thread costs as much as copying some ten kilobytes, and on a machine
 * with few CPUs the thread takes the caller's. So the caller runs the job itself,
 * unless a thread is at work or other work is due. The cost is estimated before;
 * a job that takes longer, because its pages had to be found, is the last one.
 * Called with the lock held, which is released while a piece runs.
 *
 * Return: whether the job has ended, and was freed.
 */
bool pool_help(struct job *job, struct help *help, struct dma_shim_completion *over)
{
	struct dma_shim *shim = job->shim;
	struct pool *pool = &shim->pool;
	struct piece piece;

	if (!job->brief || help->left < job->brief)
		return false;
	help->left -= job->brief;
	over->kind = 0;
	while (pool->idle == pool->thread_count && turns_next(&pool->turns) == job) {
		job->over = over;
		step_take(&pool->turns, &piece);
		pthread_mutex_unlock(&shim->lock);
		piece_run(&piece);
		pthread_mutex_lock(&shim->lock);
		step_piece_done(&piece);
		if (piece.ended >= help->until)
			help->left = 0;
		if (over->kind == DMA_SHIM_DONE)
			return true;
		job->over = NULL;
	}
	return false;
}

static void *worker(void *argument)
{
	struct dma_shim *shim = argument;
	struct pool *pool = &shim->pool;
	unsigned int deferred = 0;
	int node = NUMA_ANYWHERE;
	struct piece piece;

	thread_lower_priority();
	pthread_mutex_lock(&shim->lock);
	for (;;) {
		bool all_busy;

		if (!step_take(&pool->turns, &piece)) {
			if (deferred || node != NUMA_ANYWHERE) {
				pthread_mutex_unlock(&shim->lock);
				if (deferred)
					outbox_send(&shim->outbox);
				if (node != NUMA_ANYWHERE)
					numa_leave(shim);
				pthread_mutex_lock(&shim->lock);
				deferred = 0;
				node = NUMA_ANYWHERE;
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
		node = numa_move(node, &piece);
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

	turns_init(&pool->turns);
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
