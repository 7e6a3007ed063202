// SPDX-License-Identifier: GPL-2.0-only
/*
 * A channel in trouble.
 *
 * What ioatdma does after a fault depends on its kind. A read or write error:
 * the failing operation's callback comes at once, and those of all behind it.
 * Anything else: its timer resets the channel after some 2 s, and the callback
 * of the operation that failed never comes, nor does tx_status ever tell. A
 * lost interrupt: nothing comes until somebody asks for tx_status.
 *
 * One thing is sure of every kind: operations end in order. So when the callback
 * of a later operation comes, the hardware is done with all before, and those
 * whose callback is missing are lost. That later operation is a tiny copy of
 * the module's own. It also calms ioatdma, which after a hung operation resets
 * the channel every 200 ms until one goes through.
 *
 * If that fails too, the channel is given back to dmaengine, which resets the
 * hardware and ends what it had, and asked for anew. If even then no copy goes
 * through, it is set aside and tried again from time to time.
 */
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/module.h>

#include "idma.h"

/* An operation of this age makes the module ask for tx_status. */
#define POLL_AFTER msecs_to_jiffies(200)
/* One of this age is in trouble: later than ioatdma's own reset, at 2.4 s. */
#define TROUBLE_AFTER msecs_to_jiffies(3000)
/* So long may a copy of the module's own take, a reset by ioatdma included. */
#define CALM_TIMEOUT msecs_to_jiffies(3000)
/* Between two of those that the channel did not even take. */
#define CALM_PAUSE msecs_to_jiffies(300)
/* How often a channel is asked for anew before it is set aside. */
#define MAX_RESETS 2
#define SET_ASIDE_FOR msecs_to_jiffies(10000)
/* What unbinding waits for before it takes the hardware's work away. */
#define DRAIN_TIMEOUT msecs_to_jiffies(3500)

/* Nothing new is issued until the channel has proved itself. */
void idma_channel_trouble(struct idma_channel *ch)
{
	lockdep_assert_held(&ch->lock);
	if (ch->state != IOAT_DMA_CHANNEL_READY)
		return;
	idma_channel_set_state(ch, IOAT_DMA_CHANNEL_RECOVERING);
	ch->calm_tries = 0;
	ch->calm_with_hw = false;
	ch->calm_came = false;
	ch->trouble = jiffies;
	idma_tick_start();
	queue_work(idma_wq, &ch->work);
}

static void issue_calm(struct idma_channel *ch)
{
	struct idma_op *op = &ch->calm[ch->calm_tries];

	lockdep_assert_held(&ch->lock);
	op->src_dma = ch->buffer_dma;
	op->dst_dma = ch->buffer_dma + L1_CACHE_BYTES;
	op->length = L1_CACHE_BYTES;
	op->result = DMA_TRANS_ABORTED;
	ch->trouble = jiffies;
	ch->calm_tries++;
	ch->calm_came = false;
	ch->calm_with_hw = false;
	if (!idma_op_issue(op))
		return;
	ch->calm_with_hw = true;
	dma_async_issue_pending(ch->chan);
}

/* A later operation ended, or the hardware was reset: they will not. */
static void give_up_issued(struct idma_channel *ch)
{
	struct idma_op *op, *next;

	lockdep_assert_held(&ch->lock);
	list_for_each_entry_safe(op, next, &ch->issued, node) {
		ch->info.out_lost++;
		idma_op_resolve(op, IOAT_DMA_FAILED, IOAT_DMA_ERROR_LOST);
		list_move(&op->node, &ch->lost);
	}
}

static void recovered(struct idma_channel *ch)
{
	lockdep_assert_held(&ch->lock);
	/* callbacks come in order, so those of the lost come no more */
	list_splice_init(&ch->lost, &ch->free);
	ch->info.out_recoveries++;
	ch->resets = 0;
	idma_channel_set_state(ch, IOAT_DMA_CHANNEL_READY);
}

/*
 * Gives the channel back to dmaengine and asks for the same one again. Someone
 * else may be quicker; then it is gone.
 */
