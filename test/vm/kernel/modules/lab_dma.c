// SPDX-License-Identifier: GPL-2.0-only
/*
 * lab_dma - a DMA channel in software, on the platform bus, that plays the providers which
 * ioatdma is not: one without room, one that completes out of order, one whose errors only
 * tx_status shows, one that reports some operations never, one that says "aborted" before its
 * hardware has stopped, one that cannot be stopped. By default it behaves.
 */
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/dmaengine.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

static unsigned int room = 64;
module_param(room, uint, 0644);
MODULE_PARM_DESC(room, "operations that it takes at a time");

static bool hold;
module_param(hold, bool, 0644);
MODULE_PARM_DESC(hold, "leave them undone for now");

static uint delay;
module_param(delay, uint, 0644);
MODULE_PARM_DESC(delay, "ms after each operation until the next one");

static uint max_length;
module_param(max_length, uint, 0644);
MODULE_PARM_DESC(max_length, "bytes of the largest operation that it takes; 0 is any");

static uint no_order;
module_param(no_order, uint, 0444);
MODULE_PARM_DESC(no_order, "complete the last one first; 1: and say so; 2: and do not");

static uint align;
module_param(align, uint, 0444);
MODULE_PARM_DESC(align, "addresses are multiples of 1 << align");

static uint silent_error;
module_param(silent_error, uint, 0644);
MODULE_PARM_DESC(silent_error, "do not copy the N-th operation from now; only tx_status says so");

static uint mute;
module_param(mute, uint, 0644);
MODULE_PARM_DESC(mute, "copy, and report only every N-th operation");

static uint early_abort;
module_param(early_abort, uint, 0644);
MODULE_PARM_DESC(early_abort, "report what it has as aborted, and copy it that many ms later");

static int stop = 1;
module_param(stop, int, 0444);
MODULE_PARM_DESC(stop, "1: it can be stopped; 0: there is no way to; -1: it fails to");

static bool locked;
static int set_locked(const char *value, const struct kernel_param *parameter);
static const struct kernel_param_ops locked_ops = {
	.set = set_locked,
	.get = param_get_bool,
};
module_param_cb(locked, &locked_ops, &locked, 0644);
MODULE_PARM_DESC(locked, "somebody holds the lock of the device");

/* What is held is looked at again so often. */
#define PAUSE msecs_to_jiffies(10)

struct lab_op {
	struct dma_async_tx_descriptor tx;
	struct list_head node;
	dma_addr_t src, dst;
	size_t length;
	bool aborted;
};

static struct {
	struct dma_device device;
	struct dma_chan chan;
	struct delayed_work work;
	spinlock_t lock; /* all below */
	struct list_head submitted;
	struct list_head issued;
	unsigned int count;
	unsigned int completed;
	dma_cookie_t failed;
} lab;

static dma_cookie_t lab_submit(struct dma_async_tx_descriptor *tx)
{
	struct lab_op *op = container_of(tx, struct lab_op, tx);
	dma_cookie_t cookie;

	spin_lock_bh(&lab.lock);
	cookie = lab.chan.cookie + 1;
	if (cookie < DMA_MIN_COOKIE)
		cookie = DMA_MIN_COOKIE;
	tx->cookie = cookie;
	lab.chan.cookie = cookie;
	list_add_tail(&op->node, &lab.submitted);
	spin_unlock_bh(&lab.lock);
	return cookie;
}

static struct dma_async_tx_descriptor *lab_prep(struct dma_chan *chan, dma_addr_t dst,
						dma_addr_t src, size_t length,
						unsigned long flags)
{
	struct lab_op *op = kzalloc(sizeof(*op), GFP_NOWAIT);
	bool full;

	if (!op)
		return NULL;
	spin_lock_bh(&lab.lock);
	full = lab.count >= room || (max_length && length > max_length);
	if (!full)
		lab.count++;
	spin_unlock_bh(&lab.lock);
	if (full) {
		kfree(op);
		return NULL;
	}
	dma_async_tx_descriptor_init(&op->tx, chan);
	op->tx.tx_submit = lab_submit;
	op->tx.flags = flags;
	op->src = src;
	op->dst = dst;
	op->length = length;
	return &op->tx;
}

static void lab_issue_pending(struct dma_chan *chan)
{
	spin_lock_bh(&lab.lock);
	list_splice_tail_init(&lab.submitted, &lab.issued);
	spin_unlock_bh(&lab.lock);
	schedule_delayed_work(&lab.work, 0);
}

static struct lab_op *lab_next(void)
{
	struct lab_op *op = NULL;

	spin_lock_bh(&lab.lock);
	if (!list_empty(&lab.issued)) {
		op = no_order ? list_last_entry(&lab.issued, struct lab_op, node) :
				list_first_entry(&lab.issued, struct lab_op, node);
		list_del(&op->node);
	}
	spin_unlock_bh(&lab.lock);
	return op;
}

static void lab_report(struct lab_op *op, enum dmaengine_tx_result how)
{
	struct dmaengine_result result = { .result = how };

	if (op->tx.callback_result)
		op->tx.callback_result(op->tx.callback_param, &result);
}

/* Nobody submits meanwhile: the module waits for one more operation to complete. */
static void lab_abort_all(void)
{
	struct lab_op *op, *next;
	LIST_HEAD(aborted);

	spin_lock_bh(&lab.lock);
	list_splice_init(&lab.issued, &aborted);
	spin_unlock_bh(&lab.lock);
	list_for_each_entry_safe(op, next, &aborted, node) {
		op->aborted = true;
		lab_report(op, DMA_TRANS_ABORTED);
	}
	spin_lock_bh(&lab.lock);
	list_splice(&aborted, &lab.issued);
	spin_unlock_bh(&lab.lock);
}

