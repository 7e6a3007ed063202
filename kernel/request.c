// SPDX-License-Identifier: GPL-2.0-only
/*
 * A request from its submission to its end.
 *
 * It is answered when its caller is told how it went, and settled when the
 * hardware has nothing more to do with its memory. Nearly always that is one
 * and the same moment; a timeout answers first. Until it is settled a request
 * holds references to the memory's struct dev_pagemap, without which the memory
 * could be taken away under the hardware: pinned pages alone do not prevent
 * that from 6.1 on. They are held for requests in flight only, because they
 * make the removal of the device wait.
 */
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "compat.h"
#include "idma.h"

static bool charge(struct idma_context *context, u32 segments)
{
	if (!idma_charge(context, IDMA_REQUESTS, 1))
		return false;
	if (idma_charge(context, IDMA_SEGMENTS, segments))
		return true;
	idma_uncharge(context, IDMA_REQUESTS, 1);
	return false;
}

static void uncharge(struct idma_context *context, u32 segments)
{
	idma_uncharge(context, IDMA_SEGMENTS, segments);
	idma_uncharge(context, IDMA_REQUESTS, 1);
}

/* With room for @count segments. Takes a reference to both regions. */
struct idma_request *idma_request_make(struct idma_context *context,
				       struct idma_region *src,
				       struct idma_region *dst, u32 count)
{
	struct idma_request *request;

	if (!charge(context, count))
		return ERR_PTR(-EAGAIN);
	request = kzalloc(sizeof(*request), GFP_KERNEL_ACCOUNT);
	if (!request)
		goto uncharge;
	request->segments = kvmalloc_array(count, sizeof(*request->segments),
					   GFP_KERNEL_ACCOUNT);
	if (!request->segments)
		goto free_request;
	kref_init(&request->ref);
	kref_get(&context->ref);
	kref_get(&src->ref);
	kref_get(&dst->ref);
	request->context = context;
	request->src = src;
	request->dst = dst;
	request->count = count;
	request->target = IDMA_MAX_CHANNELS;
	request->completion.channel = IOAT_DMA_ANY_CHANNEL;
	INIT_LIST_HEAD(&request->pending);
	INIT_LIST_HEAD(&request->active);
	INIT_LIST_HEAD(&request->answered);
	return request;

free_request:
	kfree(request);
uncharge:
	uncharge(context, count);
	return ERR_PTR(-ENOMEM);
}

static void request_free(struct kref *ref)
{
	struct idma_request *request =
		container_of(ref, struct idma_request, ref);
	struct idma_context *context = request->context;

	idma_region_put(request->src);
	idma_region_put(request->dst);
	uncharge(context, request->count);
	kvfree(request->segments);
	kfree(request);
	idma_context_put(context);
}

/* Not under idma_queue_lock: the last one frees. */
void idma_request_put(struct idma_request *request)
{
	kref_put(&request->ref, request_free);
}

/* Drops what requests held for being active. */
void idma_requests_put(struct list_head *settled)
{
	struct idma_request *request, *next;

	list_for_each_entry_safe(request, next, settled, active) {
		list_del_init(&request->active);
		idma_request_put(request);
	}
}

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

static struct dev_pagemap *hold_memory(const struct idma_region *region)
{
	return idma_get_dev_pagemap(PHYS_PFN(region->extents[0].phys));
}

static bool target_alive(const struct idma_request *request)
{
	u32 state;

	if (request->target == IDMA_MAX_CHANNELS)
		return idma_channels_alive();
	state = READ_ONCE(idma_channels[request->target].state);
	return state == IOAT_DMA_CHANNEL_READY ||
	       state == IOAT_DMA_CHANNEL_RECOVERING;
}

/* On success the context's reference is the answer's. */
int idma_request_start(struct idma_request *request, u32 timeout_ms)
{
	struct idma_context *context = request->context;
	u64 now = ktime_get_ns();
	int error = 0;

	request->src_pgmap = hold_memory(request->src);
	request->dst_pgmap = hold_memory(request->dst);
	if (!timeout_ms)
		timeout_ms = IDMA_DEFAULT_TIMEOUT_MS;
	request->deadline = now + (u64)timeout_ms * NSEC_PER_MSEC;
	request->completion.submitted_ns = now;

	spin_lock(&idma_queue_lock);
	/*
	 * In this order: the memory is held, and the device has not lost its
	 * driver since the region was made. So it is the region's memory that
	 * is held, and not what came to be at its address later.
	 */
	if (!request->src_pgmap || !request->dst_pgmap ||
	    request->src->dax->gone || request->dst->dax->gone)
		error = -ENXIO;
	else if (!target_alive(request))
		error = -ENODEV;
	if (error) {
		spin_unlock(&idma_queue_lock);
		put_dev_pagemap(request->src_pgmap);
		put_dev_pagemap(request->dst_pgmap);
		return error;
	}
	kref_get(&request->ref); /* for being active */
	kref_get(&request->ref); /* for here */
	list_add_tail(&request->active, &context->active);
	idma_queue_add(request, false);
	spin_unlock(&idma_queue_lock);

	idma_tick_start();
	idma_channels_kick(request);
	idma_request_put(request);
	return 0;
}

static void answer(struct idma_request *request)
{
	struct idma_context *context = request->context;

	lockdep_assert_held(&idma_queue_lock);
	request->is_answered = true;
	request->completion.completed_ns = ktime_get_ns();
	if (request->in_flight)
		request->completion.flags |= IOAT_DMA_COMPLETION_UNSETTLED;
	if (!request->legacy && !context->closed)
		list_add_tail(&request->answered, &context->completions);
	wake_up_all(&context->wait);
}

