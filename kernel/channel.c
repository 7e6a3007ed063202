// SPDX-License-Identifier: GPL-2.0-only
/*
 * Slots for DMA channels: filled, emptied, suspended and counted.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/dma-mapping.h>
#include <linux/module.h>
#include <linux/nospec.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "channel.h"

/* How long unbinding and suspending wait before they stop the hardware. */
#define DRAIN_TIMEOUT msecs_to_jiffies(3500)

#define PROBE_SIZE L1_CACHE_BYTES

struct idma_channel idma_channels[IDMA_MAX_CHANNELS];
struct workqueue_struct *idma_wq;
unsigned int idma_piece_size = SZ_1M;

unsigned int idma_channels_in(u32 state)
{
	const struct idma_channel *ch;
	unsigned int count = 0;

	for_each_idma_channel(ch)
		count += READ_ONCE(ch->state) == state;
	return count;
}

/* It works, or soon will. */
bool idma_channel_is_alive(const struct idma_channel *ch)
{
	u32 state = READ_ONCE(ch->state);

	return state == IOAT_DMA_CHANNEL_READY ||
	       state == IOAT_DMA_CHANNEL_RECOVERING;
}

unsigned int idma_channels_alive(void)
{
	const struct idma_channel *ch;
	unsigned int count = 0;

	for_each_idma_channel(ch)
		count += idma_channel_is_alive(ch);
	return count;
}

/* The channel that has or had that id, or NULL. */
struct idma_channel *idma_channel_find(u32 id)
{
	struct idma_channel *ch;

	if (id >= IDMA_MAX_CHANNELS)
		return NULL;
	ch = &idma_channels[array_index_nospec(id, IDMA_MAX_CHANNELS)];
	return READ_ONCE(ch->name[0]) ? ch : NULL;
}

/* Some slot is for @chan, whether it holds it now or will request it anew. */
bool idma_channel_claims(const struct dma_chan *chan)
{
	const struct idma_channel *ch;

	for_each_idma_channel(ch)
		if (READ_ONCE(ch->provider) == chan)
			return true;
	return false;
}

static void init_ops(struct idma_channel *ch)
{
	unsigned int i;

	for (i = 0; i < IDMA_DEPTH; i++) {
		ch->ops[i].channel = ch;
		list_add_tail(&ch->ops[i].node, &ch->free);
	}
	ch->probe = (struct idma_op) {
		.channel = ch,
		.src_dma = ch->buffer_dma,
		.dst_dma = ch->buffer_dma + PROBE_SIZE,
		.length = PROBE_SIZE,
	};
	INIT_LIST_HEAD(&ch->probe.node);
	ch->probe_state = IDMA_PROBE_NONE;
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
	ch->buffer = dma_alloc_coherent(dev, 2 * PROBE_SIZE, &ch->buffer_dma,
					GFP_KERNEL);
	if (!ch->buffer) {
		kfree(ch->ops);
		ch->ops = NULL;
		return -ENOMEM;
	}
	init_ops(ch);
	ch->failed = false;
	ch->distrusted = 0;
	ch->restarts = 0;
	ch->refusals = 0;
	ch->set_aside_for = 0;
	ch->max_piece = min_t(size_t, idma_piece_size,
			      dma_max_mapping_size(dev));
	for (i = 0; i < IDMA_COUNTERS; i++)
		atomic64_set(&ch->counters[i], 0);
	strscpy(ch->name, dma_chan_name(chan), sizeof(ch->name));
	strscpy(ch->driver, dev_driver_string(dev), sizeof(ch->driver));
	ch->chan = chan;
	WRITE_ONCE(ch->dev, get_device(dev));
	WRITE_ONCE(ch->provider, chan);
	WRITE_ONCE(ch->node, dev_to_node(dev));
	idma_channel_set_state(ch, IOAT_DMA_CHANNEL_READY);
	return 0;
}

/*
 * Makes the slot empty. What the hardware had ends with it: if it could not be
 * stopped, its driver, which is about to go, has to stop it.
 */
