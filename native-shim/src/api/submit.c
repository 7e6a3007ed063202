// SPDX-License-Identifier: Apache-2.0
/* Submission: everything is checked, then nothing can fail. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../internal.h"

/* Most that the calling thread does itself, in bytes: per call, and per job in a batch */
#define HELP_SIZE (UINT64_C(256) << 10)
#define HELP_NS UINT64_C(100000)
#define BRIEF_SIZE (UINT64_C(64) << 10)

#define ALL_FLAGS \
	(DMA_SHIM_JOB_FLUSH | DMA_SHIM_JOB_VERIFY | DMA_SHIM_JOB_CHECKSUM)

static bool names_device(uint32_t handle)
{
	return handle < DMA_SHIM_SOCKET;
}

/* Whether the fields fit the operation. */
static bool operation_fits(const struct dma_shim_job *job)
{
	uint32_t pattern_size = job->pattern_size;

	for (uint32_t n = pattern_size; n < DMA_SHIM_MAX_PATTERN; n++) {
		if (job->pattern[n])
			return false;
	}
	switch (job->operation) {
	case DMA_SHIM_COPY:
		return !pattern_size && job->source != DMA_SHIM_NOWHERE;
	case DMA_SHIM_FILL:
		return pattern_size && pattern_size <= DMA_SHIM_MAX_PATTERN &&
		       !(pattern_size & (pattern_size - 1)) &&
		       job->source == DMA_SHIM_NOWHERE &&
		       names_device(job->destination);
	case DMA_SHIM_COMPARE:
		return !pattern_size && !job->flags && names_device(job->destination) &&
		       (names_device(job->source) || job->source == DMA_SHIM_MEMORY);
	default:
		return false;
	}
}

static bool is_stream(const struct dma_shim_job *job)
{
	return job->source == DMA_SHIM_SOCKET || job->destination == DMA_SHIM_SOCKET;
}

static bool stream_fits(const struct dma_shim_job *job, const struct dma_shim_segment *segment)
{
	bool sends = job->destination == DMA_SHIM_SOCKET;
	bool into_memory = job->destination == DMA_SHIM_MEMORY;

	return job->operation == DMA_SHIM_COPY && job->segment_count == 1 &&
	       job->engine == DMA_SHIM_ENGINE_CPU &&
	       (into_memory || names_device(sends ? job->source : job->destination)) &&
	       !(job->flags & (sends ? ALL_FLAGS : DMA_SHIM_JOB_VERIFY)) &&
	       !(sends ? segment->dst_offset : segment->src_offset);
}

static int check_fields(const struct dma_shim_job *job,
			const struct dma_shim_segment *segments, const void *memory)
{
	bool has_memory = job->source == DMA_SHIM_MEMORY ||
			  job->destination == DMA_SHIM_MEMORY;

	if (job->priority >= PRIORITIES || job->flags & ~ALL_FLAGS ||
	    !job->segment_count || job->segment_count > DMA_SHIM_MAX_SEGMENTS ||
	    !segments || !operation_fits(job) || job->reserved)
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
	if (is_stream(job))
		return stream_fits(job, segments) ? 0 : -EINVAL;
	return job->socket ? -EINVAL : 0;
}

static bool outside(uint64_t offset, uint64_t size, uint64_t limit)
{
	return offset > limit || size > limit - offset;
}

static int check_segments(const struct dma_shim_job *job,
			  const struct dma_shim_segment *segments,
			  uint64_t source_size, uint64_t destination_size)
{
	bool same = job->source == job->destination && job->operation == DMA_SHIM_COPY;
	bool reads = job->source != DMA_SHIM_NOWHERE && job->source != DMA_SHIM_SOCKET;
	bool nowhere = job->destination == DMA_SHIM_NOWHERE ||
		       job->destination == DMA_SHIM_SOCKET;

	for (uint32_t n = 0; n < job->segment_count; n++) {
		uint64_t from = segments[n].src_offset;
		uint64_t to = segments[n].dst_offset;
		uint64_t size = segments[n].size;

		if (!size || (!reads && from))
			return -EINVAL;
		if ((reads && outside(from, size, source_size)) ||
		    (!nowhere && outside(to, size, destination_size)))
			return -ERANGE;
		if (same && (from > to ? from - to : to - from) < size)
			return -EINVAL;
	}
	return 0;
}

