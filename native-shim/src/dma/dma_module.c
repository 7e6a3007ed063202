// SPDX-License-Identifier: Apache-2.0
/* The kernel module's device: every ioctl, and nothing but ioctls. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "dma.h"

_Static_assert(sizeof(struct ioat_dma_segment) == sizeof(struct dma_shim_segment),
	       "segments of the kernel are others");

static int command(int module, unsigned long number, void *argument)
{
	int result;

	do
		result = ioctl(module, number, argument);
	while (result && errno == EINTR);
	return result ? -errno : 0;
}

static int get_info(int module, struct ioat_dma_info *info)
{
	*info = (struct ioat_dma_info) { .size = sizeof(*info) };
	return command(module, IOAT_DMA_INFO, info);
}

static void copy_text(char *to, size_t size, const uint8_t *from)
{
	snprintf(to, size, "%.*s", (int)size - 1, (const char *)from);
}

static struct dma_shim_dma_info info_from(const struct ioat_dma_info *info)
{
	struct dma_shim_dma_info out = {
		.version = info->out_version,
		.abi = info->out_abi,
		.channels = info->out_channels,
		.channel_limit = info->out_channel_limit < 64 ? info->out_channel_limit : 64,
		.refused_count = info->out_refused_count < DMA_SHIM_MAX_REFUSED ?
				 info->out_refused_count : DMA_SHIM_MAX_REFUSED,
	};

	for (uint32_t n = 0; n < out.refused_count; n++) {
		const struct ioat_dma_refused *refused = &info->out_refused[n];

		copy_text(out.refused[n].driver, sizeof(out.refused[n].driver), refused->driver);
		copy_text(out.refused[n].device, sizeof(out.refused[n].device), refused->device);
		out.refused[n].reason = refused->reason;
	}
	return out;
}

/*
 * Return: a descriptor, -EPROTONOSUPPORT, or what open(2) says. @record is what
 * module_read() has to know.
 */
int module_open(const char *path, struct dma_shim_dma_info *info, uint32_t *record)
{
	int module = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct ioat_dma_info found;

	if (module < 0)
		return -errno;
	/* Its interface only ever grows. */
	if (get_info(module, &found) || found.out_abi < IOAT_DMA_ABI ||
	    found.out_completion_size < sizeof(struct ioat_dma_completion) ||
	    found.out_completion_size > DMA_BATCH * sizeof(struct ioat_dma_completion)) {
		close(module);
		return -EPROTONOSUPPORT;
	}
	*info = info_from(&found);
	*record = found.out_completion_size;
	return module;
}

int module_submit(int module, const struct ioat_dma_submit *submit)
{
	struct ioat_dma_submit argument = *submit;

	return command(module, IOAT_DMA_SUBMIT, &argument);
}

/* That it is over already is as good. */
void module_cancel(int module, uint64_t tag)
{
	struct ioat_dma_cancel cancel = { .size = sizeof(cancel), .tag = tag };

	command(module, IOAT_DMA_CANCEL, &cancel);
}

/*
 * Return: how many completions there were, none included. Of records that are
 * larger than this library knows, it takes the beginning.
 */
uint32_t module_read(struct dma *dma)
{
	ssize_t got;
	uint32_t count;

	do
		got = read(dma->module, dma->records, sizeof(dma->records));
	while (got < 0 && errno == EINTR);
	count = got < 0 ? 0 : (uint32_t)((size_t)got / dma->record);
	for (uint32_t n = 0; n < count; n++)
		memcpy(&dma->completions[n], dma->records + (size_t)n * dma->record,
		       sizeof(dma->completions[n]));
	return count;
}

void module_forget(int module, uint32_t region)
{
	struct ioat_dma_region_destroy destroy = {
		.size = sizeof(destroy), .region = region,
	};

	command(module, IOAT_DMA_REGION_DESTROY, &destroy);
}

/* Of the engine that is open, or -ENODEV */
static int find_module(struct dma_shim *shim)
{
	int module;

	pthread_mutex_lock(&shim->lock);
	module = shim->dma ? shim->dma->module : -ENODEV;
	pthread_mutex_unlock(&shim->lock);
	return module;
}

PUBLIC int dma_shim_dma_info(struct dma_shim *shim, struct dma_shim_dma_info *out)
{
	struct ioat_dma_info info;
	int module;
	int error;

	if (!shim || !out)
		return -EINVAL;
	module = find_module(shim);
	error = module < 0 ? module : get_info(module, &info);
	if (!error)
		*out = info_from(&info);
	return error;
}

PUBLIC int dma_shim_dma_channel(struct dma_shim *shim, uint32_t channel,
				struct dma_shim_channel_info *out)
{
	struct ioat_dma_channel_info info = { .size = sizeof(info), .channel = channel };
	int module;
	int error;

	if (!shim || !out)
		return -EINVAL;
	module = find_module(shim);
	if (module < 0)
		return module;
	error = command(module, IOAT_DMA_CHANNEL_INFO, &info);
	if (error)
		return error;
	*out = (struct dma_shim_channel_info) {
		.state = info.out_state,
		.numa_node = info.out_numa_node,
		.in_flight = info.out_in_flight,
		.operations = info.out_operations,
		.bytes = info.out_bytes,
		.read_errors = info.out_read_errors,
		.write_errors = info.out_write_errors,
		.aborted = info.out_aborted,
		.lost = info.out_lost,
		.timeouts = info.out_timeouts,
		.recoveries = info.out_recoveries,
	};
	copy_text(out->name, sizeof(out->name), info.out_name);
	copy_text(out->driver, sizeof(out->driver), info.out_driver);
	return 0;
}

static int create_region(int module, const struct device *device, uint32_t *region)
{
	struct ioat_dma_region_create create = {
		.size = sizeof(create), .fd = device->descriptor, .length = device->size,
	};
	int error = command(module, IOAT_DMA_REGION_CREATE, &create);

	if (!error)
		*region = create.out_region;
	return error;
}

/* Make a region of a device that is in use. */
static int attach(struct dma_shim *shim, int module, struct device *device)
{
	uint32_t region;
	bool again;
	int error;

	if (device->kind != DMA_SHIM_DEVDAX)
		return -EOPNOTSUPP;
	error = create_region(module, device, &region);
	if (error)
		return error;

	pthread_mutex_lock(&shim->lock);
	again = device->in_dma;
	if (!again)
		device->dma_region = region;
	device->in_dma = true;
	pthread_mutex_unlock(&shim->lock);
	if (again)
		module_forget(module, region);
	return 0;
}

PUBLIC int dma_shim_dma_attach(struct dma_shim *shim, uint32_t handle)
{
	struct device *device;
	int module;
	int error = 0;

	if (!shim)
		return -EINVAL;
	module = find_module(shim);
	if (module < 0)
		return module;
	pthread_mutex_lock(&shim->lock);
	device = device_get(shim, handle);
	bool known = device && device->in_dma;

	pthread_mutex_unlock(&shim->lock);
	if (!device)
		return -EBADF;
	if (!known)
		error = attach(shim, module, device);

	pthread_mutex_lock(&shim->lock);
	device_put(device);
	pthread_mutex_unlock(&shim->lock);
	return error;
}
