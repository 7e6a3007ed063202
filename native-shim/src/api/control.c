// SPDX-License-Identifier: Apache-2.0
/* What a caller may do to jobs in flight: cancel them, change their time. */
#include <errno.h>

#include "../internal.h"

PUBLIC int dma_shim_cancel(struct dma_shim *shim, uint64_t tag)
{
	struct job *job;

	if (!shim)
		return -EINVAL;
	pthread_mutex_lock(&shim->lock);
	job = tag_find(shim, tag);
	if (job)
		job_cancel(job);
	pthread_mutex_unlock(&shim->lock);
	if (!job)
		return -ENOENT;
	outbox_send(&shim->outbox);
	return 0;
}

PUBLIC int dma_shim_set_timeout(struct dma_shim *shim, uint64_t tag, uint32_t timeout_ms)
{
	struct job *job;

	if (!shim)
		return -EINVAL;
	pthread_mutex_lock(&shim->lock);
	job = tag_find(shim, tag);
	if (job) {
		job->deadline = job_deadline(timeout_ms);
		if (job->engine->retime)
			job->engine->retime(job);
	}
	pthread_mutex_unlock(&shim->lock);
	return job ? 0 : -ENOENT;
}

PUBLIC int dma_shim_is_running(struct dma_shim *shim, uint64_t tag)
{
	struct job *job;
	bool running;

	if (!shim)
		return 0;
	pthread_mutex_lock(&shim->lock);
	job = tag_find(shim, tag);
	running = job && job->running;
	pthread_mutex_unlock(&shim->lock);
	return running;
}

void jobs_cancel_all(struct dma_shim *shim)
{
	for (uint64_t n = 0; n < shim->tags_size; n++) {
		struct job *job = shim->tags[n];

		while (job) {
			struct job *next = job->tag_next;

			job_cancel(job);
			job = next;
		}
	}
}
