// SPDX-License-Identifier: GPL-2.0-only
/*
 * One DMA channel at work: pieces in, operations to the hardware, ends back.
 */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "idma.h"

static void channel_work(struct work_struct *work);

void idma_channel_init(struct idma_channel *ch, unsigned int id)
{
	ch->id = id;
	ch->node = NUMA_NO_NODE;
	ch->state = IOAT_DMA_CHANNEL_GONE;
	init_llist_head(&ch->done);
	INIT_WORK(&ch->work, channel_work);
	mutex_init(&ch->lock);
	INIT_LIST_HEAD(&ch->free);
	INIT_LIST_HEAD(&ch->issued);
	INIT_LIST_HEAD(&ch->lost);
	INIT_LIST_HEAD(&ch->retry);
}

void idma_channel_set_state(struct idma_channel *ch, u32 state)
{
	lockdep_assert_held(&ch->lock);
	WRITE_ONCE(ch->state, state);
}

/* Makes the empty slot @ch the place of @chan. */
int idma_channel_attach(struct idma_channel *ch, struct dma_chan *chan)
{
	struct device *dev = chan->device->dev;
	unsigned int i;

	lockdep_assert_held(&ch->lock);
	ch->ops = kcalloc(IDMA_DEPTH, sizeof(*ch->ops), GFP_KERNEL);
	if (!ch->ops)
		return -ENOMEM;
	/* Source and destination of copies of the module's own. */
	ch->buffer = dma_alloc_coherent(dev, 2 * L1_CACHE_BYTES,
					&ch->buffer_dma, GFP_KERNEL);
	if (!ch->buffer) {
		kfree(ch->ops);
		ch->ops = NULL;
		return -ENOMEM;
	}
	for (i = 0; i < IDMA_DEPTH; i++) {
		ch->ops[i].channel = ch;
		list_add_tail(&ch->ops[i].node, &ch->free);
	}
	for (i = 0; i < IDMA_CALM_TRIES; i++) {
		ch->calm[i].channel = ch;
		INIT_LIST_HEAD(&ch->calm[i].node);
	}
	ch->calm_tries = 0;
	ch->calm_with_hw = false;
	ch->calm_came = false;
	ch->resets = 0;
	ch->chan = chan;
	ch->dev = get_device(dev);
	ch->max_piece = min_t(size_t, idma_piece_size,
			      dma_max_mapping_size(dev));
	WRITE_ONCE(ch->node, dev_to_node(dev));
	memset(&ch->info, 0, sizeof(ch->info));
	atomic64_set(&ch->timeouts, 0);
	strscpy(ch->name, dma_chan_name(chan), sizeof(ch->name));
	strscpy(ch->driver, dev_driver_string(dev), sizeof(ch->driver));
	idma_channel_set_state(ch, IOAT_DMA_CHANNEL_READY);
	return 0;
}

/*
 * Gives the channel back to dmaengine, which resets the hardware: no operation
 * and no callback of it comes after that.
 */
void idma_channel_give_back(struct idma_channel *ch)
{
	lockdep_assert_held(&ch->lock);
	dma_release_channel(ch->chan);
	ch->chan = NULL;
	idma_channel_reap(ch);
}

/* Makes the slot empty. What was in flight ends with @error. */
void idma_channel_detach(struct idma_channel *ch, u32 error)
{
	struct idma_op *op, *next;

	lockdep_assert_held(&ch->lock);
	idma_channel_set_state(ch, IOAT_DMA_CHANNEL_GONE);
	list_for_each_entry_safe(op, next, &ch->issued, node) {
		ch->info.out_lost++;
		idma_op_resolve(op, IOAT_DMA_GONE, error);
	}
	list_for_each_entry_safe(op, next, &ch->retry, node)
		idma_op_resolve(op, IOAT_DMA_GONE, error);
	INIT_LIST_HEAD(&ch->free);
	INIT_LIST_HEAD(&ch->lost);
	dma_free_coherent(ch->dev, 2 * L1_CACHE_BYTES, ch->buffer,
			  ch->buffer_dma);
	ch->buffer = NULL;
	kfree(ch->ops);
	ch->ops = NULL;
	put_device(ch->dev);
	ch->dev = NULL;
}

