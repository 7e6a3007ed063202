// SPDX-License-Identifier: Apache-2.0
/* Jobs: acceptance, the table of tags, cancellation, and their end. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define TAGS_MIN UINT64_C(256)
#define ALL_FLAGS \
	(DMA_SHIM_JOB_FLUSH | DMA_SHIM_JOB_VERIFY | DMA_SHIM_JOB_CHECKSUM)

/* Tags are often consecutive or have their entropy on top: mix them. */
static struct job **tag_bucket(const struct dma_shim *shim, uint64_t tag)
{
	uint64_t hash = tag * UINT64_C(0x9e3779b97f4a7c15);

	return &shim->tags[(hash >> 32) & (shim->tags_size - 1)];
}

static struct job *tag_find(const struct dma_shim *shim, uint64_t tag)
{
	struct job *job = *tag_bucket(shim, tag);

	while (job && job->tag != tag)
		job = job->tag_next;
	return job;
}

static void tag_insert(struct dma_shim *shim, struct job *job)
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

/* Keep chains short. Return: 0 or -ENOMEM. */
static int tags_reserve(struct dma_shim *shim, uint64_t jobs)
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

static int check_fields(const struct dma_shim_job *job,
			const struct dma_shim_segment *segments, const void *memory)
{
	bool has_memory = job->source == DMA_SHIM_MEMORY ||
			  job->destination == DMA_SHIM_MEMORY;

	if (job->reserved || job->priority >= PRIORITIES || job->flags & ~ALL_FLAGS ||
	    !job->segment_count || job->segment_count > DMA_SHIM_MAX_SEGMENTS ||
	    !segments || job->source == DMA_SHIM_NOWHERE)
		return -EINVAL;
	if (job->engine != DMA_SHIM_ENGINE_CPU && job->engine != DMA_SHIM_ENGINE_DMA)
		return -EINVAL;

	if (has_memory != (job->memory_size != 0) || (has_memory && !memory))
		return -EINVAL;
	if (has_memory && (uintptr_t)memory + job->memory_size < job->memory_size)
		return -EINVAL;

	switch (job->destination) {
	case DMA_SHIM_NOWHERE:
		/* A job that writes nothing and reports nothing is a mistake. */
		if (job->flags != DMA_SHIM_JOB_CHECKSUM)
			return -EINVAL;
		break;
	case DMA_SHIM_MEMORY:
		if (job->flags & DMA_SHIM_JOB_FLUSH)
			return -EINVAL;
		break;
	}
	return 0;
}

static bool outside(uint64_t offset, uint64_t size, uint64_t limit)
{
	return offset > limit || size > limit - offset;
}

static int check_segments(const struct dma_shim_job *job,
			  const struct dma_shim_segment *segments,
			  uint64_t source_size, uint64_t destination_size)
{
	bool same = job->source == job->destination;
	bool nowhere = job->destination == DMA_SHIM_NOWHERE;

	for (uint32_t n = 0; n < job->segment_count; n++) {
		uint64_t from = segments[n].src_offset;
		uint64_t to = segments[n].dst_offset;
		uint64_t size = segments[n].size;

		if (!size)
			return -EINVAL;
		if (outside(from, size, source_size) ||
		    (!nowhere && outside(to, size, destination_size)))
			return -ERANGE;
		if (same && (from > to ? from - to : to - from) < size)
			return -EINVAL;
	}
	return 0;
}

/* Take part in the device; NULL where there is none. With the lock held. */
static struct device *device_get(struct dma_shim *shim, uint32_t handle)
{
	struct device *device;

	if (handle >= DMA_SHIM_MAX_DEVICES)
		return NULL;
	device = shim->devices[handle];
	if (device)
		device->users++;
	return device;
}

static void device_put(struct device *device)
{
	if (device)
		device->users--;
}

/* The devices that the job names, as NULL where it names none */
static int get_devices(struct dma_shim *shim, const struct dma_shim_job *job,
		       struct device **source, struct device **destination)
{
	int error = 0;

