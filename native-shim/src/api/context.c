// SPDX-License-Identifier: Apache-2.0
/* A context: made, described, and taken apart in the reverse order. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "../internal.h"

/* The header promises this layout to callers that fill plain bytes. */
#define ASSERT_SIZE(type, size) \
	_Static_assert(sizeof(struct type) == (size), #type " has another size")
#define ASSERT_AT(type, member, offset) \
	_Static_assert(offsetof(struct type, member) == (offset), \
		       #type "." #member " is elsewhere")

ASSERT_SIZE(dma_shim_options, 8);
ASSERT_AT(dma_shim_options, cpu_threads, 0);
ASSERT_AT(dma_shim_options, reserved, 4);

ASSERT_SIZE(dma_shim_device_spec, 24);
ASSERT_AT(dma_shim_device_spec, size, 0);
ASSERT_AT(dma_shim_device_spec, align, 8);
ASSERT_AT(dma_shim_device_spec, kind, 16);
ASSERT_AT(dma_shim_device_spec, persistence, 20);

ASSERT_SIZE(dma_shim_device_info, 16);
ASSERT_AT(dma_shim_device_info, size, 0);
ASSERT_AT(dma_shim_device_info, persistence, 8);
ASSERT_AT(dma_shim_device_info, flush_basis, 12);

ASSERT_SIZE(dma_shim_segment, 24);
ASSERT_AT(dma_shim_segment, src_offset, 0);
ASSERT_AT(dma_shim_segment, dst_offset, 8);
ASSERT_AT(dma_shim_segment, size, 16);

ASSERT_SIZE(dma_shim_job, 128);
ASSERT_AT(dma_shim_job, tag, 0);
ASSERT_AT(dma_shim_job, memory_size, 8);
ASSERT_AT(dma_shim_job, source, 16);
ASSERT_AT(dma_shim_job, destination, 20);
ASSERT_AT(dma_shim_job, engine, 24);
ASSERT_AT(dma_shim_job, priority, 28);
ASSERT_AT(dma_shim_job, flags, 32);
ASSERT_AT(dma_shim_job, crc_seed, 36);
ASSERT_AT(dma_shim_job, segment_count, 40);
ASSERT_AT(dma_shim_job, timeout_ms, 44);
ASSERT_AT(dma_shim_job, operation, 48);
ASSERT_AT(dma_shim_job, pattern_size, 52);
ASSERT_AT(dma_shim_job, pattern, 56);
ASSERT_AT(dma_shim_job, socket, 120);
ASSERT_AT(dma_shim_job, reserved, 124);

ASSERT_SIZE(dma_shim_completion, 112);
ASSERT_AT(dma_shim_completion, tag, 0);
ASSERT_AT(dma_shim_completion, bytes_done, 8);
ASSERT_AT(dma_shim_completion, started_ns, 16);
ASSERT_AT(dma_shim_completion, finished_ns, 24);
ASSERT_AT(dma_shim_completion, copy_ns, 32);
ASSERT_AT(dma_shim_completion, flush_ns, 40);
ASSERT_AT(dma_shim_completion, verify_ns, 48);
ASSERT_AT(dma_shim_completion, kind, 56);
ASSERT_AT(dma_shim_completion, status, 60);
ASSERT_AT(dma_shim_completion, segment, 64);
ASSERT_AT(dma_shim_completion, source_crc, 68);
ASSERT_AT(dma_shim_completion, destination_crc, 72);
ASSERT_AT(dma_shim_completion, dma_error, 76);
ASSERT_AT(dma_shim_completion, dma_channels, 80);
ASSERT_AT(dma_shim_completion, dma_channel, 88);
ASSERT_AT(dma_shim_completion, dma_retries, 92);
ASSERT_AT(dma_shim_completion, difference, 96);
ASSERT_AT(dma_shim_completion, received, 104);

ASSERT_SIZE(dma_shim_dma_info, 600);
ASSERT_AT(dma_shim_dma_info, version, 0);
ASSERT_AT(dma_shim_dma_info, abi, 4);
ASSERT_AT(dma_shim_dma_info, channels, 8);
ASSERT_AT(dma_shim_dma_info, channel_limit, 12);
ASSERT_AT(dma_shim_dma_info, refused_count, 16);
ASSERT_AT(dma_shim_dma_info, refused, 24);
ASSERT_SIZE(dma_shim_refused, 72);
ASSERT_AT(dma_shim_refused, driver, 0);
ASSERT_AT(dma_shim_refused, device, 32);
ASSERT_AT(dma_shim_refused, reason, 64);

ASSERT_SIZE(dma_shim_channel_info, 144);
ASSERT_AT(dma_shim_channel_info, state, 0);
ASSERT_AT(dma_shim_channel_info, numa_node, 4);
ASSERT_AT(dma_shim_channel_info, in_flight, 8);
ASSERT_AT(dma_shim_channel_info, name, 16);
ASSERT_AT(dma_shim_channel_info, driver, 48);
ASSERT_AT(dma_shim_channel_info, operations, 80);
ASSERT_AT(dma_shim_channel_info, bytes, 88);
ASSERT_AT(dma_shim_channel_info, read_errors, 96);
ASSERT_AT(dma_shim_channel_info, write_errors, 104);
ASSERT_AT(dma_shim_channel_info, aborted, 112);
ASSERT_AT(dma_shim_channel_info, lost, 120);
ASSERT_AT(dma_shim_channel_info, timeouts, 128);
ASSERT_AT(dma_shim_channel_info, recoveries, 136);

ASSERT_SIZE(dma_shim_cpu_info, 96);
ASSERT_AT(dma_shim_cpu_info, threads, 0);
ASSERT_AT(dma_shim_cpu_info, cpus, 4);
ASSERT_AT(dma_shim_cpu_info, instruction_set, 8);
ASSERT_AT(dma_shim_cpu_info, stream_from, 32);
ASSERT_AT(dma_shim_cpu_info, model, 40);

ASSERT_SIZE(dma_shim_range, 16);
ASSERT_AT(dma_shim_range, offset, 0);
ASSERT_AT(dma_shim_range, size, 8);

ASSERT_SIZE(dma_shim_storage, 256);
ASSERT_AT(dma_shim_storage, persistence, 0);
ASSERT_AT(dma_shim_storage, basis, 8);

PUBLIC const char *dma_shim_version(void)
{
	return SHIM_VERSION;
}

PUBLIC uint32_t dma_shim_abi(void)
{
	return DMA_SHIM_ABI;
}

PUBLIC void dma_shim_prepare(void)
{
	copy_plan_prepare();
}

PUBLIC int dma_shim_open(const struct dma_shim_options *options, struct dma_shim **out)
{
	struct dma_shim *shim;
	int error;

	if (!options || !out || options->reserved ||
	    options->cpu_threads > MAX_COPY_THREADS)
		return -EINVAL;

	shim = calloc(1, sizeof(*shim));
	if (!shim)
		return -ENOMEM;
	pthread_mutex_init(&shim->lock, NULL);
	pthread_cond_init(&shim->drained, NULL);
	shim->plan = *copy_plan();
	cpus_allowed(&shim->allowed);
	crc32c_init();

	error = outbox_start(&shim->outbox);
	if (error)
		goto free;
	error = sigbus_install();
	if (error)
		goto stop_outbox;
	error = pool_start(shim, options->cpu_threads ? options->cpu_threads :
						       shim->plan.threads);
	if (error)
		goto stop_pool;
	error = syncer_start(shim);
	if (error)
		goto stop_syncer;
	error = streams_start(shim, shim->pool.thread_count);
	if (error)
		goto stop_streams;
	*out = shim;
	return 0;

stop_streams:
	streams_stop(shim);
stop_syncer:
	syncer_stop(shim);
stop_pool:
	pool_stop(shim);
	sigbus_remove();
stop_outbox:
	outbox_stop(&shim->outbox);
free:
	pthread_cond_destroy(&shim->drained);
	pthread_mutex_destroy(&shim->lock);
	free(shim);
	return error;
}

PUBLIC void dma_shim_close(struct dma_shim *shim)
{
	if (!shim)
		return;

	pthread_mutex_lock(&shim->lock);
	jobs_cancel_all(shim);
	while (shim->jobs)
		pthread_cond_wait(&shim->drained, &shim->lock);
	pthread_mutex_unlock(&shim->lock);

	if (shim->dma)
		dma_stop(shim->dma);
	streams_stop(shim);
	syncer_stop(shim);
	pool_stop(shim);
	sigbus_remove();
	outbox_stop(&shim->outbox);
	for (unsigned int n = 0; n < DMA_SHIM_MAX_DEVICES; n++) {
		if (shim->devices[n])
			device_destroy(shim->devices[n]);
	}
	free(shim->tags);
	pthread_cond_destroy(&shim->drained);
	pthread_mutex_destroy(&shim->lock);
	free(shim);
}

PUBLIC int dma_shim_completion_fd(struct dma_shim *shim)
{
	return shim ? outbox_take_reader(&shim->outbox) : -EINVAL;
}

PUBLIC void dma_shim_cpu_info(struct dma_shim *shim, struct dma_shim_cpu_info *out)
{
	*out = (struct dma_shim_cpu_info) {
		.threads = shim->pool.thread_count,
		.cpus = cpu_count(),
		.stream_from = shim->plan.stream_from,
	};
	snprintf(out->instruction_set, sizeof(out->instruction_set), "%s",
		 shim->plan.fastest->name);
	snprintf(out->model, sizeof(out->model), "%s", cpu_model());
}

PUBLIC int dma_shim_lock_file(const char *path)
{
	int descriptor;
	int error;

	if (!path)
		return -EINVAL;
	descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
			  0600);
	if (descriptor < 0)
		return -errno;
	if (flock(descriptor, LOCK_EX | LOCK_NB)) {
		error = -errno;
		close(descriptor);
		return error;
	}
	return descriptor;
}

PUBLIC int dma_shim_device_close(struct dma_shim *shim, uint32_t handle)
{
	struct device *device = NULL;
	int error = 0;

	if (!shim)
		return -EINVAL;
	pthread_mutex_lock(&shim->lock);
	if (handle < DMA_SHIM_MAX_DEVICES)
		device = shim->devices[handle];
	if (!device) {
		error = -EBADF;
	} else if (device->users) {
		error = -EBUSY;
	} else {
		shim->devices[handle] = NULL;
		/* Its turn may be left from jobs that were cancelled. */
		list_remove(&device->sync_turn);
	}
	pthread_mutex_unlock(&shim->lock);
	if (error)
		return error;
	if (device->in_dma)
		dma_forget(shim->dma, device);
	device_destroy(device);
	return 0;
}