/*
 * Called by the driver, in a tasklet and under its locks: nothing may be
 * submitted, no lock be taken. @result is the only place where a failure shows:
 * ioatdma's tx_status says DMA_COMPLETE of failed operations as well.
 */
static void op_callback(void *param, const struct dmaengine_result *result)
{
	struct idma_op *op = param;

	op->result = result ? result->result : DMA_TRANS_NOERROR;
	llist_add(&op->done, &op->channel->done);
	queue_work(idma_wq, &op->channel->work);
}

static bool op_map(struct idma_op *op)
{
	struct device *dev = op->channel->dev;

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
	op->mapped = true;
	return true;
}

static void op_unmap(struct idma_op *op)
{
	struct device *dev = op->channel->dev;

	if (!op->mapped)
		return;
	dma_unmap_page(dev, op->src_dma, op->length, DMA_TO_DEVICE);
	dma_unmap_page(dev, op->dst_dma, op->length, DMA_FROM_DEVICE);
	op->mapped = false;
}

/* False: the channel has no room, or is no more. */
bool idma_op_issue(struct idma_op *op)
{
	struct idma_channel *ch = op->channel;
	struct dma_async_tx_descriptor *tx;

	lockdep_assert_held(&ch->lock);
	/* From here to submit the driver may hold a spinlock. */
	tx = dmaengine_prep_dma_memcpy(ch->chan, op->dst_dma, op->src_dma,
				       op->length,
				       DMA_PREP_INTERRUPT | DMA_CTRL_ACK);
	if (!tx)
		return false;
	tx->callback_result = op_callback;
	tx->callback_param = op;
	op->issued = jiffies;
	op->cookie = dmaengine_submit(tx);
	return !dma_submit_error(op->cookie);
}

/* The hardware has nothing more to do with @op. */
void idma_op_resolve(struct idma_op *op, u32 status, u32 error)
{
	struct idma_channel *ch = op->channel;

	lockdep_assert_held(&ch->lock);
	if (op->mapped) {
		ch->in_flight--;
		ch->bytes_in_flight -= op->length;
		op_unmap(op);
	}
	idma_request_piece_done(op, status, error);
	op->request = NULL;
	list_move(&op->node, &ch->free);
}

static void op_ended(struct idma_op *op)
{
	struct idma_channel *ch = op->channel;
	struct ioat_dma_channel_info *info = &ch->info;

	lockdep_assert_held(&ch->lock);
	switch (op->result) {
	case DMA_TRANS_NOERROR:
		info->out_operations++;
		info->out_bytes += op->length;
		idma_op_resolve(op, IOAT_DMA_DONE, IOAT_DMA_ERROR_NONE);
		return;
	case DMA_TRANS_READ_FAILED:
		info->out_read_errors++;
		idma_op_resolve(op, IOAT_DMA_FAILED, IOAT_DMA_ERROR_READ);
		break;
	case DMA_TRANS_WRITE_FAILED:
		info->out_write_errors++;
		idma_op_resolve(op, IOAT_DMA_FAILED, IOAT_DMA_ERROR_WRITE);
		break;
	default:
		info->out_aborted++;
		idma_op_resolve(op, IOAT_DMA_ABORTED, IOAT_DMA_ERROR_NONE);
		break;
	}
	idma_channel_trouble(ch);
}

/* Takes in the callbacks that came. */
void idma_channel_reap(struct idma_channel *ch)
{
	struct llist_node *list;
	struct idma_op *op, *next;

	lockdep_assert_held(&ch->lock);
	list = llist_reverse_order(llist_del_all(&ch->done));
	llist_for_each_entry_safe(op, next, list, done) {
		if (op >= ch->calm && op < ch->calm + IDMA_CALM_TRIES) {
			if (ch->calm_tries &&
			    op == &ch->calm[ch->calm_tries - 1]) {
				ch->calm_with_hw = false;
				ch->calm_came = true;
			}
		} else if (op->request) {
			op_ended(op);
		}
		/* else it was given up before, and its request has been told */
	}
}

/*
 * Makes the driver look, for the case that an interrupt was lost; its callbacks
 * then come in here. What it says itself is worth nothing, see op_callback().
 */