/* The engine that a job asks for; NULL if it is not available */
static const struct engine_ops *find_engine(const struct dma_shim *shim,
					    const struct dma_shim_job *job)
{
	if (is_stream(job))
		return &stream_engine;
	if (job->engine == DMA_SHIM_ENGINE_CPU)
		return &cpu_engine;
	return shim->dma ? &dma_engine : NULL;
}

/* The devices that the job names; NULL if it names none */
static int get_devices(struct dma_shim *shim, const struct dma_shim_job *job,
		       struct device **source, struct device **destination)
{
	int error = 0;

	*source = NULL;
	*destination = NULL;
	if (names_device(job->source)) {
		*source = device_get(shim, job->source);
		if (!*source)
			error = -EBADF;
	}
	if (!error && names_device(job->destination)) {
		*destination = device_get(shim, job->destination);
		if (!*destination) {
			device_put(*source);
			error = -EBADF;
		}
	}
	return error;
}

/* All of a job's parties; with the lock held. */
static int get_parties(struct dma_shim *shim, const struct dma_shim_job *job,
		       const struct engine_ops **engine,
		       struct device **source, struct device **destination)
{
	int error;

	*engine = find_engine(shim, job);
	if (!*engine)
		return -ENODEV;
	error = get_devices(shim, job, source, destination);
	if (error)
		return error;
	if ((job->operation == DMA_SHIM_COPY || *engine == &cpu_engine) &&
	    (*engine)->reaches(*source, *destination))
		return 0;
	device_put(*source);
	device_put(*destination);
	return -EOPNOTSUPP;
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
	return 0;
}

static bool is_written_back(const struct device *device)
{
	return device->flush_basis == DMA_SHIM_FLUSH_CLWB ||
	       device->flush_basis == DMA_SHIM_FLUSH_CLFLUSHOPT ||
	       device->flush_basis == DMA_SHIM_FLUSH_CLFLUSH;
}

/*
 * The caller is about to read the bytes that it asked for, so those go through
 * the cache whatever their size. What is to be written back from there at once
 * gains nothing by going through it.
 */
static const struct stream_kernel *choose_kernel(const struct copy_plan *plan,
						 const struct job *job, uint64_t size)
{
	if (!job->destination_device)
		return NULL;
	if (job->flags & DMA_SHIM_JOB_FLUSH && is_written_back(job->destination_device))
		return plan->uncached;
	return size >= plan->stream_from ? plan->fastest : NULL;
}

/* NULL: the caller's own memory, or nowhere */
static bool is_memory(const struct device *device)
{
	return !device || device->in_memory;
}

/* See struct job */
static uint64_t brief_cost(const struct job *job, uint64_t size)
{
	uint64_t cost;

	if (job->engine != &cpu_engine || size > HELP_SIZE || !job->destination ||
	    !is_memory(job->source_device) || !is_memory(job->destination_device))
		return 0;
	/* Filling the memory took the caller as long; each segment may be a system call. */
	if (job->operation == DMA_SHIM_COPY &&
	    (!job->source_device || !job->destination_device))
		return job->segment_count == 1 ? size : 0;
	/* Each checksum takes as long as the copy, or longer. */
	if (job->flags & DMA_SHIM_JOB_VERIFY)
		size *= 3;
	else if (job->flags & DMA_SHIM_JOB_CHECKSUM)
		size *= 2;
	cost = size + job->segment_count * SEGMENT_COST;
	return cost <= BRIEF_SIZE ? cost : 0;
}

static struct job *job_create(struct dma_shim *shim, const struct dma_shim_job *from,
			      const struct dma_shim_segment *segments,
			      const struct engine_ops *engine, void *memory,
			      struct device *source, struct device *destination)
{
	size_t segments_size = from->segment_count * sizeof(*segments);
	struct job *job = malloc(sizeof(*job) + segments_size);
	uint64_t size = 0;

