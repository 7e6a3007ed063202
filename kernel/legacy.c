// SPDX-License-Identifier: GPL-2.0-only
/*
 * The five ioctls of the module that this one replaces, on top of requests.
 *
 * They name a device by its path. It is opened with the caller's own rights,
 * for reading and writing, for as long as the copy takes.
 */
#include <linux/bitmap.h>
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "idma.h"

/* Of the old interface's copies, which have no timeout to give: 10 s, and ... */
#define TIMEOUT_MS 10000
/* ... as much as the slowest memory there is would take. */
#define BYTES_PER_MS SZ_64K

/* A copy thrown out with another's fault is tried again so often in all. */
#define TRIES 4

/* Which channels are reserved, by any context. */
static DECLARE_BITMAP(reserved, IDMA_MAX_CHANNELS);
static DEFINE_MUTEX(reserve_lock);

/*
 * A region for each end: what lies between them is nobody's business, and may
 * be terabytes.
 */
static struct idma_request *make_request(struct idma_context *context,
					 const char *path, size_t path_size,
					 struct ioat_dma_segment segment)
{
	struct idma_region *src, *dst;
	struct idma_request *request;
	struct file *file;
	int error;

	if (strnlen(path, path_size) == path_size)
		return ERR_PTR(-EINVAL);
	if (!path[0])
		return ERR_PTR(-ENOENT); /* it would be the current folder */
	/* O_NONBLOCK: a FIFO must not hold the caller up */
	file = filp_open(path, O_RDWR | O_LARGEFILE | O_NONBLOCK | O_NOCTTY, 0);
	if (IS_ERR(file))
		return ERR_CAST(file);
	src = idma_region_make(file, segment.src_offset, segment.length);
	fput(file);
	if (IS_ERR(src))
		return ERR_CAST(src);
	dst = idma_region_make_beside(src, segment.dst_offset, segment.length);
	if (IS_ERR(dst)) {
		idma_region_put_now(src);
		return ERR_CAST(dst);
	}
	request = idma_request_make(context, src, dst, 1);
	if (!IS_ERR(request)) {
		segment.src_offset = 0;
		segment.dst_offset = 0;
		request->segments[0] = segment;
		request->legacy = true;
		error = idma_request_check(request);
		if (error) {
			idma_request_put(request);
			request = ERR_PTR(error);
		}
	}
	idma_region_put_now(src);
	idma_region_put_now(dst);
	return request;
}

static int start(struct idma_request *request)
{
	u64 ms = TIMEOUT_MS + div_u64(request->segments[0].length, BYTES_PER_MS);

	return idma_request_start(request, min_t(u64, ms, IDMA_MAX_TIMEOUT_MS));
}

static int outcome(const struct idma_request *request)
{
	switch (request->completion.status) {
	case IOAT_DMA_DONE:
		return 0;
	case IOAT_DMA_ABORTED:
		return -EAGAIN;
	case IOAT_DMA_TIMED_OUT:
		return -ETIMEDOUT;
	case IOAT_DMA_GONE:
		return -ENXIO;
	default:
		return -EIO;
	}
}

static int copy_once(struct idma_context *context,
		     const struct ioat_dma_legacy_copy *args)
{
	struct ioat_dma_segment segment = {
		.src_offset = args->src_offset,
		.dst_offset = args->dst_offset,
		.length = args->size,
	};
	struct idma_request *request;
	int error;

	request = make_request(context, args->device_name,
			       sizeof(args->device_name), segment);
	if (IS_ERR(request))
		return PTR_ERR(request);
	error = start(request);
	/* a killed caller's request is stopped as its file is closed */
	if (!error && wait_for_completion_killable(&request->done))
		error = -EINTR;
	else if (!error)
		error = outcome(request);
	idma_request_put(request);
	return error;
}

static long legacy_copy(struct idma_context *context, void __user *user)
{
	struct ioat_dma_legacy_copy args;
	int tries, error = -EAGAIN;

	if (copy_from_user(&args, user, sizeof(args)))
		return -EFAULT;
	for (tries = 0; tries < TRIES && error == -EAGAIN; tries++)
		error = copy_once(context, &args);
	return error == -EAGAIN ? -EIO : error;
}

static long legacy_count(void __user *user)
{
	u64 count = idma_channels_alive();

	return copy_to_user(user, &count, sizeof(count)) ? -EFAULT : 0;
}

