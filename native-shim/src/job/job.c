// SPDX-License-Identifier: Apache-2.0
/* Jobs in flight: the table of tags, and their end. */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "../internal.h"

#define TAGS_MIN UINT64_C(256)

/* Tags are often consecutive or have their entropy on top: mix them. */
static struct job **tag_bucket(const struct dma_shim *shim, uint64_t tag)
{
	uint64_t hash = tag * UINT64_C(0x9e3779b97f4a7c15);

	return &shim->tags[(hash >> 32) & (shim->tags_size - 1)];
}

/* The table of tags is the lock's. */
struct job *tag_find(const struct dma_shim *shim, uint64_t tag)
{
	struct job *job = shim->tags_size ? *tag_bucket(shim, tag) : NULL;

	while (job && job->tag != tag)
		job = job->tag_next;
	return job;
}

void tag_insert(struct dma_shim *shim, struct job *job)
{
	struct job **bucket = tag_bucket(shim, job->tag);

	job->tag_next = *bucket;
	*bucket = job;
}

static void tag_remove(struct dma_shim *shim, const struct job *job)
{
	struct job **link = tag_bucket(shim, job->tag);

	while (*link != job)
		link = &(*link)->tag_next;
	*link = job->tag_next;
}

/* Make room for that many, with short chains. Return: 0 or -ENOMEM. */
int tags_reserve(struct dma_shim *shim, uint64_t jobs)
{
	struct job **old = shim->tags;
	uint64_t old_size = shim->tags_size;
	uint64_t size = old_size ? old_size : TAGS_MIN;
	struct job **tags;

	while (size < jobs)
		size *= 2;
	if (size == old_size)
		return 0;
	tags = calloc(size, sizeof(*tags));
	if (!tags)
		return -ENOMEM;
	shim->tags = tags;
	shim->tags_size = size;
	for (uint64_t n = 0; n < old_size; n++) {
		struct job *job = old[n];

		while (job) {
			struct job *next = job->tag_next;

			tag_insert(shim, job);
			job = next;
		}
	}
	free(old);
	return 0;
}

/* Of one that was never in flight, or is not any more */
void job_free(struct job *job)
{
	if (job->socket >= 0) {
		/* close() alone would leave it in the set: the caller's descriptor keeps the file. */
		epoll_ctl(job->shim->streams.epoll, EPOLL_CTL_DEL, job->socket, NULL);
		close(job->socket);
	}
	free(job);
}

/* The end of a job; frees it. With the lock held. */
void job_retire(struct job *job)
{
	struct dma_shim *shim = job->shim;

	tag_remove(shim, job);
	device_put(job->source_device);
	device_put(job->destination_device);
	outbox_done(&shim->outbox, job);
	job_free(job);
	if (--shim->jobs == 0)
		pthread_cond_broadcast(&shim->drained);
}

/*
 * Return: the time at which a timeout that begins now expires, as now_ns() counts; UINT64_MAX
 * for a timeout of 0, which never does.
 */
uint64_t job_deadline(uint32_t timeout_ms)
{
	return timeout_ms ? now_ns() + timeout_ms * UINT64_C(1000000) : UINT64_MAX;
}