static bool fails_silently(void)
{
	return READ_ONCE(silent_error) && !--silent_error;
}

/* No IOMMU is before the platform bus: a DMA address is a physical one. */
static void lab_complete(struct lab_op *op)
{
	unsigned int every = READ_ONCE(mute);
	bool fails = fails_silently();

	if (!fails)
		memcpy(phys_to_virt(op->dst), phys_to_virt(op->src), op->length);
	spin_lock_bh(&lab.lock);
	if (fails)
		lab.failed = op->tx.cookie;
	lab.chan.completed_cookie = op->tx.cookie;
	lab.count--;
	lab.completed++;
	spin_unlock_bh(&lab.lock);
	if (!op->aborted && (!every || lab.completed % every == 0))
		lab_report(op, DMA_TRANS_NOERROR);
	kfree(op);
}

static void lab_work(struct work_struct *work)
{
	unsigned int ms = READ_ONCE(early_abort);
	struct lab_op *op;

	if (ms) {
		early_abort = 0;
		lab_abort_all();
		schedule_delayed_work(&lab.work, msecs_to_jiffies(ms));
		return;
	}
	ms = READ_ONCE(delay);
	while (!READ_ONCE(hold)) {
		op = lab_next();
		if (!op)
			return;
		lab_complete(op);
		if (ms) {
			schedule_delayed_work(&lab.work, msecs_to_jiffies(ms));
			return;
		}
	}
	schedule_delayed_work(&lab.work, PAUSE);
}

static enum dma_status lab_status(struct dma_chan *chan, dma_cookie_t cookie,
				  struct dma_tx_state *state)
{
	dma_cookie_t last = READ_ONCE(chan->completed_cookie), used = READ_ONCE(chan->cookie);

	dma_set_tx_state(state, last, used, 0);
	if (cookie == READ_ONCE(lab.failed))
		return DMA_ERROR;
	return dma_async_is_complete(cookie, last, used);
}

static int lab_alloc(struct dma_chan *chan)
{
	chan->cookie = DMA_MIN_COOKIE;
	chan->completed_cookie = DMA_MIN_COOKIE;
	return 1;
}

static void lab_drop_all(void)
{
	struct lab_op *op;

	cancel_delayed_work_sync(&lab.work);
	spin_lock_bh(&lab.lock);
	list_splice_tail_init(&lab.submitted, &lab.issued);
	spin_unlock_bh(&lab.lock);
	while ((op = lab_next()))
		kfree(op);
	lab.count = 0;
}

static void lab_free(struct dma_chan *chan)
{
	lab_drop_all();
}

static int lab_terminate(struct dma_chan *chan)
{
	if (stop < 0)
		return -EBUSY;
	lab_drop_all();
	return 0;
}

static int lab_probe(struct platform_device *pdev)
{
	struct dma_device *device = &lab.device;
	int error = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));

	if (error)
		return error;
	memset(&lab, 0, sizeof(lab));
	spin_lock_init(&lab.lock);
	INIT_LIST_HEAD(&lab.submitted);
	INIT_LIST_HEAD(&lab.issued);
	INIT_DELAYED_WORK(&lab.work, lab_work);
	dma_cap_set(DMA_MEMCPY, device->cap_mask);
	dma_cap_set(DMA_PRIVATE, device->cap_mask);
	if (no_order == 1)
		dma_cap_set(DMA_COMPLETION_NO_ORDER, device->cap_mask);
	device->copy_align = align;
	if (stop)
		device->device_terminate_all = lab_terminate;
	device->dev = &pdev->dev;
	device->device_alloc_chan_resources = lab_alloc;
	device->device_free_chan_resources = lab_free;
	device->device_prep_dma_memcpy = lab_prep;
	device->device_issue_pending = lab_issue_pending;
	device->device_tx_status = lab_status;
	INIT_LIST_HEAD(&device->channels);
	lab.chan.device = device;
	list_add_tail(&lab.chan.device_node, &device->channels);
	return dmaenginem_async_device_register(device);
}

static struct platform_driver lab_driver = {
	.probe = lab_probe,
	.driver = { .name = "lab_dma" },
};

static struct platform_device *lab_device;

/* As the driver core does for as long as a driver takes to bind or unbind. */
static void hold_lock(struct work_struct *work)
{
	device_lock(&lab_device->dev);
	while (READ_ONCE(locked))
		msleep(10);
	device_unlock(&lab_device->dev);
}

static DECLARE_WORK(lock_work, hold_lock);

static int set_locked(const char *value, const struct kernel_param *parameter)
{
	int error = param_set_bool(value, parameter);

	if (!error && locked)
		queue_work(system_long_wq, &lock_work);
	return error;
}

static int __init lab_init(void)
{
	int error = platform_driver_register(&lab_driver);

	if (error)
		return error;
	lab_device = platform_device_register_simple("lab_dma", PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(lab_device)) {
		platform_driver_unregister(&lab_driver);
		return PTR_ERR(lab_device);
	}
	return 0;
}

static void __exit lab_exit(void)
{
	WRITE_ONCE(locked, false);
	flush_work(&lock_work);
	platform_device_unregister(lab_device);
	platform_driver_unregister(&lab_driver);
}

module_init(lab_init);
module_exit(lab_exit);

MODULE_DESCRIPTION("A DMA channel in software that behaves as it is told");
MODULE_AUTHOR("The dmad authors");
MODULE_LICENSE("GPL");
