// SPDX-License-Identifier: GPL-2.0-only
/*
 * A request from its submission to its end.
 *
 * It is completed when its caller can read how it went, and settled when the
 * hardware has nothing more to do with its memory. That is one and the same
 * moment but for a timeout, which completes it first: then the completion is
 * TIMED_OUT, whatever the request was stopped for, and says UNSETTLED. So no
 * other status is ever reported while the hardware may still write.
 *
 * Until it is settled a request holds references to the memory's struct
 * dev_pagemap, without which the memory could be taken away under the hardware:
 * pinned pages alone do not prevent that from 6.1 on. They are held for
 * requests in flight only, because they make the removal of the device wait.
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
	timerqueue_init(&request->expiry);
	INIT_LIST_HEAD(&request->started);
	INIT_LIST_HEAD(&request->pending);
	INIT_LIST_HEAD(&request->active);
	INIT_LIST_HEAD(&request->completed_event.node);
	INIT_LIST_HEAD(&request->settled_event.node);
	request->completed_event.request = request;
	request->settled_event.request = request;
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

/* Drops the references of requests that were active. */
void idma_requests_put(struct list_head *settled)
{
	struct idma_request *request, *next;

	list_for_each_entry_safe(request, next, settled, active) {
		list_del_init(&request->active);
		idma_request_put(request);
	}
}

static struct dev_pagemap *hold_memory(const struct idma_region *region)
{
	return idma_get_dev_pagemap(PHYS_PFN(region->extents[0].phys));
}

/*
 * Both devices have their drivers, and keep them until idma_queue_lock is let
 * go: so it is the regions' memory that is held, and not what comes to be at
 * its address later. On 5.10 get_dev_pagemap() would even crash while the
 * memory of a device is being taken apart.
 */
static int hold_both(struct idma_request *request)
{
	lockdep_assert_held(&idma_queue_lock);
	if (request->src->dax->gone || request->dst->dax->gone)
		return -ENXIO;
	request->src_pgmap = hold_memory(request->src);
	request->dst_pgmap = hold_memory(request->dst);
	return request->src_pgmap && request->dst_pgmap ? 0 : -ENXIO;
}

/* On success it is active, with a reference of its own. */
int idma_request_start(struct idma_request *request, u32 timeout_ms)
{
	struct idma_context *context = request->context;
	u64 now = ktime_get_ns();
	int error;

	if (!timeout_ms)
		timeout_ms = IDMA_DEFAULT_TIMEOUT_MS;
	request->completion.submitted_ns = now;

	spin_lock(&idma_queue_lock);
	error = hold_both(request);
	if (!error && !idma_queue_has_channel(request->target))
		error = -ENODEV;
	if (error) {
		spin_unlock(&idma_queue_lock);
		put_dev_pagemap(request->src_pgmap);
		put_dev_pagemap(request->dst_pgmap);
		return error;
	}
	kref_get(&request->ref);
	list_add_tail(&request->active, &context->active);
	idma_deadline_add(request, now + timeout_ms * (u64)NSEC_PER_MSEC);
	idma_queue_add(request, false);
	spin_unlock(&idma_queue_lock);

	idma_channels_start(request->target);
	/* a hint: workers look under the lock */
	if (!list_empty_careful(&request->pending))
		idma_channels_kick(request->target);
	return 0;
}

/*
 * Its completion is fixed. The hardware may still write to its memory only if
 * its time is over, and then it says so.
 */
static void complete_request(struct idma_request *request)
{
	struct ioat_dma_completion *completion = &request->completion;

	lockdep_assert_held(&idma_queue_lock);
	WARN_ON_ONCE(request->in_flight &&
		     completion->status != IOAT_DMA_TIMED_OUT);
	request->completed = true;
	completion->completed_ns = ktime_get_ns();
	idma_queue_remove(request);
	idma_deadline_remove(request);
	if (!request->legacy)
		idma_event_queue(&request->completed_event,
				 request->in_flight ?
				 IOAT_DMA_COMPLETION_UNSETTLED : 0);
}

