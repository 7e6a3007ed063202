// SPDX-License-Identifier: GPL-2.0-only
/*
 * A channel at work: pieces in, operations to the hardware.
 */
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/module.h>

#include "channel.h"

/* How often a channel that has something to do is looked after. */
#define TICK msecs_to_jiffies(50)
/* No timer is armed for longer than that. */
#define LONGEST_TICK HZ

/* Pieces that the channel had no room for, and that were stopped meanwhile. */
static void drop_stopped(struct idma_channel *ch)
{
	struct idma_op *op, *next;

	lockdep_assert_held(&ch->lock);
	list_for_each_entry_safe(op, next, &ch->retry, node)
		if (idma_pieces->is_stopped(op))
			idma_op_drop(op, IOAT_DMA_ABORTED, IOAT_DMA_ERROR_NONE);
}

static struct idma_op *next_op(struct idma_channel *ch)
{
	struct idma_op *op;

	lockdep_assert_held(&ch->lock);
	op = list_first_entry_or_null(&ch->retry, struct idma_op, node);
	if (op)
		return op;
	op = list_first_entry_or_null(&ch->free, struct idma_op, node);
	if (!op || !idma_pieces->take(ch, op))
		return NULL;
	return op;
}

/*
 * There was no room for @op, or no mapping to be had: it is tried again once an
 * operation ends. If none is in flight, waiting would not help.
 */
static void issue_later(struct idma_op *op, int error)
{
	struct idma_channel *ch = op->channel;

	lockdep_assert_held(&ch->lock);
	if (ch->in_flight) {
		list_move(&op->node, &ch->retry);
	} else if (error == -ENOMEM) {
		idma_op_drop(op, IOAT_DMA_FAILED, IOAT_DMA_ERROR_MAP);
	} else {
		list_move(&op->node, &ch->retry);
		ch->refusals++;
		idma_channel_fail(ch);
	}
}

/* Gives the hardware up to @budget pieces. */
static void pump(struct idma_channel *ch, unsigned int budget)
{
	struct idma_op *op;
	bool issued = false;
	int error = 0;

	lockdep_assert_held(&ch->lock);
	drop_stopped(ch);
	while (!error && budget-- && ch->state == IOAT_DMA_CHANNEL_READY &&
	       ch->bytes_in_flight < IDMA_BYTES_IN_FLIGHT) {
		op = next_op(ch);
		if (!op)
			break;
		error = idma_op_issue(op);
		if (error) {
			issue_later(op, error);
		} else {
			ch->refusals = 0;
			issued = true;
		}
	}
	if (issued)
		dma_async_issue_pending(ch->chan);
}

/* When to look after @ch again; zero is not until something happens. */
static unsigned long next_look(const struct idma_channel *ch)
{
	unsigned long wake = ch->since + ch->set_aside_for;

	lockdep_assert_held(&ch->lock);
	if (ch->suspended)
		return list_empty(&ch->retry) ? 0 : TICK;
	switch (ch->state) {
	case IOAT_DMA_CHANNEL_READY:
		return ch->in_flight || idma_pieces->waiting() ? TICK : 0;
	case IOAT_DMA_CHANNEL_RECOVERING:
		return TICK;
	case IOAT_DMA_CHANNEL_SET_ASIDE:
		if (ch->distrusted)
			return 0;
		return time_before(jiffies, wake) ? wake - jiffies + 1 : 1;
	default:
		return 0;
	}
}

static void look_again(struct idma_channel *ch)
{
	unsigned long delay = next_look(ch);

	if (delay) /* no effect if it is armed, which it never is for long */
		queue_delayed_work(idma_wq, &ch->timer,
				   min_t(unsigned long, delay, LONGEST_TICK));
}

static void look_after(struct idma_channel *ch)
{
	mutex_lock(&ch->lock);
	idma_ops_reap(ch);
	idma_channel_check(ch);
	pump(ch, IDMA_DEPTH);
	look_again(ch);
	mutex_unlock(&ch->lock);
}

static void channel_work(struct work_struct *work)
{
	look_after(container_of(work, struct idma_channel, work));
}

static void channel_timer(struct work_struct *work)
{
	look_after(container_of(work, struct idma_channel, timer.work));
}

static bool is_target(const struct idma_channel *ch, u32 target)
{
	return READ_ONCE(ch->state) == IOAT_DMA_CHANNEL_READY &&
	       (target == IDMA_MAX_CHANNELS || target == ch->id);
}

/* Something was queued for channel @target, or any: has workers look. */
void idma_channels_kick(u32 target)
{
	struct idma_channel *ch;

	for_each_idma_channel(ch)
		if (is_target(ch, target))
			queue_work(idma_wq, &ch->work);
}

/*
 * The caller's thread itself gives a share of what is queued to the channel
 * that has least to do, which spares a small request the way through a worker.
 */
void idma_channels_start(u32 target)
{
	unsigned int ready = idma_channels_in(IOAT_DMA_CHANNEL_READY);
	unsigned int budget = ready ? DIV_ROUND_UP(IDMA_DEPTH, ready) : 0;
	struct idma_channel *ch, *best = NULL;

	for_each_idma_channel(ch)
		if (is_target(ch, target) &&
		    (!best ||
		     READ_ONCE(ch->in_flight) < READ_ONCE(best->in_flight)))
			best = ch;
	if (!best || !mutex_trylock(&best->lock))
		return;
	idma_ops_reap(best);
	if (best->failed)
		idma_channel_fail(best);
	pump(best, budget);
	look_again(best);
	mutex_unlock(&best->lock);
}

void idma_channel_init_work(struct idma_channel *ch)
{
	INIT_WORK(&ch->work, channel_work);
	INIT_DELAYED_WORK(&ch->timer, channel_timer);
}
