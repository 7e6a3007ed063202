// SPDX-License-Identifier: GPL-2.0-only
/*
 * An operation, from its mapping to the moment at which the hardware has
 * nothing more to do with it: only then is it unmapped, and its request learns
 * its end.
 *
 * Only a callback that reports success proves that the hardware is done, with
 * its operation and, as operations end in order, with all that were issued
 * before. Any other callback may come while the hardware still writes:
 * ioatdma's timer calls back for everything in its ring, with
 * DMA_TRANS_ABORTED, and resets the channel afterwards, which takes up to 300
 * ms. So an operation that failed stays mapped and in flight until a later one
 * succeeds or the hardware was stopped; and one without a callback is lost by
 * then, for it will get none.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/dma-mapping.h>
#include <linux/module.h>

#include "channel.h"

const struct idma_pieces *idma_pieces;

static bool is_probe(const struct idma_op *op)
{
	return op == &op->channel->probe;
}

/*
 * Called by the driver, in a tasklet and under its locks: nothing may be
 * submitted, no lock be taken.
 */
static void op_callback(void *param, const struct dmaengine_result *result)
{
	struct idma_op *op = param;

	op->result = result ? result->result : DMA_TRANS_NOERROR;
	llist_add(&op->done, &op->channel->done);
	queue_work(idma_wq, &op->channel->work);
}

static bool map(struct idma_op *op)
{
	struct device *dev = op->channel->dev;

	if (is_probe(op))
		return true;
	op->src_dma = dma_map_page(dev, pfn_to_page(PHYS_PFN(op->src)),
				   offset_in_page(op->src), op->length,
				   DMA_TO_DEVICE);
	if (dma_mapping_error(dev, op->src_dma))
		return false;
	op->dst_dma = dma_map_page(dev, pfn_to_page(PHYS_PFN(op->dst)),
				   offset_in_page(op->dst), op->length,
				   DMA_FROM_DEVICE);
	if (dma_mapping_error(dev, op->dst_dma)) {
		dma_unmap_page(dev, op->src_dma, op->length, DMA_TO_DEVICE);
		return false;
	}
	return true;
}

static void unmap(const struct idma_op *op)
{
	struct device *dev = op->channel->dev;

	if (is_probe(op))
		return;
	dma_unmap_page(dev, op->src_dma, op->length, DMA_TO_DEVICE);
	dma_unmap_page(dev, op->dst_dma, op->length, DMA_FROM_DEVICE);
}

static bool submit(struct idma_op *op)
{
	struct dma_async_tx_descriptor *tx;

	/* From here to submit the driver may hold a spinlock. */
	tx = dmaengine_prep_dma_memcpy(op->channel->chan, op->dst_dma,
				       op->src_dma, op->length,
				       DMA_PREP_INTERRUPT | DMA_CTRL_ACK);
	if (!tx)
		return false;
	tx->callback_result = op_callback;
	tx->callback_param = op;
	op->cookie = dmaengine_submit(tx);
	return !dma_submit_error(op->cookie);
}

/*
 * Submits @op to the driver; it starts with dma_async_issue_pending(). -ENOMEM:
 * it cannot be mapped now; -EBUSY: the channel has no room, or is not well.
 */
int idma_op_issue(struct idma_op *op)
{
	struct idma_channel *ch = op->channel;

	lockdep_assert_held(&ch->lock);
	if (!map(op))
		return -ENOMEM;
	op->state = IDMA_OP_ISSUED;
	op->silent_error = false;
	op->issued = jiffies;
	if (!submit(op)) {
		op->state = IDMA_OP_IDLE;
		unmap(op);
		return -EBUSY;
	}
	list_move_tail(&op->node, &ch->issued);
	if (is_probe(op)) {
		ch->probe_state = IDMA_PROBE_ISSUED;
	} else {
		WRITE_ONCE(ch->in_flight, ch->in_flight + 1);
		ch->bytes_in_flight += op->length;
	}
	return 0;
}

/* Ends a piece that the hardware does not have. */
void idma_op_drop(struct idma_op *op, u32 status, u32 error)
{
	lockdep_assert_held(&op->channel->lock);
	idma_pieces->settled(op, status, error);
	op->request = NULL;
	list_move(&op->node, &op->channel->free);
}

static void count_done(struct idma_op *op)
{
	struct idma_channel *ch = op->channel;

	idma_count(ch, IDMA_OPERATIONS, 1);
	idma_count(ch, IDMA_BYTES, op->length);
	ch->set_aside_for = 0;
}

