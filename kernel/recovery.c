// SPDX-License-Identifier: GPL-2.0-only
/*
 * A channel whose hardware failed, or does not answer.
 *
 * What ioatdma does after a fault depends on its kind. A read or write error:
 * it resets the channel at once, and calls back for the failing operation and
 * all behind it. Anything else: its timer resets the channel after some 2 s,
 * and the callback of the operation that failed never comes, nor does tx_status
 * ever show it. A lost interrupt: nothing comes until somebody asks for
 * tx_status.
 *
 * In each case nothing more is issued but a probe, a tiny copy of the module's
 * own: once that succeeds, the hardware is done with all before it (op.c). It
 * also ends ioatdma's resets, which after a hung operation come every 200 ms
 * until one completes. If the probe fails, too, the hardware is stopped and the
 * channel given back to dmaengine and requested anew. If even then no probe
 * succeeds, it is set aside, and tried again after a while, longer each time.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/module.h>

#include "channel.h"

/* An operation of this age makes the module ask for tx_status. */
#define POLL_AFTER msecs_to_jiffies(200)
/* One of this age fails its channel: after ioatdma's own reset, at 2.4 s. */
#define FAIL_AFTER msecs_to_jiffies(3000)
/* How long a probe may take, a reset by ioatdma included. */
#define PROBE_TIMEOUT msecs_to_jiffies(3000)
/* Between two that the channel did not even take. */
#define PROBE_PAUSE msecs_to_jiffies(300)
/* Probes until the channel is restarted, and restarts until it is set aside. */
#define MAX_ATTEMPTS 3
#define MAX_RESTARTS 2
/* So many operations may be lost until the channel is restarted. */
#define MAX_LOST (IDMA_DEPTH / 2)
/* How often an idle channel may refuse a piece and pass a probe. */
#define MAX_REFUSALS 3
#define SET_ASIDE_FOR msecs_to_jiffies(10000)
#define SET_ASIDE_AT_MOST msecs_to_jiffies(600000)

void idma_channel_set_state(struct idma_channel *ch, u32 state)
{
	lockdep_assert_held(&ch->lock);
	if (ch->state == state)
		return;
	WRITE_ONCE(ch->state, state);
	idma_pieces->channel_changed(ch);
}

/* Gives the channel back to dmaengine, after which no callback comes. */
void idma_channel_release(struct idma_channel *ch)
{
	lockdep_assert_held(&ch->lock);
	dma_release_channel(ch->chan);
	ch->chan = NULL;
	idma_ops_reap(ch);
	idma_ops_stopped(ch);
	ch->probe_state = IDMA_PROBE_NONE;
}

/*
 * Takes the channel away from the hardware, after which no callback comes;
 * those that came are reaped. False: it cannot be stopped and keeps what it
 * has.
 */
bool idma_channel_stop(struct idma_channel *ch)
{
	struct dma_chan *chan = ch->chan;

	lockdep_assert_held(&ch->lock);
	if (!chan)
		return true;
	if (chan->device->device_terminate_all) {
		if (dmaengine_terminate_sync(chan))
			return false;
	} else if (!list_empty(&ch->issued) &&
		   !idma_provider_stops_on_release(chan)) {
		return false;
	}
	idma_channel_release(ch);
	return true;
}

/* Nothing of a stopped channel is with the hardware. */
static bool stop_and_settle(struct idma_channel *ch)
{
	if (!idma_channel_stop(ch))
		return false;
	idma_ops_settle_all(ch, IOAT_DMA_FAILED, IOAT_DMA_ERROR_LOST);
	return true;
}

static bool is_provider(struct dma_chan *chan, void *provider)
{
	return chan == provider && !idma_provider_check(chan);
}

/* Requests the channel that the slot had; another client may be quicker. */
static bool acquire(struct idma_channel *ch)
{
	dma_cap_mask_t mask;

	lockdep_assert_held(&ch->lock);
	dma_cap_zero(mask);
	dma_cap_set(DMA_MEMCPY, mask);
	ch->chan = dma_request_channel(mask, is_provider, ch->provider);
	return ch->chan;
}

static void set_aside(struct idma_channel *ch)
{
	struct idma_op *op, *next;

	lockdep_assert_held(&ch->lock);
	/* first: a caller whose request ended for this must not find it ready */
	idma_channel_set_state(ch, IOAT_DMA_CHANNEL_SET_ASIDE);
	stop_and_settle(ch); /* or it keeps what it has */
	list_for_each_entry_safe(op, next, &ch->retry, node)
		idma_op_drop(op, IOAT_DMA_GONE, IOAT_DMA_ERROR_CHANNEL);
	ch->set_aside_for = ch->set_aside_for ?
			    min(2 * ch->set_aside_for, SET_ASIDE_AT_MOST) :
			    SET_ASIDE_FOR;
	ch->since = jiffies;
	dev_err(ch->dev, "%s: set aside for %u s\n", ch->name,
		jiffies_to_msecs(ch->set_aside_for) / 1000);
}