/* Who has not yet read that it is not settled need not read that it is now. */
static void report_settled(struct idma_request *request)
{
	lockdep_assert_held(&idma_queue_lock);
	if (request->legacy)
		return;
	if (list_empty(&request->completed_event.node))
		idma_event_queue(&request->settled_event,
				 IOAT_DMA_COMPLETION_SETTLED);
	else
		request->completed_event.flags = 0;
}

/* The hardware has nothing more to do with it. */
static void settle(struct idma_request *request, struct list_head *settled)
{
	lockdep_assert_held(&idma_queue_lock);
	if (request->completed)
		report_settled(request);
	else
		complete_request(request);
	put_dev_pagemap(request->src_pgmap);
	put_dev_pagemap(request->dst_pgmap);
	list_move_tail(&request->active, settled);
	wake_up_all(&request->context->wait);
}

/* Nothing more of it is issued; it is settled at once if nothing was. */
static void stop(struct idma_request *request, struct list_head *settled)
{
	lockdep_assert_held(&idma_queue_lock);
	WRITE_ONCE(request->stopped, true);
	idma_queue_remove(request);
	if (!request->in_flight)
		settle(request, settled);
}

/*
 * For another reason than its time. What is with the hardware ends first; and
 * if that is all there was, it just ends.
 */
void idma_request_stop(struct idma_request *request, u32 status, u32 error,
		       struct list_head *settled)
{
	lockdep_assert_held(&idma_queue_lock);
	if (request->stopped || request->next == request->count)
		return;
	request->completion.status = status;
	request->completion.error = error;
	stop(request, settled);
}

/* Its time is over: its caller learns that now, whatever the hardware does. */
void idma_request_expire(struct idma_request *request,
			 struct list_head *settled)
{
	struct ioat_dma_completion *completion = &request->completion;

	lockdep_assert_held(&idma_queue_lock);
	completion->status = IOAT_DMA_TIMED_OUT;
	completion->error = IOAT_DMA_ERROR_NONE;
	completion->segment = 0;
	if (request->in_flight) {
		idma_count(&idma_channels[completion->channel],
			   IDMA_TIMEOUTS, 1);
		complete_request(request);
	}
	stop(request, settled);
}

/* The caller has the answer, and the hardware is done with the memory. */
bool idma_request_is_settled(const struct idma_request *request)
{
	bool settled;

	spin_lock(&idma_queue_lock);
	settled = request->completed && !request->in_flight;
	spin_unlock(&idma_queue_lock);
	return settled;
}

static void note_failure(struct idma_request *request, const struct idma_op *op,
			 u32 status, u32 error)
{
	struct ioat_dma_completion *completion = &request->completion;

	lockdep_assert_held(&idma_queue_lock);
	WRITE_ONCE(request->stopped, true);
	idma_queue_remove(request);
	/* its own fault says more than that it was hit by another's */
	if (request->completed || completion->status == IOAT_DMA_FAILED ||
	    (completion->status != IOAT_DMA_DONE && status != IOAT_DMA_FAILED))
		return;
	completion->status = status;
	completion->error = error;
	completion->segment = op->segment;
	completion->channel = op->channel->id;
}

/* The hardware has nothing more to do with @op, a piece of a request. */
void idma_request_piece_settled(const struct idma_op *op, u32 status, u32 error)
{
	struct idma_request *request = op->request;
	bool waits = false;
	LIST_HEAD(settled);

	spin_lock(&idma_queue_lock);
	request->in_flight--;
	if (status != IOAT_DMA_DONE)
		note_failure(request, op, status, error);
	else if (!request->completed)
		request->completion.bytes_done += op->length;
	if (!request->in_flight) {
		if (request->stopped || request->next == request->count) {
			settle(request, &settled);
		} else if (list_empty(&request->pending)) {
			idma_queue_add(request, true); /* an ordered one */
			waits = true;
		}
	}
	spin_unlock(&idma_queue_lock);
	/* this channel goes on with it itself, if it goes on */
	if (waits && READ_ONCE(op->channel->state) != IOAT_DMA_CHANNEL_READY)
		idma_channels_kick(request->target);
	idma_requests_put(&settled);
	idma_request_put(request);
}

bool idma_requests_settled(struct idma_context *context)
{
	bool settled;

	spin_lock(&idma_queue_lock);
	settled = list_empty(&context->active);
	spin_unlock(&idma_queue_lock);
	return settled;
}
