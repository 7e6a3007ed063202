// SPDX-License-Identifier: GPL-2.0-only
/*
 * lab_copy - verified copies through whatever dmaengine channels there are.
 *
 * Loading the module does all the work; what came of it is in its parameters, in
 * /sys/module/lab_copy/parameters. A copy counts as good when its callback says so and
 * every byte is right: those of the range, and those before and behind it, which must
 * still be what they were.
 *
 * It trusts callback_result alone: ioatdma's tx_status says DMA_COMPLETE of failed
 * operations too. And it does not trust that a callback comes: after a fault that the
 * driver answers with a reset, it never does.
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/dmaengine.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/slab.h>

#define MAX_CHANNELS 16
#define MAX_DEPTH 32
#define NOT_COPIED 0xa5 /* what a destination holds before; no source byte is this */

static unsigned int copies = 1000;
module_param(copies, uint, 0444);
MODULE_PARM_DESC(copies, "how many copies to do in all");

static unsigned int max_size = 16384;
module_param(max_size, uint, 0444);
MODULE_PARM_DESC(max_size, "bytes of the largest copy; sizes and offsets vary up to it");

static unsigned int max_channels = MAX_CHANNELS;
module_param(max_channels, uint, 0444);
MODULE_PARM_DESC(max_channels, "how many channels to use, in turn");

static unsigned int depth = 4;
module_param(depth, uint, 0444);
MODULE_PARM_DESC(depth, "copies submitted to a channel before it is told to start");

static unsigned int timeout_ms = 20000;
module_param(timeout_ms, uint, 0444);
MODULE_PARM_DESC(timeout_ms, "after which an operation counts as lost");

static bool map = true;
module_param(map, bool, 0444);
MODULE_PARM_DESC(map, "map buffers for the device; without it an IOMMU must refuse them");

#define RESULT(name, what)                      \
	static unsigned int name;               \
	module_param(name, uint, 0444);         \
	MODULE_PARM_DESC(name, "result: " what)

RESULT(channels, "channels that were used");
RESULT(good, "copies that were reported done, and were");
RESULT(wrong, "copies that were reported done, with a byte that is not right");
RESULT(read_failed, "operations with DMA_TRANS_READ_FAILED");
RESULT(write_failed, "operations with DMA_TRANS_WRITE_FAILED");
RESULT(aborted, "operations with DMA_TRANS_ABORTED");
RESULT(lost, "operations whose callback did not come in time");
RESULT(polled, "operations whose callback came only after the channel was polled");
RESULT(refused, "operations that the channel did not take");

struct operation {
	struct completion done;
	enum dmaengine_tx_result result;
	u8 *src, *dst;
	dma_addr_t src_dma, dst_dma;
	size_t size, src_at, dst_at;
	dma_cookie_t cookie;
	bool submitted;
};

static struct dma_chan *chans[MAX_CHANNELS];
static struct operation *slots[MAX_DEPTH];
static u32 random_state = 1;

/* The same numbers in every run, so that a failure can be had again. */
static u32 next_random(void)
{
	random_state = random_state * 1664525 + 1013904223;
	return random_state >> 8;
}

static struct operation *operation_alloc(void)
{
	struct operation *op = kzalloc(sizeof(*op), GFP_KERNEL);

	if (!op)
		return NULL;
	op->src = kmalloc(max_size, GFP_KERNEL);
	op->dst = kmalloc(max_size, GFP_KERNEL);
	if (!op->src || !op->dst) {
		kfree(op->src);
		kfree(op->dst);
		kfree(op);
		return NULL;
	}
	return op;
}

static void operation_free(struct operation *op)
{
	if (!op)
		return;
	kfree(op->src);
	kfree(op->dst);
	kfree(op);
}

/* Runs under the driver's cleanup lock: nothing may be submitted from here. */
static void operation_done(void *data, const struct dmaengine_result *result)
{
	struct operation *op = data;

	op->result = result ? result->result : DMA_TRANS_NOERROR;
	complete(&op->done);
}

static void operation_prepare(struct operation *op)
{
	u32 seed = next_random();
	size_t i;

	op->size = 1 + next_random() % max_size;
	op->src_at = next_random() % (max_size - op->size + 1);
	op->dst_at = next_random() % (max_size - op->size + 1);
	for (i = 0; i < max_size; i++) {
		u8 byte = seed + i + (i >> 8);

		op->src[i] = byte == NOT_COPIED ? 0 : byte;
	}
	memset(op->dst, NOT_COPIED, max_size);
	init_completion(&op->done);
	op->submitted = false;
}

static bool operation_map(struct operation *op, struct device *dev)
{
	if (!map) {
		op->src_dma = virt_to_phys(op->src);
		op->dst_dma = virt_to_phys(op->dst);
		return true;
	}
	op->src_dma = dma_map_single(dev, op->src, max_size, DMA_TO_DEVICE);
	if (dma_mapping_error(dev, op->src_dma))
		return false;
	op->dst_dma = dma_map_single(dev, op->dst, max_size, DMA_BIDIRECTIONAL);
	if (!dma_mapping_error(dev, op->dst_dma))
		return true;
	dma_unmap_single(dev, op->src_dma, max_size, DMA_TO_DEVICE);
	return false;
}