/* Nothing new is issued until a probe succeeds. */
void idma_channel_fail(struct idma_channel *ch)
{
	lockdep_assert_held(&ch->lock);
	ch->failed = false;
	if (!idma_channel_is_alive(ch))
		return;
	if (ch->distrusted)
		idma_provider_distrust(ch->dev, ch->distrusted);
	if (ch->distrusted || ch->refusals > MAX_REFUSALS) {
		set_aside(ch);
		return;
	}
	if (ch->state != IOAT_DMA_CHANNEL_READY)
		return;
	ch->attempts = ch->lost_count < MAX_LOST ? 0 : MAX_ATTEMPTS;
	ch->probe_state = IDMA_PROBE_NONE;
	idma_channel_set_state(ch, IOAT_DMA_CHANNEL_RECOVERING);
	queue_work(idma_wq, &ch->work);
}

static void recovered(struct idma_channel *ch)
{
	lockdep_assert_held(&ch->lock);
	ch->probe_state = IDMA_PROBE_NONE;
	idma_count(ch, IDMA_RECOVERIES, 1);
	ch->restarts = 0;
	idma_channel_set_state(ch, IOAT_DMA_CHANNEL_READY);
}

static void restart(struct idma_channel *ch)
{
	lockdep_assert_held(&ch->lock);
	if (ch->restarts == MAX_RESTARTS) {
		set_aside(ch);
		return;
	}
	ch->restarts++;
	dev_warn(ch->dev, "%s: does not recover, restarting it\n", ch->name);
	if (!stop_and_settle(ch)) {
		dev_err(ch->dev, "%s: cannot be stopped\n", ch->name);
		set_aside(ch);
		return;
	}
	ch->attempts = 0;
	queue_work(idma_wq, &ch->work);
}

static void try_probe(struct idma_channel *ch)
{
	lockdep_assert_held(&ch->lock);
	ch->attempts++;
	ch->since = jiffies;
	if (!ch->chan && !acquire(ch))
		return;
	if (!idma_op_issue(&ch->probe))
		dma_async_issue_pending(ch->chan);
}

static void recover(struct idma_channel *ch)
{
	bool issued = ch->probe_state == IDMA_PROBE_ISSUED;
	unsigned long pause = issued ? PROBE_TIMEOUT : PROBE_PAUSE;

	lockdep_assert_held(&ch->lock);
	if (ch->probe_state == IDMA_PROBE_SUCCEEDED)
		recovered(ch);
	else if (ch->attempts && time_before(jiffies, ch->since + pause))
		return;
	else if (issued || ch->attempts == MAX_ATTEMPTS)
		restart(ch);
	else
		try_probe(ch);
}

static void check_ready(struct idma_channel *ch)
{
	struct idma_op *op;

	lockdep_assert_held(&ch->lock);
	op = list_first_entry_or_null(&ch->issued, struct idma_op, node);
	if (!op || time_before(jiffies, op->issued + POLL_AFTER))
		return;
	idma_ops_poll(ch);
	op = list_first_entry_or_null(&ch->issued, struct idma_op, node);
	if (op && time_after(jiffies, op->issued + FAIL_AFTER))
		ch->failed = true;
}

/* Looks after @ch; called again and again while it has something to do. */
void idma_channel_check(struct idma_channel *ch)
{
	lockdep_assert_held(&ch->lock);
	if (ch->suspended)
		return;
	if (ch->state == IOAT_DMA_CHANNEL_READY)
		check_ready(ch);
	if (ch->failed)
		idma_channel_fail(ch);
	if (ch->state == IOAT_DMA_CHANNEL_SET_ASIDE && !ch->distrusted &&
	    (ch->probe_state == IDMA_PROBE_SUCCEEDED ||
	     time_after_eq(jiffies, ch->since + ch->set_aside_for))) {
		ch->attempts = 0;
		ch->restarts = MAX_RESTARTS;
		idma_channel_set_state(ch, IOAT_DMA_CHANNEL_RECOVERING);
	}
	if (ch->state == IOAT_DMA_CHANNEL_RECOVERING) {
		idma_ops_poll(ch);
		recover(ch);
	}
}

/* The callback of the last operation came, so there is none to wait for. */
static bool is_drained(const struct idma_channel *ch)
{
	const struct idma_op *last;

	lockdep_assert_held(&ch->lock);
	if (list_empty(&ch->issued))
		return true;
	last = list_last_entry(&ch->issued, struct idma_op, node);
	return last->state != IDMA_OP_ISSUED;
}

/* Waits until no callback is to come, or @end. */
void idma_channel_drain(struct idma_channel *ch, unsigned long end)
{
	lockdep_assert_held(&ch->lock);
	idma_ops_reap(ch);
	while (!is_drained(ch) && time_before(jiffies, end)) {
		usleep_range(500, 2000);
		idma_ops_reap(ch);
		idma_ops_poll(ch);
	}
}