static void reset_channel(struct idma_channel *ch)
{
	/* Only compared with from here on, so it need not be there any more. */
	struct dma_chan *chan = ch->chan;
	dma_cap_mask_t mask;

	lockdep_assert_held(&ch->lock);
	dev_warn(ch->dev, "%s: does not recover, resetting it\n", ch->name);
	idma_channel_give_back(ch);
	give_up_issued(ch);
	list_splice_init(&ch->lost, &ch->free);
	ch->calm_tries = 0;
	ch->calm_with_hw = false;
	ch->calm_came = false;
	ch->resets++;

	dma_cap_zero(mask);
	dma_cap_set(DMA_MEMCPY, mask);
	ch->chan = dma_request_channel(mask, idma_provider_filter, chan);
	if (!ch->chan) {
		dev_warn(ch->dev, "%s: cannot be had again\n", ch->name);
		idma_channel_detach(ch, IOAT_DMA_ERROR_CHANNEL);
		idma_queue_fail_orphans();
	}
}

static void set_aside(struct idma_channel *ch)
{
	struct idma_op *op, *next;

	lockdep_assert_held(&ch->lock);
	dev_err(ch->dev, "%s: set aside\n", ch->name);
	ch->trouble = jiffies;
	idma_channel_set_state(ch, IOAT_DMA_CHANNEL_SET_ASIDE);
	give_up_issued(ch);
	list_for_each_entry_safe(op, next, &ch->retry, node)
		idma_op_resolve(op, IOAT_DMA_GONE, IOAT_DMA_ERROR_CHANNEL);
	idma_queue_fail_orphans();
}

static void recover(struct idma_channel *ch)
{
	lockdep_assert_held(&ch->lock);
	idma_channel_poll(ch);
	if (ch->calm_came) {
		ch->calm_came = false;
		give_up_issued(ch);
		if (ch->calm[ch->calm_tries - 1].result == DMA_TRANS_NOERROR) {
			recovered(ch);
			return;
		}
	}
	if (ch->calm_tries &&
	    time_before(jiffies, ch->trouble + (ch->calm_with_hw ?
						CALM_TIMEOUT : CALM_PAUSE)))
		return;
	if (ch->calm_tries < IDMA_CALM_TRIES)
		issue_calm(ch);
	else if (ch->resets < MAX_RESETS)
		reset_channel(ch);
	else
		set_aside(ch);
}

/* Looks after @ch; called again and again while it has something to do. */
void idma_channel_check(struct idma_channel *ch)
{
	struct idma_op *op;

	lockdep_assert_held(&ch->lock);
	op = list_first_entry_or_null(&ch->issued, struct idma_op, node);
	if (op && ch->state == IOAT_DMA_CHANNEL_READY &&
	    time_after(jiffies, op->issued + POLL_AFTER)) {
		idma_channel_poll(ch);
		op = list_first_entry_or_null(&ch->issued, struct idma_op,
					      node);
		if (op && time_after(jiffies, op->issued + TROUBLE_AFTER))
			idma_channel_trouble(ch);
	}
	if (ch->state == IOAT_DMA_CHANNEL_SET_ASIDE &&
	    time_after(jiffies, ch->trouble + SET_ASIDE_FOR)) {
		idma_channel_set_state(ch, IOAT_DMA_CHANNEL_RECOVERING);
		/* nothing of what was tried before is with the hardware then */
		reset_channel(ch);
	}
	if (ch->state == IOAT_DMA_CHANNEL_RECOVERING)
		recover(ch);
}

/* Stops issuing and waits until the hardware has nothing more, or hangs. */
void idma_channel_drain(struct idma_channel *ch)
{
	unsigned long end = jiffies + DRAIN_TIMEOUT;

	lockdep_assert_held(&ch->lock);
	idma_channel_set_state(ch, IOAT_DMA_CHANNEL_GONE);
	idma_channel_reap(ch);
	while (!list_empty(&ch->issued) && time_before(jiffies, end)) {
		usleep_range(500, 2000);
		idma_channel_reap(ch);
		idma_channel_poll(ch);
	}
}
