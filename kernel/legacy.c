// SPDX-License-Identifier: GPL-2.0-only
/*
 * The five ioctls of the module that this one replaces, on top of requests.
 *
 * They name a device by its path. It is opened with the caller's own rights,
 * for reading and writing, for as long as the copy takes. A copy returns only
 * when the hardware is done with its memory, however it went.
 */
#include <linux/bitmap.h>
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "idma.h"

/* The interface has no timeout to pass: 10 s, and what the slowest memory takes. */
#define LEGACY_TIMEOUT_MS 10000
#define LEGACY_BYTES_PER_MS SZ_64K

/* How often a copy is tried that is thrown out because of another one's fault. */
#define LEGACY_TRIES 4

/* Channels that are reserved, by any context. Changed by atomic bit operations. */
static DECLARE_BITMAP(legacy_reserved, IDMA_MAX_CHANNELS);

/*
 * A region for each end, because what lies between them may be terabytes. They
 * have no ids, and are bounded by the number of requests.
 */
static struct idma_request *make_request(struct idma_context *context,
					 struct file *file,
					 struct ioat_dma_segment segment)
{
	struct idma_region *src, *dst;
	struct idma_request *request;
	int error;

	src = idma_region_make(file, segment.src_offset, segment.length);
	if (IS_ERR(src))
		return ERR_CAST(src);
	dst = idma_region_make(file, segment.dst_offset, segment.length);
	if (IS_ERR(dst)) {
		idma_region_put(src);
		return ERR_CAST(dst);
	}
	request = idma_request_make(context, src, dst, 1);
	idma_region_put(src);
	idma_region_put(dst);
	if (IS_ERR(request))
		return request;
	request->segments[0].src_offset = 0;
	request->segments[0].dst_offset = 0;
	request->segments[0].length = segment.length;
	request->legacy = true;
	error = idma_request_check(request);
	if (error) {
		idma_request_put(request);
		return ERR_PTR(error);
	}
	return request;
}

/* A started request; the caller's reference is the context's. */
static struct idma_request *start(struct idma_context *context,
				  const char *path, size_t path_size,
				  struct ioat_dma_segment segment, u32 target)
{
	u64 ms = LEGACY_TIMEOUT_MS +
		 div_u64(segment.length, LEGACY_BYTES_PER_MS);
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
	request = make_request(context, file, segment);
	fput(file);
	if (IS_ERR(request))
		return request;
	request->target = target;
	error = idma_request_start(request,
				   min_t(u64, ms, IDMA_MAX_TIMEOUT_MS));
	if (error) {
		idma_request_put(request);
		return ERR_PTR(error);
	}
	return request;
}

/*
 * Waits until @request is settled and drops it; its status, or -EINTR if the
 * caller was killed. Closing the file then stops the request.
 */
static int finish(struct idma_request *request)
{
	int status = -EINTR;

	if (!wait_event_killable(request->context->wait,
				 idma_request_is_settled(request)))
		status = request->completion.status;
	idma_request_put(request);
	return status;
}

static int status_to_errno(int status)
{
	switch (status) {
	case IOAT_DMA_DONE:
		return 0;
	case IOAT_DMA_TIMED_OUT:
		return -ETIMEDOUT;
	case IOAT_DMA_GONE:
		return -ENXIO;
	case -EINTR:
		return -EINTR;
	default:
		return -EIO;
	}
}

static long legacy_copy(struct idma_context *context, void __user *user)
{
	struct ioat_dma_legacy_copy args;
	struct ioat_dma_segment segment;
	struct idma_request *request;
	int tries = 0, status;

	if (copy_from_user(&args, user, sizeof(args)))
		return -EFAULT;
	segment.src_offset = args.src_offset;
	segment.dst_offset = args.dst_offset;
	segment.length = args.size;
	do {
		request = start(context, args.device_name,
				sizeof(args.device_name), segment,
				IDMA_MAX_CHANNELS);
		if (IS_ERR(request))
			return PTR_ERR(request);
		status = finish(request);
	} while (status == IOAT_DMA_ABORTED && ++tries < LEGACY_TRIES);
	return status_to_errno(status);
}

static long legacy_count(void __user *user)
{
	u64 count = idma_channels_alive();

	return copy_to_user(user, &count, sizeof(count)) ? -EFAULT : 0;
}

static bool is_alive(unsigned int id)
{
	u32 state = READ_ONCE(idma_channels[id].state);

	return state == IOAT_DMA_CHANNEL_READY ||
	       state == IOAT_DMA_CHANNEL_RECOVERING;
}

/* A reservation excludes other reservations, not requests for any channel. */
static long legacy_reserve(struct idma_context *context, void __user *user)
{
	u64 id;

	for (id = 0; id < IDMA_MAX_CHANNELS; id++)
		if (is_alive(id) && !test_and_set_bit(id, legacy_reserved))
			break;
	if (id == IDMA_MAX_CHANNELS)
		return -ENODEV;
	if (copy_to_user(user, &id, sizeof(id))) {
		clear_bit(id, legacy_reserved);
		return -EFAULT;
	}
	set_bit(id, context->legacy_channels);
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

	if (copy_from_user(&args, user, sizeof(args)))
		return -EFAULT;
	if (!holds(context, args.device_id))
		return -ENODEV;
	segment.src_offset = args.src_offset;
	segment.dst_offset = args.dst_offset;
	segment.length = args.size;
	request = start(context, args.device_name, sizeof(args.device_name),
			segment, args.device_id);
	if (IS_ERR(request))
		return PTR_ERR(request);
	mutex_lock(&context->legacy_lock);
	list_add_tail(&request->started, &context->legacy_started);
	mutex_unlock(&context->legacy_lock);
	return 0;
}

/* Takes the first request that was started on channel @id from the list. */
static struct idma_request *next_started(struct idma_context *context, u64 id)
{
	struct idma_request *request, *found = NULL;

	mutex_lock(&context->legacy_lock);
	list_for_each_entry(request, &context->legacy_started, started) {
		if (request->target == id) {
			found = request;
			list_del_init(&found->started);
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
		int result = status_to_errno(finish(request));

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
	unsigned int id;

	list_for_each_entry_safe(request, next, &context->legacy_started,
				 started) {
		list_del_init(&request->started);
		idma_request_put(request);
	}
	for_each_set_bit(id, context->legacy_channels, IDMA_MAX_CHANNELS)
		clear_bit(id, legacy_reserved);
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
