// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a context submits and cancels.
 */
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/uaccess.h>

#include "idma.h"

static bool fits(const struct idma_region *region, u64 offset, u64 length)
{
	return offset <= region->length && length <= region->length - offset;
}

/* Every segment, before any byte moves. */
int idma_request_check(const struct idma_request *request)
{
	const struct idma_region *src = request->src, *dst = request->dst;
	const struct ioat_dma_segment *segment;
	u64 from, to;

	if (!dst->writable)
		return -EACCES;
	for (segment = request->segments;
	     segment < request->segments + request->count; segment++) {
		if (!segment->length)
			return -EINVAL;
		if (!fits(src, segment->src_offset, segment->length) ||
		    !fits(dst, segment->dst_offset, segment->length))
			return -ERANGE;
		from = src->offset + segment->src_offset;
		to = dst->offset + segment->dst_offset;
		if (src->dax == dst->dax && from < to + segment->length &&
		    to < from + segment->length)
			return -EINVAL;
	}
	return 0;
}

int idma_ioctl_submit(struct idma_context *context, void *arg)
{
	const struct ioat_dma_submit *submit = arg;
	struct idma_region *src, *dst;
	struct idma_request *request;
	int error;

	if (submit->flags & ~IOAT_DMA_SUBMIT_ORDERED || submit->__reserved)
		return -EOPNOTSUPP;
	if (!submit->segment_count ||
	    submit->segment_count > IDMA_MAX_SEGMENTS ||
	    submit->timeout_ms > IDMA_MAX_TIMEOUT_MS)
		return -EINVAL;
	if (submit->channel != IOAT_DMA_ANY_CHANNEL &&
	    !idma_channel_find(submit->channel))
		return -ENOENT;
	src = idma_region_find(context, submit->src_region);
	if (!src)
		return -ENOENT;
	dst = idma_region_find(context, submit->dst_region);
	if (!dst) {
		idma_region_put(src);
		return -ENOENT;
	}
	request = idma_request_make(context, src, dst, submit->segment_count);
	idma_region_put(src);
	idma_region_put(dst);
	if (IS_ERR(request))
		return PTR_ERR(request);
	request->completion.tag = submit->tag;
	request->ordered = submit->flags & IOAT_DMA_SUBMIT_ORDERED;
	if (submit->channel != IOAT_DMA_ANY_CHANNEL)
		request->target = submit->channel;
	error = -EFAULT;
	if (!copy_from_user(request->segments, u64_to_user_ptr(submit->segments),
			    array_size(submit->segment_count,
				       sizeof(*request->segments))))
		error = idma_request_check(request);
	if (!error)
		error = idma_request_start(request, submit->timeout_ms);
	idma_request_put(request);
	return error;
}

/* Stops those of @tag, or all; returns how many were not completed. */
static unsigned int stop(struct idma_context *context, const u64 *tag)
{
	struct idma_request *request, *next;
	unsigned int count = 0;
	LIST_HEAD(settled);

	spin_lock(&idma_queue_lock);
	list_for_each_entry_safe(request, next, &context->active, active) {
		if (request->completed)
			continue;
		if (tag && (request->legacy || request->completion.tag != *tag))
			continue;
		count++;
		idma_request_stop(request, IOAT_DMA_CANCELED,
				  IOAT_DMA_ERROR_NONE, &settled);
	}
	spin_unlock(&idma_queue_lock);
	idma_requests_put(&settled);
	return count;
}

int idma_ioctl_cancel(struct idma_context *context, void *arg)
{
	struct ioat_dma_cancel *cancel = arg;

	cancel->out_canceled = stop(context, &(u64){ cancel->tag });
	return cancel->out_canceled ? 0 : -ENOENT;
}

/* The file is closed: nothing more is issued, and nobody will read any more. */
void idma_requests_close(struct idma_context *context)
{
	stop(context, NULL);
	idma_events_drop(context);
}
