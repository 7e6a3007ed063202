// SPDX-License-Identifier: Apache-2.0
/*
 * The threads that wait for disks, so that no copying thread does.
 *
 * A file is synced window by window, each by one msync() that spans all that
 * was written there: clean pages in between cost nothing, while each further
 * call costs a barrier on the disk. Jobs that want the same window of the same
 * device share a call, as a data base commits a group of transactions.
 *
 * Calls on one device follow one another. The kernel reports a failed write
 * once for each open file, to the first that syncs, whichever job's bytes were
 * lost; so every job that was in flight on the device at that moment fails
 * with it. That needs the order "call returns, failure is counted, next call
 * begins".
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../internal.h"

/* What a cancelled job waits for at most; a disk takes 0.1 to 1 s to write it. */
#define WINDOW (UINT64_C(64) << 20)

static int by_destination(const void *left, const void *right)
{
	const struct dma_shim_segment *a = left;
	const struct dma_shim_segment *b = right;

	return (a->dst_offset > b->dst_offset) - (a->dst_offset < b->dst_offset);
}

/* Nobody reads the source offsets any more: they keep each segment's index. */
static void sort_segments(struct job *job)
{
	bool sorted = true;

	for (uint32_t n = 0; n < job->segment_count; n++) {
		job->segments[n].src_offset = n;
		if (n && by_destination(&job->segments[n - 1], &job->segments[n]) > 0)
			sorted = false;
	}
	if (!sorted)
		qsort(job->segments, job->segment_count, sizeof(*job->segments),
		      by_destination);
}

static uint64_t end_of(const struct dma_shim_segment *segment)
{
	return segment->dst_offset + segment->size;
}

/* Let the job's next window begin at the first byte that is not synced. */
static void plan_window(struct job *job)
{
	const struct dma_shim_segment *segments = job->segments;
	uint32_t n = job->segment;
	uint64_t limit;

	if (job->position < segments[n].dst_offset)
		job->position = segments[n].dst_offset;
	limit = (job->position / WINDOW + 1) * WINDOW;
	job->window_end = job->position;
	for (; n < job->segment_count && segments[n].dst_offset < limit; n++) {
		uint64_t end = end_of(&segments[n]);

		if (end > limit)
			end = limit;
		if (end > job->window_end)
			job->window_end = end;
	}
}

static void window_done(struct job *job)
{
	job->position = job->window_end;
	while (job->segment < job->segment_count &&
	       end_of(&job->segments[job->segment]) <= job->position)
		job->segment++;
}

/* Let a device have its turn, if it is due one. With the lock held. */
static void queue_device(struct syncer *syncer, struct device *device)
{
	if (device->syncing || list_empty(&device->sync_jobs) ||
	    !list_empty(&device->sync_turn))
		return;
	list_add_tail(&device->sync_turn, &syncer->devices);
	if (syncer->idle)
		pthread_cond_signal(&syncer->work);
}

/* Queue a job for its next window. With the lock held. */
static void add(struct job *job)
{
	struct syncer *syncer = &job->shim->syncer;
	struct device *device = job->destination_device;

	if (!job->sorted && job->segment_count > 1) {
		list_add_tail(&job->queue, &syncer->unsorted);
		if (syncer->idle)
			pthread_cond_signal(&syncer->work);
		return;
	}
	if (!job->sorted) {
		sort_segments(job);
		job->sorted = true;
	}
	plan_window(job);
	list_add_tail(&job->queue, &device->sync_jobs);
	queue_device(syncer, device);
}

static int sync_range(const struct device *device, uint64_t start, uint64_t end)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	struct stat stat;
	int result;

	start -= start % page;
	do
		result = msync(device->base + start, end - start, MS_SYNC);
	while (result && errno == EINTR);
	if (result)
		return errno == ENOSPC || errno == EDQUOT ? -ENOSPC : -EIO;

	/* Pages that a shorter file no longer has sync without complaint. */
	if (fstat(device->descriptor, &stat))
		return -EIO;
	return (uint64_t)stat.st_size < device->size ? -ENXIO : 0;
}