/*
 * Who was told that it is not settled is told when it is; who has not read
 * that yet need not know.
 */
static void answer_settled(struct idma_request *request)
{
	struct idma_context *context = request->context;

	lockdep_assert_held(&idma_queue_lock);
	request->completion.flags &= ~IOAT_DMA_COMPLETION_UNSETTLED;
	if (!request->told_unsettled || context->closed)
		return;
	request->completion.flags |= IOAT_DMA_COMPLETION_SETTLED;
	if (!list_empty(&request->answered))
		return;
	kref_get(&request->ref);
	list_add_tail(&request->answered, &context->completions);
}

static void settle(struct idma_request *request, struct list_head *settled)
{
	lockdep_assert_held(&idma_queue_lock);
	if (!request->is_answered)
		answer(request);
	else
		answer_settled(request);
	put_dev_pagemap(request->src_pgmap);
	put_dev_pagemap(request->dst_pgmap);
	list_move_tail(&request->active, settled);
	wake_up_all(&request->context->wait);
}

/*
 * Nothing more of it is issued. A timeout answers it, whatever the hardware
 * does. For other reasons, what is with the hardware ends first; and where that
 * is all there was, it just ends.
 */
void idma_request_stop(struct idma_request *request, u32 status, u32 error,
		       struct list_head *settled)
{
	lockdep_assert_held(&idma_queue_lock);
	if (!request->stopped && (status == IOAT_DMA_TIMED_OUT ||
				  request->next < request->count)) {
		request->stopped = true;
		request->completion.status = status;
		request->completion.error = error;
	}
	if (status == IOAT_DMA_TIMED_OUT) {
		unsigned int channel = request->completion.channel;

		if (request->in_flight && channel < IDMA_MAX_CHANNELS)
			atomic64_inc(&idma_channels[channel].timeouts);
		answer(request);
	}
	idma_queue_remove(request);
	if (!request->in_flight)
		settle(request, settled);
}

/* From outside the queue's lock; then it is so for good. */
bool idma_request_is_stopped(const struct idma_request *request)
{
	bool stopped;

	spin_lock(&idma_queue_lock);
	stopped = request->stopped;
	spin_unlock(&idma_queue_lock);
	return stopped;
}

/* The caller has the answer, and the hardware is done with the memory. */
bool idma_request_is_settled(const struct idma_request *request)
{
	bool settled;

	spin_lock(&idma_queue_lock);
	settled = request->is_answered && !request->in_flight;
	spin_unlock(&idma_queue_lock);
	return settled;
}

static void note_failure(struct idma_request *request, const struct idma_op *op,
			 u32 status, u32 error)
{
	struct ioat_dma_completion *completion = &request->completion;

	lockdep_assert_held(&idma_queue_lock);
	request->stopped = true;
	idma_queue_remove(request);
	/* its own fault says more than that it was hit by another's */
	if (request->is_answered || completion->status == IOAT_DMA_FAILED ||
	    (completion->status != IOAT_DMA_DONE && status != IOAT_DMA_FAILED))
		return;
	completion->status = status;
	completion->error = error;
	completion->segment = op->segment;
	completion->channel = op->channel->id;
}

/* The hardware has nothing more to do with @op, a piece of a request. */
void idma_request_piece_done(struct idma_op *op, u32 status, u32 error)
{
	struct idma_request *request = op->request;
	LIST_HEAD(settled);

	spin_lock(&idma_queue_lock);
	request->in_flight--;
	if (status != IOAT_DMA_DONE)
		note_failure(request, op, status, error);
	else if (!request->is_answered)
		request->completion.bytes_done += op->length;
	if (!request->in_flight) {
		if (request->stopped || request->next == request->count)
			settle(request, &settled);
		else if (list_empty(&request->pending))
			idma_queue_add(request, true); /* an ordered one */
	}
	spin_unlock(&idma_queue_lock);
	idma_requests_put(&settled);
	idma_request_put(request);
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
	    submit->channel >= IDMA_MAX_CHANNELS)
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
	if (error)
		idma_request_put(request);
	return error;
}

static bool has_tag(const struct idma_request *request, const void *tag)
{
	return !request->legacy &&
	       request->completion.tag == *(const u64 *)tag;
}

int idma_ioctl_cancel(struct idma_context *context, void *arg)
{
	struct ioat_dma_cancel *cancel = arg;
	u64 tag = cancel->tag;

	cancel->out_canceled = idma_queue_stop(context, has_tag, &tag,
					       IOAT_DMA_CANCELED,
					       IOAT_DMA_ERROR_NONE);
	return cancel->out_canceled ? 0 : -ENOENT;
}

static bool any(const struct idma_request *request, const void *what)
{
	return true;
}

/* Nobody will ask any more: stops all, and drops what nobody read. */
void idma_requests_close(struct idma_context *context)
{
	struct idma_request *request, *next;
	LIST_HEAD(unread);

	idma_queue_stop(context, any, NULL, IOAT_DMA_CANCELED,
			IOAT_DMA_ERROR_NONE);
	spin_lock(&idma_queue_lock);
	context->closed = true;
	list_splice_init(&context->completions, &unread);
	list_for_each_entry(request, &context->active, active)
		if (!request->legacy && !request->is_answered)
			list_add_tail(&request->answered, &unread);
	spin_unlock(&idma_queue_lock);
	list_for_each_entry_safe(request, next, &unread, answered) {
		list_del_init(&request->answered);
		idma_request_put(request);
	}
}