	if (!job)
		return NULL;
	*job = (struct job) {
		.shim = shim,
		.engine = engine,
		.source_device = source,
		.destination_device = destination,
		.source = source ? source->base :
			  from->source == DMA_SHIM_MEMORY ? memory : NULL,
		.destination = destination ? destination->base :
			       from->destination == DMA_SHIM_MEMORY ? memory : NULL,
		.operation = from->operation,
		.difference = DMA_SHIM_NO_DIFFERENCE,
		.tag = from->tag,
		.priority = from->priority,
		.flags = from->flags,
		.segment_count = from->segment_count,
		.deadline = job_deadline(from->timeout_ms),
		.source_crc = from->crc_seed,
		.destination_crc = from->crc_seed,
		.dma_channel = DMA_SHIM_NO_CHANNEL,
		.socket = -1,
	};
	list_init(&job->queue);
	if (job->operation == DMA_SHIM_FILL)
		pattern_set(&job->pattern, from->pattern, from->pattern_size);
	memcpy(job->segments, segments, segments_size);
	for (uint32_t n = 0; n < job->segment_count; n++)
		size += segments[n].size;
	job->kernel = choose_kernel(&shim->plan, job, size);
	job->brief = brief_cost(job, size);
	return job;
}

/*
 * All but waking a thread that takes it up; with @help see pool_help(). Return:
 * 0, DMA_SHIM_SUBMIT_COMPLETED, or a negative errno.
 */
static int submit(struct dma_shim *shim, const struct dma_shim_job *job,
		  const struct dma_shim_segment *segments, void *memory,
		  struct help *help, struct dma_shim_completion *over)
{
	const struct engine_ops *engine;
	struct device *source, *destination;
	struct job *made = NULL;
	int error;

	error = check_fields(job, segments, memory);
	if (error)
		return error;
	pthread_mutex_lock(&shim->lock);
	error = get_parties(shim, job, &engine, &source, &destination);
	pthread_mutex_unlock(&shim->lock);
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
	if (!error && engine == &stream_engine)
		error = stream_take_socket(made, job->socket);
	if (!error && engine == &dma_engine)
		error = segments_independent(segments, job->segment_count,
					     source == destination, &made->independent);

	pthread_mutex_lock(&shim->lock);
	if (!error)
		error = admit(shim, made);
	if (error) {
		device_put(source);
		device_put(destination);
	}
	if (!error && help && pool_help(made, help, over)) {
		made = NULL;
		error = DMA_SHIM_SUBMIT_COMPLETED;
	}
	pthread_mutex_unlock(&shim->lock);
	if (error && made)
		job_free(made);
	return error;
}

/* Not with the lock held: who is woken wants it at once. */
static void wake(struct dma_shim *shim)
{
	bool due;

	pthread_mutex_lock(&shim->lock);
	due = pool_wants(&shim->pool);
	pthread_mutex_unlock(&shim->lock);
	if (due)
		pthread_cond_signal(&shim->pool.work);
}

PUBLIC int dma_shim_submit(struct dma_shim *shim, const struct dma_shim_job *job,
			   const struct dma_shim_segment *segments, void *memory,
			   struct dma_shim_completion *over)
{
	struct help help = { .left = HELP_SIZE };
	int status;

	if (!shim || !job)
		return -EINVAL;
	status = submit(shim, job, segments, memory, over ? &help : NULL, over);
	if (!status)
		wake(shim);
	return status;
}

PUBLIC int dma_shim_submit_batch(struct dma_shim *shim,
				 const struct dma_shim_job *jobs, uint32_t count,
				 const struct dma_shim_segment *segments,
				 int32_t *errors, struct dma_shim_completion *over)
{
	struct help help = { .left = HELP_SIZE };

	if (!shim || !jobs || !segments || !errors || !over)
		return -EINVAL;
	help.until = now_ns() + HELP_NS;
	for (uint32_t n = 0; n < count; n++) {
		errors[n] = submit(shim, &jobs[n], segments, NULL, &help, &over[n]);
		segments += jobs[n].segment_count;
	}
	wake(shim);
	return 0;
}