static void operation_unmap(struct operation *op, struct device *dev)
{
	if (!map)
		return;
	dma_unmap_single(dev, op->src_dma, max_size, DMA_TO_DEVICE);
	dma_unmap_single(dev, op->dst_dma, max_size, DMA_BIDIRECTIONAL);
}

/*
 * The driver holds a spinlock from prep to submit, so nothing that may sleep can be
 * between the two.
 */
static void operation_submit(struct operation *op, struct dma_chan *chan)
{
	struct dma_async_tx_descriptor *tx;

	if (!operation_map(op, chan->device->dev)) {
		refused++;
		return;
	}
	tx = dmaengine_prep_dma_memcpy(chan, op->dst_dma + op->dst_at, op->src_dma + op->src_at,
				       op->size, DMA_PREP_INTERRUPT | DMA_CTRL_ACK);
	if (!tx) {
		operation_unmap(op, chan->device->dev);
		refused++;
		return;
	}
	tx->callback_result = operation_done;
	tx->callback_param = op;
	op->cookie = dmaengine_submit(tx);
	op->submitted = true;
}

static bool operation_right(const struct operation *op)
{
	size_t i;

	for (i = 0; i < max_size; i++) {
		bool copied = i >= op->dst_at && i < op->dst_at + op->size;
		u8 want = copied ? op->src[i - op->dst_at + op->src_at] : NOT_COPIED;

		if (op->dst[i] != want)
			return false;
	}
	return true;
}

/*
 * A lost interrupt leaves a finished operation unseen until somebody looks: polling is
 * what makes the driver look.
 */
static bool operation_wait(struct operation *op, struct dma_chan *chan)
{
	unsigned long end = jiffies + msecs_to_jiffies(timeout_ms);

	if (wait_for_completion_timeout(&op->done, msecs_to_jiffies(2000)))
		return true;
	while (time_before(jiffies, end)) {
		dma_async_is_tx_complete(chan, op->cookie, NULL, NULL);
		if (wait_for_completion_timeout(&op->done, msecs_to_jiffies(200))) {
			polled++;
			return true;
		}
	}
	return false;
}

/* True: @op is free again. False: the hardware may still write to it. */
static bool operation_finish(struct operation *op, struct dma_chan *chan)
{
	if (!op->submitted)
		return true;
	if (!operation_wait(op, chan)) {
		lost++;
		return false;
	}
	operation_unmap(op, chan->device->dev);
	switch (op->result) {
	case DMA_TRANS_NOERROR:
		if (operation_right(op))
			good++;
		else
			wrong++;
		break;
	case DMA_TRANS_READ_FAILED:
		read_failed++;
		break;
	case DMA_TRANS_WRITE_FAILED:
		write_failed++;
		break;
	default:
		aborted++;
	}
	return true;
}

static int run_batch(struct dma_chan *chan, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		if (!slots[i])
			slots[i] = operation_alloc();
		if (!slots[i])
			return -ENOMEM;
		operation_prepare(slots[i]);
	}
	for (i = 0; i < count; i++)
		operation_submit(slots[i], chan);
	dma_async_issue_pending(chan);
	for (i = 0; i < count; i++) {
		if (operation_finish(slots[i], chan))
			continue;
		/* Its buffers and its callback belong to the channel for good now. */
		slots[i] = NULL;
		__module_get(THIS_MODULE);
	}
	return 0;
}

static void release_channels(void)
{
	while (channels)
		dma_release_channel(chans[--channels]);
}

static int __init lab_copy_init(void)
{
	unsigned int left, batch, turn, i, used;
	dma_cap_mask_t mask;
	int error = 0;

	if (!max_size || max_size > (4 << 20) || !depth || depth > MAX_DEPTH ||
	    !max_channels || max_channels > MAX_CHANNELS)
		return -EINVAL;
	dma_cap_zero(mask);
	dma_cap_set(DMA_MEMCPY, mask);
	for (channels = 0; channels < max_channels; channels++) {
		/* ioatdma's channels are private: only asked for like this */
		chans[channels] = dma_request_channel(mask, NULL, NULL);
		if (!chans[channels])
			break;
	}
	if (!channels)
		return -ENODEV;
	for (left = copies, turn = 0; left && !error; left -= batch, turn++) {
		batch = min(left, depth);
		error = run_batch(chans[turn % channels], batch);
		cond_resched();
	}
	used = channels;
	release_channels();
	channels = used;
	for (i = 0; i < MAX_DEPTH; i++)
		operation_free(slots[i]);
	pr_info("lab_copy: %u channels, %u good, %u wrong, %u read failed, %u write failed, %u aborted, %u lost, %u polled, %u refused\n",
		channels, good, wrong, read_failed, write_failed, aborted, lost, polled, refused);
	return error;
}

static void __exit lab_copy_exit(void)
{
}

module_init(lab_copy_init);
module_exit(lab_copy_exit);

MODULE_DESCRIPTION("Verified copies through dmaengine channels, to prove the lab");
MODULE_LICENSE("GPL");