/* A reservation keeps other reservations off, not requests for any channel. */
static long legacy_reserve(struct idma_context *context, void __user *user)
{
	u64 id;
	u32 state;

	mutex_lock(&reserve_lock);
	for (id = 0; id < IDMA_MAX_CHANNELS; id++) {
		state = READ_ONCE(idma_channels[id].state);
		if (!test_bit(id, reserved) &&
		    (state == IOAT_DMA_CHANNEL_READY ||
		     state == IOAT_DMA_CHANNEL_RECOVERING))
			break;
	}
	if (id == IDMA_MAX_CHANNELS) {
		mutex_unlock(&reserve_lock);
		return -ENODEV;
	}
	if (copy_to_user(user, &id, sizeof(id))) {
		mutex_unlock(&reserve_lock);
		return -EFAULT;
	}
	set_bit(id, reserved);
	set_bit(id, context->legacy_channels);
	mutex_unlock(&reserve_lock);
	return 0;
}

static bool holds(struct idma_context *context, u64 id)
{
	return id < IDMA_MAX_CHANNELS && test_bit(id, context->legacy_channels);
}

static long legacy_start(struct idma_context *context, void __user *user)
{
	struct ioat_dma_legacy_start args;
	struct ioat_dma_segment segment;
	struct idma_request *request;
	int error;

	if (copy_from_user(&args, user, sizeof(args)))
		return -EFAULT;
	if (!holds(context, args.device_id))
		return -ENODEV;
	segment.src_offset = args.src_offset;
	segment.dst_offset = args.dst_offset;
	segment.length = args.size;
	request = make_request(context, args.device_name,
			       sizeof(args.device_name), segment);
	if (IS_ERR(request))
		return PTR_ERR(request);
	request->target = args.device_id;
	error = start(request);
	if (error) {
		idma_request_put(request);
		return error;
	}
	mutex_lock(&context->legacy_lock);
	list_add_tail(&request->answered, &context->legacy_started);
	mutex_unlock(&context->legacy_lock);
	return 0;
}

/* One that was started on channel @id and is waited for by no one else. */
static struct idma_request *next_started(struct idma_context *context, u64 id)
{
	struct idma_request *request, *found = NULL;

	mutex_lock(&context->legacy_lock);
	list_for_each_entry(request, &context->legacy_started, answered) {
		if (request->target == id) {
			found = request;
			list_del_init(&found->answered);
			break;
		}
	}
	mutex_unlock(&context->legacy_lock);
	return found;
}

static long legacy_wait(struct idma_context *context, void __user *user)
{
	struct ioat_dma_legacy_wait args;
	struct idma_request *request;
	long error = 0;

	if (copy_from_user(&args, user, sizeof(args)))
		return -EFAULT;
	if (!holds(context, args.device_id))
		return -ENODEV;
	args.completed = 0;
	while ((request = next_started(context, args.device_id))) {
		int result = -EINTR;

		if (!wait_for_completion_killable(&request->done))
			result = outcome(request);
		idma_request_put(request);
		if (result == -EINTR)
			return result;
		if (!result)
			args.completed++;
		else if (!error)
			error = result;
	}
	if (copy_to_user(user, &args, sizeof(args)))
		return -EFAULT;
	return error;
}

void idma_legacy_release(struct idma_context *context)
{
	struct idma_request *request, *next;

	list_for_each_entry_safe(request, next, &context->legacy_started,
				 answered) {
		list_del_init(&request->answered);
		idma_request_put(request);
	}
	mutex_lock(&reserve_lock);
	bitmap_andnot(reserved, reserved, context->legacy_channels,
		      IDMA_MAX_CHANNELS);
	mutex_unlock(&reserve_lock);
}

long idma_legacy_ioctl(struct idma_context *context, unsigned int command,
		       void __user *arg)
{
	switch (command) {
	case IOAT_DMA_LEGACY_COPY:
		return legacy_copy(context, arg);
	case IOAT_DMA_LEGACY_COUNT:
		return legacy_count(arg);
	case IOAT_DMA_LEGACY_RESERVE:
		return legacy_reserve(context, arg);
	case IOAT_DMA_LEGACY_START:
		return legacy_start(context, arg);
	case IOAT_DMA_LEGACY_WAIT:
		return legacy_wait(context, arg);
	default:
		return -ENOTTY;
	}
}