	*source = NULL;
	*destination = NULL;
	pthread_mutex_lock(&shim->lock);
	if (job->source != DMA_SHIM_MEMORY) {
		*source = device_get(shim, job->source);
		if (!*source)
			error = -EBADF;
	}
	if (!error && job->destination < DMA_SHIM_MEMORY) {
		*destination = device_get(shim, job->destination);
		if (!*destination) {
			device_put(*source);
			error = -EBADF;
		}
	}
	pthread_mutex_unlock(&shim->lock);
	return error;
}

/* The last that can fail; with the lock held. */
static int admit(struct dma_shim *shim, struct job *job)
{
	int error;

	error = tags_reserve(shim, shim->jobs + 1);
	if (error)
		return error;
	if (tag_find(shim, job->tag))
		return -EEXIST;
	error = outbox_reserve(&shim->outbox, shim->jobs + 1);
	if (error)
		return error;

	if (job->destination_device)
		job->sync_errors = job->destination_device->sync_errors;
	tag_insert(shim, job);
	shim->jobs++;
	job_begin(job);
	pool_wake(&shim->pool);
	return 0;
}

static struct job *job_create(struct dma_shim *shim, const struct dma_shim_job *from,
			      const struct dma_shim_segment *segments,
			      const struct engine_ops *engine, void *memory,
			      struct device *source, struct device *destination)
{
	size_t segments_size = from->segment_count * sizeof(*segments);
	struct job *job = malloc(sizeof(*job) + segments_size);

	if (!job)
		return NULL;
	*job = (struct job) {
		.shim = shim,
		.engine = engine,
		.source_device = source,
		.destination_device = destination,
		.source = source ? source->base : memory,
		.destination = destination ? destination->base :
			       from->destination == DMA_SHIM_MEMORY ? memory : NULL,
		.tag = from->tag,
		.priority = from->priority,
		.flags = from->flags,
		.segment_count = from->segment_count,
		.source_crc = from->crc_seed,
		.destination_crc = from->crc_seed,
	};
	list_init(&job->queue);
	memcpy(job->segments, segments, segments_size);
	return job;
}

PUBLIC int dma_shim_submit(struct dma_shim *shim, const struct dma_shim_job *job,
			   const struct dma_shim_segment *segments, void *memory)
{
	const struct engine_ops *engine;
	struct device *source, *destination;
	struct job *made = NULL;
	int error;

	if (!shim || !job)
		return -EINVAL;
	error = check_fields(job, segments, memory);
	if (error)
		return error;
	engine = engine_find(job->engine);
	if (!engine)
		return -EOPNOTSUPP;
	error = get_devices(shim, job, &source, &destination);
	if (error)
		return error;

	error = check_segments(job, segments, source ? source->size : job->memory_size,
			       destination ? destination->size : job->memory_size);
	if (!error) {
		made = job_create(shim, job, segments, engine, memory, source,
				  destination);
		if (!made)
			error = -ENOMEM;
	}

	pthread_mutex_lock(&shim->lock);
	if (!error)
		error = admit(shim, made);
	if (error) {
		device_put(source);
		device_put(destination);
	}
	pthread_mutex_unlock(&shim->lock);
	if (error)
		free(made);
	return error;
}

/* The end of a job; frees it. With the lock held. */
void job_retire(struct job *job)
{
	struct dma_shim *shim = job->shim;

	tag_remove(shim, job);
	device_put(job->source_device);
	device_put(job->destination_device);
	outbox_done(&shim->outbox, job);
	free(job);
	if (--shim->jobs == 0)
		pthread_cond_broadcast(&shim->drained);
}

PUBLIC int dma_shim_cancel(struct dma_shim *shim, uint64_t tag)
{
	struct job *job = NULL;

	if (!shim)
		return -EINVAL;
	pthread_mutex_lock(&shim->lock);
	if (shim->tags_size)
		job = tag_find(shim, tag);
	if (job)
		job_cancel(job);
	pthread_mutex_unlock(&shim->lock);
	if (!job)
		return -ENOENT;
	outbox_send(&shim->outbox);
	return 0;
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
