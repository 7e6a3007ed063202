// SPDX-License-Identifier: GPL-2.0-only
/*
 * lab_crowd - more DMA providers than the module has room to remember, lab_crowd.0 and so on. All
 * complete out of order, so nobody ever gets to use one.
 */
#include <linux/dmaengine.h>
#include <linux/err.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

#define CROWD 12

struct crowd_member {
	struct dma_device device;
	struct dma_chan chan;
};

static struct dma_async_tx_descriptor *crowd_prep(struct dma_chan *chan, dma_addr_t dst,
						  dma_addr_t src, size_t length,
						  unsigned long flags)
{
	return NULL;
}

static void crowd_issue_pending(struct dma_chan *chan)
{
}

static enum dma_status crowd_status(struct dma_chan *chan, dma_cookie_t cookie,
				    struct dma_tx_state *state)
{
	return DMA_ERROR;
}

static int crowd_probe(struct platform_device *pdev)
{
	struct crowd_member *member = devm_kzalloc(&pdev->dev, sizeof(*member), GFP_KERNEL);
	struct dma_device *device;

	if (!member)
		return -ENOMEM;
	device = &member->device;
	dma_cap_set(DMA_MEMCPY, device->cap_mask);
	dma_cap_set(DMA_PRIVATE, device->cap_mask);
	dma_cap_set(DMA_COMPLETION_NO_ORDER, device->cap_mask);
	device->dev = &pdev->dev;
	device->device_prep_dma_memcpy = crowd_prep;
	device->device_issue_pending = crowd_issue_pending;
	device->device_tx_status = crowd_status;
	INIT_LIST_HEAD(&device->channels);
	member->chan.device = device;
	list_add_tail(&member->chan.device_node, &device->channels);
	return dmaenginem_async_device_register(device);
}

static struct platform_driver crowd_driver = {
	.probe = crowd_probe,
	.driver = { .name = "lab_crowd" },
};

static struct platform_device *members[CROWD];

static void crowd_leave(int count)
{
	while (count--)
		platform_device_unregister(members[count]);
	platform_driver_unregister(&crowd_driver);
}

static int __init crowd_init(void)
{
	int i, error = platform_driver_register(&crowd_driver);

	if (error)
		return error;
	for (i = 0; i < CROWD; i++) {
		members[i] = platform_device_register_simple("lab_crowd", i, NULL, 0);
		if (IS_ERR(members[i])) {
			error = PTR_ERR(members[i]);
			crowd_leave(i);
			return error;
		}
	}
	return 0;
}

static void __exit crowd_exit(void)
{
	crowd_leave(CROWD);
}

module_init(crowd_init);
module_exit(crowd_exit);

MODULE_DESCRIPTION("DMA providers that nobody uses, many of them");
MODULE_AUTHOR("The dmad authors");
MODULE_LICENSE("GPL");