/* Sort a job's segments; with the lock held, which is let go meanwhile. */
static void prepare(struct dma_shim *shim, struct job *job)
{
	list_remove(&job->queue);
	job->running++;
	pthread_mutex_unlock(&shim->lock);
	sort_segments(job);
	pthread_mutex_lock(&shim->lock);
	job->running--;
	job->sorted = true;
	job_advance(job);
}

/* Sync the window of the job that has waited longest, for all that want it. */
static void sync_window(struct dma_shim *shim, struct device *device)
{
	uint64_t window = UINT64_MAX;
	uint64_t start = UINT64_MAX;
	uint64_t end = 0;
	uint64_t began, ended;
	struct list *node, *after;
	struct job *batch = NULL;
	struct job *job;
	int status;

	list_remove(&device->sync_turn);
	list_for_each_safe(node, after, &device->sync_jobs) {
		job = list_entry(node, struct job, queue);
		if (window == UINT64_MAX)
			window = job->position / WINDOW;
		if (job->position / WINDOW != window)
			continue;
		list_remove(&job->queue);
		job->running++;
		job->batch_next = batch;
		batch = job;
		if (job->position < start)
			start = job->position;
		if (job->window_end > end)
			end = job->window_end;
	}
	/* Cancellation may have taken away what the device had its turn for. */
	if (!batch)
		return;
	device->syncing = true;
	pthread_mutex_unlock(&shim->lock);

	began = now_ns();
	status = sync_range(device, start, end);
	ended = now_ns();

	pthread_mutex_lock(&shim->lock);
	device->syncing = false;
	if (status) {
		device->sync_errors++;
		device->sync_error = status;
	}
	queue_device(&shim->syncer, device);
	while ((job = batch)) {
		batch = job->batch_next;
		job->running--;
		job_took(job, began, ended);
		if (job->sync_errors != device->sync_errors)
			job_fail(job, device->sync_error, job_at(job));
		else
			window_done(job);
		job_advance(job);
	}
}

static void *sync_worker(void *argument)
{
	struct dma_shim *shim = argument;
	struct syncer *syncer = &shim->syncer;

	thread_lower_priority();
	pthread_mutex_lock(&shim->lock);
	for (;;) {
		if (!list_empty(&syncer->unsorted)) {
			prepare(shim, list_entry(syncer->unsorted.next,
						 struct job, queue));
		} else if (!list_empty(&syncer->devices)) {
			sync_window(shim, list_entry(syncer->devices.next,
						     struct device, sync_turn));
		} else if (syncer->stop) {
			break;
		} else {
			syncer->idle++;
			pthread_cond_wait(&syncer->work, &shim->lock);
			syncer->idle--;
			continue;
		}
		pthread_mutex_unlock(&shim->lock);
		outbox_send(&shim->outbox);
		pthread_mutex_lock(&shim->lock);
	}
	pthread_mutex_unlock(&shim->lock);
	return NULL;
}

/* Return: 0, -EAGAIN or -ENOMEM; what was started is stopped by syncer_stop(). */
int syncer_start(struct dma_shim *shim)
{
	struct syncer *syncer = &shim->syncer;

	syncer->add = add;
	list_init(&syncer->unsorted);
	list_init(&syncer->devices);
	pthread_cond_init(&syncer->work, NULL);
	while (syncer->thread_count < SYNC_THREADS) {
		char name[24];
		int error;

		snprintf(name, sizeof(name), "dma-sync-%u", syncer->thread_count);
		error = thread_start(&syncer->threads[syncer->thread_count], name,
				     sync_worker, shim);
		if (error)
			return error;
		syncer->thread_count++;
	}
	return 0;
}

/* Wait for the threads to end; no job may be in flight. */
void syncer_stop(struct dma_shim *shim)
{
	struct syncer *syncer = &shim->syncer;

	pthread_mutex_lock(&shim->lock);
	syncer->stop = true;
	pthread_cond_broadcast(&syncer->work);
	pthread_mutex_unlock(&shim->lock);

	for (uint32_t n = 0; n < syncer->thread_count; n++)
		pthread_join(syncer->threads[n], NULL);
	pthread_cond_destroy(&syncer->work);
}
