// SPDX-License-Identifier: GPL-2.0-only
/*
 * What waits for channels, and the clock that it may run out of.
 *
 * Contexts with something pending take turns, a piece each, however many and
 * however large the requests that they have.
 */
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/topology.h>

#include "idma.h"

/* How late a timeout may be noticed, and how often channels are looked after. */
#define TICK msecs_to_jiffies(50)

/* So many requests are passed over for one whose memory is near the channel. */
#define NUMA_WINDOW 16

#define ANY IDMA_MAX_CHANNELS

DEFINE_SPINLOCK(idma_queue_lock);
LIST_HEAD(idma_contexts);

static LIST_HEAD(runnable);

void idma_queue_init_context(struct idma_context *context)
{
	unsigned int i;

	INIT_LIST_HEAD(&context->runnable);
	INIT_LIST_HEAD(&context->active);
	INIT_LIST_HEAD(&context->completions);
	for (i = 0; i < ARRAY_SIZE(context->pending); i++)
		INIT_LIST_HEAD(&context->pending[i]);
	spin_lock(&idma_queue_lock);
	list_add_tail(&context->node, &idma_contexts);
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

/*
 * No channel that takes work is nearer to the destination than @ch. Equal nodes
 * would not do: memory may be on a node without CPUs and without devices.
 */
static bool is_nearest(const struct idma_channel *ch,
		       const struct idma_request *request)
{
	int node = request->dst->numa_node, distance, other;
	unsigned int i;

	if (node == NUMA_NO_NODE || ch->node == NUMA_NO_NODE ||
	    ch->node == node)
		return true;
	distance = node_distance(ch->node, node);
	for (i = 0; i < IDMA_MAX_CHANNELS; i++) {
		other = READ_ONCE(idma_channels[i].node);
		if (other != NUMA_NO_NODE &&
		    READ_ONCE(idma_channels[i].state) ==
			    IOAT_DMA_CHANNEL_READY &&
		    node_distance(other, node) < distance)
			return false;
	}
	return true;
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
		if (is_nearest(ch, request))
			return request;
		if (++passed == NUMA_WINDOW)
			break;
	}
	return NULL;
}

/* Cuts the next piece off @request. */
static void cut(struct idma_request *request, struct idma_op *op)
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

/* Makes @op the next piece for @ch; false if there is none. */
bool idma_queue_take(struct idma_channel *ch, struct idma_op *op)
{
	struct idma_context *context;
	struct idma_request *request = NULL;

	spin_lock(&idma_queue_lock);
	list_for_each_entry(context, &runnable, runnable) {
		request = pick(context, ch);
		if (!request)
			continue;
		cut(request, op);
		if (!list_empty(&context->runnable))
			list_move_tail(&context->runnable, &runnable);
		break;
	}
	spin_unlock(&idma_queue_lock);
	return request;
}

/* Stops what matches, of @context or of all; returns how many matched. */
unsigned int idma_queue_stop(struct idma_context *context, idma_match match,
			     const void *what, u32 status, u32 error)
{
	struct idma_request *request, *next;
	struct idma_context *each;
	unsigned int count = 0;
	LIST_HEAD(settled);

	spin_lock(&idma_queue_lock);
	list_for_each_entry(each, &idma_contexts, node) {
		if (context && each != context)
			continue;
		list_for_each_entry_safe(request, next, &each->active, active) {
			if (request->is_answered || !match(request, what))
				continue;
			count++;
			idma_request_stop(request, status, error, &settled);
		}
	}
	spin_unlock(&idma_queue_lock);
	idma_requests_put(&settled);
	return count;
}

static bool is_orphan(const struct idma_request *request, const void *what)
{
	u32 state;

	if (request->target == ANY)
		return !idma_channels_alive();
	state = READ_ONCE(idma_channels[request->target].state);
	return state != IOAT_DMA_CHANNEL_READY &&
	       state != IOAT_DMA_CHANNEL_RECOVERING;
}

/* Channels went: stops what has none left to wait for. */
void idma_queue_fail_orphans(void)
{
	idma_queue_stop(NULL, is_orphan, NULL, IOAT_DMA_GONE,
			IOAT_DMA_ERROR_CHANNEL);
}

static bool is_overdue(const struct idma_request *request, const void *now)
{
	return request->deadline <= *(const u64 *)now;
}

static void tick(struct work_struct *work);
static DECLARE_DELAYED_WORK(tick_work, tick);

/* From now on until there is nothing to look after. */
void idma_tick_start(void)
{
	queue_delayed_work(idma_wq, &tick_work, TICK);
}

void idma_tick_stop(void)
{
	cancel_delayed_work_sync(&tick_work);
}

static bool requests_active(void)
{
	struct idma_context *context;
	bool active = false;

	spin_lock(&idma_queue_lock);
	list_for_each_entry(context, &idma_contexts, node)
		active |= !list_empty(&context->active);
	spin_unlock(&idma_queue_lock);
	return active;
}

static void tick(struct work_struct *work)
{
	u64 now = ktime_get_ns();
	unsigned int i;
	bool busy;

	idma_queue_stop(NULL, is_overdue, &now, IOAT_DMA_TIMED_OUT,
			IOAT_DMA_ERROR_NONE);
	busy = requests_active();
	for (i = 0; i < IDMA_MAX_CHANNELS; i++) {
		struct idma_channel *ch = &idma_channels[i];

		switch (READ_ONCE(ch->state)) {
		case IOAT_DMA_CHANNEL_GONE:
			continue;
		case IOAT_DMA_CHANNEL_READY:
			if (!READ_ONCE(ch->in_flight))
				continue;
		}
		busy = true;
		queue_work(idma_wq, &ch->work);
	}
	if (busy)
		idma_tick_start();
}