void idma_channel_poll(struct idma_channel *ch)
{
	struct idma_op *op;

	lockdep_assert_held(&ch->lock);
	if (ch->calm_with_hw)
		op = &ch->calm[ch->calm_tries - 1];
	else
		op = list_first_entry_or_null(&ch->issued, struct idma_op,
					      node);
	if (!op)
		return;
	dma_async_is_tx_complete(ch->chan, op->cookie, NULL, NULL);
	idma_channel_reap(ch);
}

/* Of what prep had no room for, that whose request was stopped meanwhile. */
static void drop_stopped(struct idma_channel *ch)
{
	struct idma_op *op, *next;

	lockdep_assert_held(&ch->lock);
	list_for_each_entry_safe(op, next, &ch->retry, node)
		if (idma_request_is_stopped(op->request))
			idma_op_resolve(op, IOAT_DMA_ABORTED,
					IOAT_DMA_ERROR_NONE);
}

static struct idma_op *next_op(struct idma_channel *ch)
{
	struct idma_op *op;

	lockdep_assert_held(&ch->lock);
	op = list_first_entry_or_null(&ch->retry, struct idma_op, node);
	if (op)
		return op;
	op = list_first_entry_or_null(&ch->free, struct idma_op, node);
	if (!op || !idma_queue_take(ch, op))
		return NULL;
	return op;
}

/* Gives the hardware up to @budget pieces. */
void idma_channel_pump(struct idma_channel *ch, unsigned int budget)
{
	struct idma_op *op;
	bool issued = false;

	lockdep_assert_held(&ch->lock);
	drop_stopped(ch);
	while (budget && ch->state == IOAT_DMA_CHANNEL_READY &&
	       ch->bytes_in_flight < IDMA_BYTES_IN_FLIGHT) {
		op = next_op(ch);
		if (!op)
			break;
		if (!op_map(op)) {
			idma_op_resolve(op, IOAT_DMA_FAILED,
					IOAT_DMA_ERROR_MAP);
			continue;
		}
		if (!idma_op_issue(op)) {
			op_unmap(op);
			list_move(&op->node, &ch->retry);
			/* full, or out of order: with nothing to wait for */
			if (!ch->in_flight)
				idma_channel_trouble(ch);
			break;
		}
		list_move_tail(&op->node, &ch->issued);
		ch->in_flight++;
		ch->bytes_in_flight += op->length;
		issued = true;
		budget--;
	}
	if (issued)
		dma_async_issue_pending(ch->chan);
}

static void channel_work(struct work_struct *work)
{
	struct idma_channel *ch = container_of(work, struct idma_channel, work);

	mutex_lock(&ch->lock);
	if (ch->chan) {
		idma_channel_reap(ch);
		idma_channel_check(ch);
		idma_channel_pump(ch, IDMA_DEPTH);
	}
	mutex_unlock(&ch->lock);
}

/*
 * Something was queued: has channels look. The caller's thread itself gives a
 * share to the first channel that is free, which spares a small request the
 * way through a worker.
 */
void idma_channels_kick(struct idma_request *request)
{
	unsigned int ready = idma_channels_in(IOAT_DMA_CHANNEL_READY);
	unsigned int budget = ready ? DIV_ROUND_UP(IDMA_DEPTH, ready) : 0;
	struct idma_channel *ch, *best = NULL;
	unsigned int i;

	for (i = 0; i < IDMA_MAX_CHANNELS; i++) {
		ch = &idma_channels[i];
		if (READ_ONCE(ch->state) != IOAT_DMA_CHANNEL_READY)
			continue;
		if (request->target < IDMA_MAX_CHANNELS &&
		    request->target != i)
			continue;
		if (!best || READ_ONCE(ch->in_flight) < READ_ONCE(best->in_flight))
			best = ch;
	}
	if (best && mutex_trylock(&best->lock)) {
		if (best->chan) {
			idma_channel_reap(best);
			idma_channel_pump(best, budget);
		}
		mutex_unlock(&best->lock);
	}
	/* the list's emptiness is a hint: a worker looks under the lock */
	if (list_empty_careful(&request->pending))
		return;
	for (i = 0; i < IDMA_MAX_CHANNELS; i++) {
		ch = &idma_channels[i];
		if (READ_ONCE(ch->state) == IOAT_DMA_CHANNEL_READY &&
		    (request->target == IDMA_MAX_CHANNELS || request->target == i))
			queue_work(idma_wq, &ch->work);
	}
}
