// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where channels come from and go to.
 *
 * dmaengine tells its clients neither that a provider came nor that one goes.
 * The driver core does: a bus calls its notifiers after a driver was bound, and
 * before one is unbound. The second is what makes unbinding safe. A client that
 * only notices afterwards, by prep returning NULL, gives its channel back to a
 * provider that is not there: dma_release_channel() then touches freed memory
 * (seen with poisoned slabs on 6.1, 6.12 and 7.3), and on 5.10 ioatdma's timer
 * may read unmapped registers. So channels are only taken from devices on buses
 * that are watched.
 */
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

#include "idma.h"

static unsigned int max_channels = IDMA_MAX_CHANNELS;
module_param(max_channels, uint, 0444);
MODULE_PARM_DESC(max_channels,
		 "how many DMA channels to take, up to 64; no one else can use those (64)");

struct idma_channel idma_channels[IDMA_MAX_CHANNELS];

/* Who asks dmaengine for channels, and fills slots. */
static DEFINE_MUTEX(scan_lock);

/*
 * Devices between the notification that their driver goes and that it went. A
 * scan in between must not take back what was just given up.
 */
struct leaving_device {
	struct list_head node;
	const struct device *dev;
};

static LIST_HEAD(leaving);
static DEFINE_SPINLOCK(leaving_lock);

static bool stopping;

static bool is_leaving(const struct device *dev)
{
	struct leaving_device *entry;
	bool found = false;

	spin_lock(&leaving_lock);
	list_for_each_entry(entry, &leaving, node)
		found |= entry->dev == dev;
	spin_unlock(&leaving_lock);
	return found;
}

/* For dma_request_channel(): @param is the one channel wanted, or NULL. */
bool idma_provider_filter(struct dma_chan *chan, void *param)
{
	const struct device *dev = chan->device->dev;

	if (param && chan != param)
		return false;
	if (!dev || !dev->bus)
		return false;
	if (dev->bus != &platform_bus_type &&
	    !(IS_ENABLED(CONFIG_PCI) && dev->bus == &pci_bus_type))
		return false;
	return !is_leaving(dev);
}

static struct idma_channel *unused_slot(void)
{
	struct idma_channel *ch;

	lockdep_assert_held(&scan_lock);
	for (ch = idma_channels; ch < idma_channels + IDMA_MAX_CHANNELS; ch++)
		if (READ_ONCE(ch->state) == IOAT_DMA_CHANNEL_GONE)
			return ch;
	return NULL;
}

static unsigned int slots_in_use(void)
{
	return IDMA_MAX_CHANNELS - idma_channels_in(IOAT_DMA_CHANNEL_GONE);
}

/* Takes every channel that can be had. */
void idma_providers_scan(void)
{
	struct idma_channel *ch;
	struct dma_chan *chan;
	dma_cap_mask_t mask;
	int error;

	dma_cap_zero(mask);
	dma_cap_set(DMA_MEMCPY, mask);
	mutex_lock(&scan_lock);
	while (!stopping && slots_in_use() < max_channels) {
		ch = unused_slot();
		if (!ch)
			break;
		/* DMA_PRIVATE channels, such as ioatdma's, come by no other way */
		chan = dma_request_channel(mask, idma_provider_filter, NULL);
		if (!chan)
			break;
		mutex_lock(&ch->lock);
		error = idma_channel_attach(ch, chan);
		mutex_unlock(&ch->lock);
		if (error) {
			dma_release_channel(chan);
			break;
		}
	}
	mutex_unlock(&scan_lock);
}

static void scan(struct work_struct *work)
{
	idma_providers_scan();
}

static DECLARE_WORK(scan_work, scan);

static void remember_leaving(const struct device *dev)
{
	struct leaving_device *entry = kmalloc(sizeof(*entry), GFP_KERNEL);

	if (!entry)
		return; /* a scan would have to come in these milliseconds */
	entry->dev = dev;
	spin_lock(&leaving_lock);
	list_add(&entry->node, &leaving);
	spin_unlock(&leaving_lock);
}

static void forget_leaving(const struct device *dev)
{
	struct leaving_device *entry, *next;
	LIST_HEAD(found);

	spin_lock(&leaving_lock);
	list_for_each_entry_safe(entry, next, &leaving, node)
		if (!dev || entry->dev == dev)
			list_move(&entry->node, &found);
	spin_unlock(&leaving_lock);
	list_for_each_entry_safe(entry, next, &found, node)
		kfree(entry);
}

/* All channels of @dev, or all there are, back to dmaengine. */
static void release_channels(const struct device *dev)
{
	struct idma_channel *ch;

	for (ch = idma_channels; ch < idma_channels + IDMA_MAX_CHANNELS; ch++) {
		mutex_lock(&ch->lock);
		if (ch->chan && (!dev || ch->dev == dev)) {
			idma_channel_drain(ch);
			idma_channel_give_back(ch);
			idma_channel_detach(ch, IOAT_DMA_ERROR_CHANNEL);
		}
		mutex_unlock(&ch->lock);
	}
	idma_queue_fail_orphans();
}

/* The driver core holds the device's lock here, and waits. */
static int bus_event(struct notifier_block *nb, unsigned long event, void *data)
{
	switch (event) {
	case BUS_NOTIFY_UNBIND_DRIVER:
		remember_leaving(data);
		/* a scan that is under way may have one of its channels in hand */
		mutex_lock(&scan_lock);
		release_channels(data);
		mutex_unlock(&scan_lock);
		break;
	case BUS_NOTIFY_UNBOUND_DRIVER:
		forget_leaving(data);
		break;
	case BUS_NOTIFY_BOUND_DRIVER:
		queue_work(idma_wq, &scan_work);
		break;
	}
	return NOTIFY_DONE;
}

static struct notifier_block pci_nb = { .notifier_call = bus_event };
static struct notifier_block platform_nb = { .notifier_call = bus_event };

unsigned int idma_channels_in(u32 state)
{
	unsigned int count = 0, i;

	for (i = 0; i < IDMA_MAX_CHANNELS; i++)
		count += READ_ONCE(idma_channels[i].state) == state;
	return count;
}

/* Those that work, or soon will. */
unsigned int idma_channels_alive(void)
{
	return idma_channels_in(IOAT_DMA_CHANNEL_READY) +
	       idma_channels_in(IOAT_DMA_CHANNEL_RECOVERING);
}

int idma_providers_init(void)
{
	unsigned int i;
	int error;

	if (max_channels < 1 || max_channels > IDMA_MAX_CHANNELS)
		return -EINVAL;
	for (i = 0; i < IDMA_MAX_CHANNELS; i++)
		idma_channel_init(&idma_channels[i], i);
	error = bus_register_notifier(&platform_bus_type, &platform_nb);
	if (error)
		return error;
	if (IS_ENABLED(CONFIG_PCI)) {
		error = bus_register_notifier(&pci_bus_type, &pci_nb);
		if (error) {
			bus_unregister_notifier(&platform_bus_type,
						&platform_nb);
			return error;
		}
	}
	idma_providers_scan();
	if (!idma_channels_alive())
		pr_info("ioat-dma: no DMA channel yet\n");
	return 0;
}

void idma_providers_exit(void)
{
	if (IS_ENABLED(CONFIG_PCI))
		bus_unregister_notifier(&pci_bus_type, &pci_nb);
	bus_unregister_notifier(&platform_bus_type, &platform_nb);
	mutex_lock(&scan_lock);
	stopping = true;
	release_channels(NULL);
	mutex_unlock(&scan_lock);
	cancel_work_sync(&scan_work);
	forget_leaving(NULL);
}