static void detach(struct idma_channel *ch, unsigned long end)
{
	struct idma_op *op, *next;
	struct device *dev = ch->dev;

	lockdep_assert_held(&ch->lock);
	idma_channel_drain(ch, end);
	if (!idma_channel_stop(ch)) {
		dev_err(dev, "%s: released with copies in flight\n", ch->name);
		idma_channel_release(ch);
	}
	idma_ops_settle_all(ch, IOAT_DMA_GONE, IOAT_DMA_ERROR_CHANNEL);
	list_for_each_entry_safe(op, next, &ch->retry, node)
		idma_op_drop(op, IOAT_DMA_GONE, IOAT_DMA_ERROR_CHANNEL);
	INIT_LIST_HEAD(&ch->free); /* of @ops, with the rest */
	dma_free_coherent(dev, 2 * PROBE_SIZE, ch->buffer, ch->buffer_dma);
	ch->buffer = NULL;
	kfree(ch->ops);
	ch->ops = NULL;
	WRITE_ONCE(ch->provider, NULL);
	WRITE_ONCE(ch->dev, NULL);
	put_device(dev);
}

static bool is_of(const struct idma_channel *ch, const struct device *dev)
{
	const struct device *its = READ_ONCE(ch->dev);

	return its && (!dev || its == dev);
}

/*
 * All channels of @dev, or all there are, back to dmaengine. None is issued to
 * from the start, so that they drain together.
 */
void idma_channels_release(const struct device *dev)
{
	unsigned long end = jiffies + DRAIN_TIMEOUT;
	struct idma_channel *ch;

	for_each_idma_channel(ch) {
		if (!is_of(ch, dev))
			continue;
		mutex_lock(&ch->lock);
		idma_channel_set_state(ch, IOAT_DMA_CHANNEL_GONE);
		mutex_unlock(&ch->lock);
	}
	for_each_idma_channel(ch) {
		if (!is_of(ch, dev))
			continue;
		mutex_lock(&ch->lock);
		if (ch->dev)
			detach(ch, end);
		mutex_unlock(&ch->lock);
	}
}

static int suspend(struct idma_channel *ch, unsigned long end)
{
	lockdep_assert_held(&ch->lock);
	if (!ch->dev)
		return 0;
	ch->suspended = true;
	if (ch->state == IOAT_DMA_CHANNEL_READY)
		idma_channel_set_state(ch, IOAT_DMA_CHANNEL_RECOVERING);
	idma_channel_drain(ch, end);
	if (!idma_channel_stop(ch))
		return -EBUSY;
	idma_ops_settle_all(ch, IOAT_DMA_FAILED, IOAT_DMA_ERROR_LOST);
	return 0;
}

/*
 * The system is about to be suspended, and ioatdma does not save what its
 * hardware was set up with: channels are given back, and requested anew by
 * their recovery afterwards. Requests wait meanwhile. -EBUSY: hardware that
 * cannot be stopped still copies.
 */
int idma_channels_suspend(void)
{
	unsigned long end = jiffies + DRAIN_TIMEOUT;
	struct idma_channel *ch;
	int error = 0;

	for_each_idma_channel(ch) {
		mutex_lock(&ch->lock);
		error = error ?: suspend(ch, end);
		mutex_unlock(&ch->lock);
	}
	return error;
}

void idma_channels_resume(void)
{
	struct idma_channel *ch;

	for_each_idma_channel(ch) {
		mutex_lock(&ch->lock);
		ch->suspended = false;
		ch->attempts = 0;
		mutex_unlock(&ch->lock);
		queue_work(idma_wq, &ch->work);
	}
}

void idma_channels_init(const struct idma_pieces *pieces)
{
	struct idma_channel *ch;

	idma_pieces = pieces;
	for_each_idma_channel(ch) {
		ch->id = ch - idma_channels;
		ch->node = NUMA_NO_NODE;
		ch->state = IOAT_DMA_CHANNEL_GONE;
		init_llist_head(&ch->done);
		idma_channel_init_work(ch);
		mutex_init(&ch->lock);
		INIT_LIST_HEAD(&ch->free);
		INIT_LIST_HEAD(&ch->lost);
		INIT_LIST_HEAD(&ch->issued);
		INIT_LIST_HEAD(&ch->retry);
	}
}

/* All of them were released. */
void idma_channels_exit(void)
{
	struct idma_channel *ch;

	for_each_idma_channel(ch) {
		cancel_delayed_work_sync(&ch->timer);
		cancel_work_sync(&ch->work);
	}
}
