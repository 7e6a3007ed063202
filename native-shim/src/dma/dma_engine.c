// SPDX-License-Identifier: Apache-2.0
/*
 * The engine that copies with the kernel module's DMA channels.
 *
 * One thread takes pieces as pool.c's do, submits them, and sleeps until there
 * are completions or something new to do. What the kernel has at once is
 * limited, so that a piece of high priority waits for little: who has come
 * first there is served first.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "dma.h"

/*
 * What the kernel has at once: four pieces for each of eight channels, which is
 * what a processor's I/OAT has. It takes 3 to 6 ms.
 */
#define WINDOW (32 * PIECE_SIZE)

/* What is submitted before the thread looks for completions again */
#define SUBMIT_BATCH 32u

/* What an independent job copies before its checksums are made */
#define RUN_SIZE (64 * PIECE_SIZE)

/* Have the thread look what there is to do. With the lock held. */
static void wake(struct dma *dma)
{
	uint64_t one = 1;

	if (!dma->asleep)
		return;
	dma->asleep = false;
	while (write(dma->wake, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static bool reaches(const struct device *source, const struct device *destination)
{
	return source && source->in_dma && destination && destination->in_dma;
}

static uint32_t run_of_independent(const struct job *job)
{
	uint32_t next = job->segment;
	uint64_t size = 0;

	while (next < job->segment_count && size < RUN_SIZE)
		size += job->segments[next++].size;
	return next - job->segment;
}

/*
 * If a later segment may overwrite what an earlier one reads, each is
 * checked before the next is copied.
 */
static void begin(struct job *job)
{
	struct dma *dma = job->shim->dma;
	bool checks = job->flags & (DMA_SHIM_JOB_CHECKSUM | DMA_SHIM_JOB_VERIFY);

	if (job->independent)
		job->run_length = run_of_independent(job);
	else if (checks || !job_plan_run(job, job->segment_count))
		job->run_length = 1;
	if (job->deadline < dma->deadline)
		dma->deadline = job->deadline;
	turns_add(&dma->turns, job);
	wake(dma);
}

static void withdraw(struct job *job)
{
	struct dma *dma = job->shim->dma;

	list_remove(&job->queue);
	if (!job->running)
		return;
	dma->ending = true;
	wake(dma);
}

/* The hardware may write into CPU caches. */
static bool uncached(const struct job *job, uint64_t size)
{
	(void)job;
	(void)size;
	return false;
}

static void retime(struct job *job)
{
	struct dma *dma = job->shim->dma;

	if (job->deadline < dma->deadline)
		dma->deadline = job->deadline;
	wake(dma);
}

const struct engine_ops dma_engine = {
	.reaches = reaches,
	.begin = begin,
	.withdraw = withdraw,
	.uncached = uncached,
	.retime = retime,
};

/* Fail the jobs that wait and whose time is over. */
static void expire(struct dma *dma, uint64_t now)
{
	struct list *node, *after;

	if (now < dma->deadline)
		return;
	dma->deadline = UINT64_MAX;
	for (uint32_t n = 0; n < PRIORITIES; n++) {
		list_for_each_safe(node, after, &dma->turns.ready[n]) {
			struct job *job = list_entry(node, struct job, queue);

			if (now < job->deadline) {
				if (job->deadline < dma->deadline)
					dma->deadline = job->deadline;
				continue;
			}
			job_fail_dma(job, -ETIMEDOUT, job->next,
				     DMA_SHIM_DMA_ERROR_TIMEOUT, IOAT_DMA_ANY_CHANNEL);
			if (!job->running)
				job_advance(job);
		}
	}
}

static void earlier(uint64_t *when, uint64_t than)
{
	if (than < *when)
		*when = than;
}

/* Look after the requests of one list that the kernel does not have. */
static void tend_list(struct dma *dma, struct list *list, uint64_t now, uint64_t *next)
{
	struct list *node, *after;

	list_for_each_safe(node, after, list) {
		struct request *request = list_entry(node, struct request, node);

		if (request->state == REQUEST_REFUSED) {
			request_refused(dma, request);
		} else if (!request_drop(dma, request, now)) {
			earlier(next, request->piece.job->deadline);
			if (request->state != REQUEST_PAUSED)
				continue;
			if (request->resume <= now)
				request_resume(dma, request);
			else
				earlier(next, request->resume);
		}
	}
}

/* Note which requests the kernel is to stop. */
static void collect_cancels(struct dma *dma)
{
	dma->cancel_count = 0;
	if (!dma->ending)
		return;
	dma->ending = false;
	for (uint32_t n = 0; n < DMA_REQUESTS; n++) {
		struct request *request = &dma->requests[n];

		if (request->state != REQUEST_SENT || request->canceled ||
		    !job_is_ending(request->piece.job))
			continue;
		request->canceled = true;
		dma->cancels[dma->cancel_count++] = request->tag;
	}
}

/**
 * plan() - decide what to do next, with the lock held
 *
 * Return: when to look again, at the latest; 0 is at once.
 */
static uint64_t plan(struct dma *dma)
{
	uint64_t now = now_ns();
	uint64_t next = UINT64_MAX;
	uint32_t taken = 0;

	/* What is resumed or ends in one list may be of concern in those after. */
	tend_list(dma, &dma->refused, now, &next);
	tend_list(dma, &dma->paused, now, &next);
	tend_list(dma, &dma->ready, now, &next);
	expire(dma, now);
	if (dma->stalled <= now)
		dma->stalled = 0;
	while (!dma->stalled && dma->window < WINDOW && taken < SUBMIT_BATCH &&
	       request_take(dma))
		taken++;
	collect_cancels(dma);
	earlier(&next, dma->deadline);
	return taken == SUBMIT_BATCH || dma->ending ? 0 : next;
}

/* Without the lock. */
static void submit_ready(struct dma *dma)
{
	struct list *node, *after;

	list_for_each_safe(node, after, &dma->ready) {
		if (dma->stalled)
			return;
		request_submit(dma, list_entry(node, struct request, node));
	}
}

/*
 * Without the lock: sleep until @next, a completion or a call of wake().
 * Return: how many completions there are in dma->completions.
 */
static uint32_t wait_for_events(struct dma *dma, uint64_t next)
{
	struct pollfd events[] = {
		{ .fd = dma->module, .events = POLLIN },
		{ .fd = dma->wake, .events = POLLIN },
	};
	uint64_t now = now_ns();
	int timeout = -1;
	uint64_t count;

	if (dma->stalled)
		earlier(&next, dma->stalled);
	if (next <= now || !list_empty(&dma->refused))
		timeout = 0;
	else if (next != UINT64_MAX)
		timeout = (next - now) / 1000000 < 60000 ?
			  (int)((next - now) / 1000000) + 1 : 60000;
	if (poll(events, 2, timeout) <= 0)
		return 0;
	if (events[1].revents)
		while (read(dma->wake, &count, sizeof(count)) < 0 && errno == EINTR)
			;
	return events[0].revents ? module_read(dma) : 0;
}

static void *dma_main(void *argument)
{
	struct dma *dma = argument;
	struct dma_shim *shim = dma->shim;

	pthread_mutex_lock(&shim->lock);
	while (!dma->stop) {
		uint64_t next = plan(dma);
		uint32_t count;

		pool_wake(&shim->pool);
		dma->asleep = true;
		pthread_mutex_unlock(&shim->lock);

		outbox_send(&shim->outbox);
		submit_ready(dma);
		for (uint32_t n = 0; n < dma->cancel_count; n++)
			module_cancel(dma->module, dma->cancels[n]);
		count = wait_for_events(dma, next);
		if (count)
			dma->stalled = 0;

		pthread_mutex_lock(&shim->lock);
		dma->asleep = false;
		for (uint32_t n = 0; n < count; n++)
			request_completed(dma, &dma->completions[n]);
	}
	pthread_mutex_unlock(&shim->lock);
	return NULL;
}

static void destroy(struct dma *dma)
{
	if (dma->wake >= 0)
		close(dma->wake);
	if (dma->module >= 0)
		close(dma->module);
	free(dma);
}

/* Wait for the thread to end; no job may be in flight. */
void dma_stop(struct dma *dma)
{
	struct dma_shim *shim = dma->shim;

	pthread_mutex_lock(&shim->lock);
	dma->stop = true;
	wake(dma);
	pthread_mutex_unlock(&shim->lock);
	pthread_join(dma->thread, NULL);
	destroy(dma);
}

/* A device is to be closed that no job names. */
void dma_forget(struct dma *dma, const struct device *device)
{
	module_forget(dma->module, device->dma_region);
}

static struct dma *create(struct dma_shim *shim)
{
	struct dma *dma = calloc(1, sizeof(*dma));

	if (!dma)
		return NULL;
	dma->shim = shim;
	dma->module = -1;
	dma->wake = -1;
	dma->deadline = UINT64_MAX;
	turns_init(&dma->turns);
	list_init(&dma->free);
	list_init(&dma->ready);
	list_init(&dma->paused);
	list_init(&dma->refused);
	for (uint32_t n = 0; n < DMA_REQUESTS; n++)
		list_add_tail(&dma->requests[n].node, &dma->free);
	return dma;
}

static int start(struct dma *dma, const char *path, struct dma_shim_dma_info *found)
{
	dma->module = module_open(path, found, &dma->record);
	if (dma->module < 0)
		return dma->module;
	dma->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (dma->wake < 0)
		return -errno;
	return thread_start(&dma->thread, "dma-engine", dma_main, dma);
}

PUBLIC int dma_shim_dma_open(struct dma_shim *shim, const char *path,
			     struct dma_shim_dma_info *info)
{
	struct dma_shim_dma_info found;
	struct dma *dma;
	bool busy;
	int error;

	if (!shim || !path || !info)
		return -EINVAL;
	dma = create(shim);
	if (!dma)
		return -ENOMEM;
	error = start(dma, path, &found);
	if (error) {
		destroy(dma);
		return error;
	}

	pthread_mutex_lock(&shim->lock);
	busy = shim->dma;
	if (!busy)
		shim->dma = dma;
	pthread_mutex_unlock(&shim->lock);
	if (busy) {
		dma_stop(dma);
		return -EBUSY;
	}
	*info = found;
	return 0;
}
