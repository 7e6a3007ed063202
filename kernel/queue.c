// SPDX-License-Identifier: GPL-2.0-only
/*
 * What waits for channels.
 *
 * Contexts with something pending take turns, a piece each, however many and
 * however large the requests that they have.
 */
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/nodemask.h>
#include <linux/topology.h>

#include "idma.h"

/* So many requests are passed over for one whose memory is near the channel. */
#define NUMA_WINDOW 16

#define ANY IDMA_MAX_CHANNELS

DEFINE_SPINLOCK(idma_queue_lock);

/* All under idma_queue_lock. */
static LIST_HEAD(contexts);
static LIST_HEAD(runnable);
/* The distance of each node from the nearest ready channel. */
static u8 nearest[MAX_NUMNODES];

void idma_queue_add_context(struct idma_context *context)
{
	unsigned int i;

	INIT_LIST_HEAD(&context->runnable);
	INIT_LIST_HEAD(&context->active);
	INIT_LIST_HEAD(&context->events);
	for (i = 0; i < ARRAY_SIZE(context->pending); i++)
		INIT_LIST_HEAD(&context->pending[i]);
	spin_lock(&idma_queue_lock);
	list_add_tail(&context->node, &contexts);
	spin_unlock(&idma_queue_lock);
}

void idma_queue_add(struct idma_request *request, bool first)
{
	struct idma_context *context = request->context;
	struct list_head *list = &context->pending[request->target];

	lockdep_assert_held(&idma_queue_lock);
	list_add(&request->pending, first ? list : list->prev);
	if (!context->pending_count++)
		list_add_tail(&context->runnable, &runnable);
}

void idma_queue_remove(struct idma_request *request)
{
	struct idma_context *context = request->context;

	lockdep_assert_held(&idma_queue_lock);
	if (list_empty(&request->pending))
		return;
	list_del_init(&request->pending);
	if (!--context->pending_count)
		list_del_init(&context->runnable);
}

static bool is_near(const struct idma_channel *ch,
		    const struct idma_request *request)
{
	int node = request->dst->numa_node, its = READ_ONCE(ch->node);

	return node == NUMA_NO_NODE || its == NUMA_NO_NODE ||
	       node_distance(its, node) <= nearest[node];
}

static struct idma_request *pick(struct idma_context *context,
				 const struct idma_channel *ch)
{
	struct idma_request *request;
	unsigned int passed = 0;

	lockdep_assert_held(&idma_queue_lock);
	request = list_first_entry_or_null(&context->pending[ch->id],
					   struct idma_request, pending);
	if (request)
		return request;
	list_for_each_entry(request, &context->pending[ANY], pending) {
		if (is_near(ch, request))
			return request;
		if (++passed == NUMA_WINDOW)
			break;
	}
	return NULL;
}

/* Makes @op the next piece of @request. */
static void split(struct idma_request *request, struct idma_op *op)
{
	const struct ioat_dma_segment *segment =
		&request->segments[request->next];
	u64 at = request->next_offset, src_run, dst_run;

	lockdep_assert_held(&idma_queue_lock);
	op->request = request;
	op->segment = request->next;
	op->src = idma_region_lookup(request->src, segment->src_offset + at,
				     &src_run);
	op->dst = idma_region_lookup(request->dst, segment->dst_offset + at,
				     &dst_run);
	op->length = min3(min(src_run, dst_run), segment->length - at,
			  (u64)op->channel->max_piece);
	kref_get(&request->ref);
	request->in_flight++;
	request->completion.channel = op->channel->id;
	request->completion.channels |= BIT_ULL(op->channel->id);
	request->next_offset += op->length;
	if (request->next_offset < segment->length)
		return;
	request->next++;
	request->next_offset = 0;
	/* an ordered one comes back when this segment has ended */
	if (request->next == request->count || request->ordered)
		idma_queue_remove(request);
}

static bool take(struct idma_channel *ch, struct idma_op *op)
{
	struct idma_context *context;
	struct idma_request *request = NULL;

	spin_lock(&idma_queue_lock);
	list_for_each_entry(context, &runnable, runnable) {
		request = pick(context, ch);
		if (!request)
			continue;
		split(request, op);
		if (!list_empty(&context->runnable))
			list_move_tail(&context->runnable, &runnable);
		break;
	}
	spin_unlock(&idma_queue_lock);
	return request;
}

static bool waiting(void)
{
	return !list_empty_careful(&runnable);
}

/* From outside the lock; once it is so, it stays so. */
static bool is_stopped(const struct idma_op *op)
{
	return READ_ONCE(op->request->stopped);
}

static void find_nearest(void)
{
	const struct idma_channel *ch;
	int node, its, distance;

	lockdep_assert_held(&idma_queue_lock);
	for_each_node(node) {
		nearest[node] = U8_MAX;
		for_each_idma_channel(ch) {
			its = READ_ONCE(ch->node);
			if (READ_ONCE(ch->state) != IOAT_DMA_CHANNEL_READY ||
			    its == NUMA_NO_NODE)
				continue;
			distance = min(node_distance(its, node), U8_MAX);
			nearest[node] = min_t(u8, nearest[node], distance);
		}
	}
}

/*
 * What waited for another channel may have to be done by those that are ready
 * now, or by none.
 */
static void channel_changed(const struct idma_channel *ch)
{
	spin_lock(&idma_queue_lock);
	find_nearest();
	spin_unlock(&idma_queue_lock);
	if (!idma_channel_is_alive(ch))
		idma_queue_stop_gone();
	if (waiting())
		idma_channels_kick(ANY);
}

const struct idma_pieces idma_queue_pieces = {
	.take = take,
	.waiting = waiting,
	.is_stopped = is_stopped,
	.settled = idma_request_piece_settled,
	.channel_changed = channel_changed,
};

/* Channel @target, or any, takes work now or soon will. */
bool idma_queue_has_channel(u32 target)
{
	return target == ANY ? idma_channels_alive() :
			       idma_channel_is_alive(&idma_channels[target]);
}

static void stop_gone_of(struct idma_context *context,
			 struct list_head *settled)
{
	struct idma_request *request, *next;

	lockdep_assert_held(&idma_queue_lock);
	list_for_each_entry_safe(request, next, &context->active, active) {
		if (request->src->dax->gone || request->dst->dax->gone)
			idma_request_stop(request, IOAT_DMA_GONE,
					  IOAT_DMA_ERROR_DEVICE, settled);
		else if (!idma_queue_has_channel(request->target))
			idma_request_stop(request, IOAT_DMA_GONE,
					  IOAT_DMA_ERROR_CHANNEL, settled);
	}
}

/* The context after @context, or the first; with a reference, or NULL. */
static struct idma_context *next_context(struct idma_context *context)
{
	lockdep_assert_held(&idma_queue_lock);
	context = list_prepare_entry(context, &contexts, node);
	list_for_each_entry_continue(context, &contexts, node)
		if (kref_get_unless_zero(&context->ref))
			return context;
	return NULL;
}

/*
 * A device or a channel went: stops requests whose memory is gone, and those
 * that have no channel to wait for. Others get at the lock after each context.
 */
void idma_queue_stop_gone(void)
{
	struct idma_context *context = NULL, *last;
	LIST_HEAD(settled);

	do {
		last = context;
		spin_lock(&idma_queue_lock);
		context = next_context(last);
		if (context)
			stop_gone_of(context, &settled);
		spin_unlock(&idma_queue_lock);
		idma_requests_put(&settled);
		if (last)
			idma_context_put(last);
	} while (context);
}