/* How @op ended: @status and @error already say it for one without callback. */
static void count_end(struct idma_op *op, u32 *status, u32 *error)
{
	struct idma_channel *ch = op->channel;

	if (op->state != IDMA_OP_RETURNED || op->silent_error) {
		idma_count(ch, IDMA_LOST, 1);
		return;
	}
	*error = IOAT_DMA_ERROR_NONE;
	switch (op->result) {
	case DMA_TRANS_NOERROR:
		count_done(op);
		*status = IOAT_DMA_DONE;
		break;
	case DMA_TRANS_READ_FAILED:
		idma_count(ch, IDMA_READ_ERRORS, 1);
		*status = IOAT_DMA_FAILED;
		*error = IOAT_DMA_ERROR_READ;
		break;
	case DMA_TRANS_WRITE_FAILED:
		idma_count(ch, IDMA_WRITE_ERRORS, 1);
		*status = IOAT_DMA_FAILED;
		*error = IOAT_DMA_ERROR_WRITE;
		break;
	default:
		idma_count(ch, IDMA_ABORTED, 1);
		*status = IOAT_DMA_ABORTED;
		break;
	}
}

/* The hardware has nothing more to do with @op. */
static void settle(struct idma_op *op, u32 status, u32 error)
{
	struct idma_channel *ch = op->channel;
	bool returned = op->state == IDMA_OP_RETURNED;

	lockdep_assert_held(&ch->lock);
	unmap(op);
	if (is_probe(op)) {
		list_del_init(&op->node);
		ch->probe_state = returned && op->result == DMA_TRANS_NOERROR ?
				  IDMA_PROBE_SUCCEEDED : IDMA_PROBE_NONE;
		op->state = IDMA_OP_IDLE;
		return;
	}
	WRITE_ONCE(ch->in_flight, ch->in_flight - 1);
	ch->bytes_in_flight -= op->length;
	count_end(op, &status, &error);
	idma_op_drop(op, status, error);
	op->state = IDMA_OP_IDLE;
	if (!returned && ch->chan) {
		op->state = IDMA_OP_LOST;
		list_move(&op->node, &ch->lost);
		ch->lost_count++;
	}
}

/* @last succeeded: it and all that were issued before are done with. */
static void settle_until(struct idma_op *last)
{
	struct idma_op *op, *next;

	list_for_each_entry_safe(op, next, &last->channel->issued, node) {
		settle(op, IOAT_DMA_FAILED, IOAT_DMA_ERROR_LOST);
		if (op == last)
			return;
	}
}

/* The channel was stopped: no callback comes, whatever it is of. */
void idma_ops_stopped(struct idma_channel *ch)
{
	struct idma_op *op;

	lockdep_assert_held(&ch->lock);
	list_for_each_entry(op, &ch->lost, node)
		op->state = IDMA_OP_IDLE;
	list_splice_init(&ch->lost, &ch->free);
	ch->lost_count = 0;
}

/*
 * The hardware was stopped, and no callback comes any more. Operations whose
 * callback did not come before end with @status and @error.
 */
void idma_ops_settle_all(struct idma_channel *ch, u32 status, u32 error)
{
	struct idma_op *op, *next;

	lockdep_assert_held(&ch->lock);
	list_for_each_entry_safe(op, next, &ch->issued, node)
		settle(op, status, error);
}

/*
 * Some drivers report success to the callback in any case, and the failure in
 * tx_status. (ioatdma does it the other way round, so both are needed.)
 */
static bool failed_silently(const struct idma_op *op)
{
	struct dma_chan *chan = op->channel->chan;

	return chan && op->result == DMA_TRANS_NOERROR &&
	       dma_async_is_tx_complete(chan, op->cookie, NULL, NULL) ==
		       DMA_ERROR;
}

static void distrust(struct idma_channel *ch, u32 reason)
{
	lockdep_assert_held(&ch->lock);
	ch->distrusted = reason;
	ch->failed = true;
}

static void op_returned(struct idma_op *op)
{
	struct idma_channel *ch = op->channel;

	lockdep_assert_held(&ch->lock);
	if (op->state != IDMA_OP_ISSUED) {
		/* a later operation succeeded before this one ended */
		distrust(ch, IOAT_DMA_REFUSED_ORDER);
		return;
	}
	op->state = IDMA_OP_RETURNED;
	op->silent_error = failed_silently(op);
	if (op->silent_error) {
		distrust(ch, IOAT_DMA_REFUSED_ERRORS);
	} else if (op->result == DMA_TRANS_NOERROR) {
		settle_until(op);
	} else if (is_probe(op)) {
		list_del_init(&op->node);
		ch->probe_state = IDMA_PROBE_NONE;
	} else {
		ch->failed = true;
	}
}

/* Takes in the callbacks that came. */
void idma_ops_reap(struct idma_channel *ch)
{
	struct llist_node *list;
	struct idma_op *op, *next;

	lockdep_assert_held(&ch->lock);
	list = llist_reverse_order(llist_del_all(&ch->done));
	llist_for_each_entry_safe(op, next, list, done)
		op_returned(op);
}

/*
 * Makes the driver look, in case an interrupt was lost; its callbacks then come
 * in here.
 */
void idma_ops_poll(struct idma_channel *ch)
{
	struct idma_op *op;

	lockdep_assert_held(&ch->lock);
	if (!ch->chan || list_empty(&ch->issued))
		return;
	op = list_last_entry(&ch->issued, struct idma_op, node);
	dma_async_is_tx_complete(ch->chan, op->cookie, NULL, NULL);
	idma_ops_reap(ch);
}
