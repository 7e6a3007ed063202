// SPDX-License-Identifier: GPL-2.0-only
/*
 * Whose channels can be used.
 *
 * Recovery (op.c, recovery.c) rests on what a driver does beyond dmaengine's
 * contract: operations end in order, and a failure reaches the callback.
 * Nothing in struct dma_device says so, so drivers are named by the
 * administrator, and the default is the one that was read and tested. Traits
 * that can be seen rule a provider out even then.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/device.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/platform_device.h>
#include <linux/spinlock.h>
#include <linux/string.h>

#include "channel.h"

static char *drivers = "ioatdma";
module_param(drivers, charp, 0444);
MODULE_PARM_DESC(drivers,
		 "drivers whose channels are taken, with commas between; others than ioatdma at your own risk (ioatdma)");

/* In the order of enum ioat_dma_refusal: why, and what would be needed. */
static const char * const reasons[] = {
	[IOAT_DMA_REFUSED_DRIVER] =
		"not named by drivers=, which takes drivers that complete in order and report failures to callback_result",
	[IOAT_DMA_REFUSED_ORDER] =
		"it completes out of order (DMA_COMPLETION_NO_ORDER), and recovery needs completion in order",
	[IOAT_DMA_REFUSED_ALIGNMENT] =
		"it wants aligned copies (copy_align), and any byte must do",
	[IOAT_DMA_REFUSED_ERRORS] =
		"it reports failed copies as done; failures must reach callback_result",
	[IOAT_DMA_REFUSED_BUS] =
		"its device is on another bus than PCI or platform, whose unbinding is not noticed",
};

/* By reading: their callbacks report success whatever happened. */
static const char * const silent_drivers[] = { "ptdma", "ae4dma" };

/* Providers that were refused, by device; read by INFO. */
static struct ioat_dma_refused refusals[IOAT_DMA_MAX_REFUSED];
static unsigned int refusal_count;
static DEFINE_SPINLOCK(refusal_lock);

static struct ioat_dma_refused *find_refusal(const struct device *dev)
{
	unsigned int i;

	lockdep_assert_held(&refusal_lock);
	for (i = 0; i < refusal_count; i++)
		if (!strcmp(refusals[i].device, dev_name(dev)))
			return &refusals[i];
	return NULL;
}

/* Remembers it, and says so once. */
static void refuse(const struct device *dev, u32 reason)
{
	struct ioat_dma_refused *refusal;
	bool known = false;

	spin_lock(&refusal_lock);
	refusal = find_refusal(dev);
	if (refusal) {
		known = refusal->reason == reason;
		refusal->reason = reason;
	} else if (refusal_count < ARRAY_SIZE(refusals)) {
		refusal = &refusals[refusal_count++];
		strscpy(refusal->device, dev_name(dev),
			sizeof(refusal->device));
		strscpy(refusal->driver, dev_driver_string(dev),
			sizeof(refusal->driver));
		refusal->reason = reason;
	} else {
		known = true; /* one that cannot be remembered would be said again */
		pr_info_once("not using more providers than are listed\n");
	}
	spin_unlock(&refusal_lock);
	if (!known)
		pr_info("not using %s %s: %s\n", dev_driver_string(dev),
			dev_name(dev), reasons[reason]);
}

/* Its driver goes; bound anew it is looked at anew. */
void idma_provider_forget(const struct device *dev)
{
	struct ioat_dma_refused *refusal;

	spin_lock(&refusal_lock);
	refusal = find_refusal(dev);
	if (refusal) {
		*refusal = refusals[--refusal_count];
		memset(&refusals[refusal_count], 0, sizeof(*refusal));
	}
	spin_unlock(&refusal_lock);
}

/* Fills in all of @refused, and returns how many of them there are. */
u32 idma_providers_refused(struct ioat_dma_refused refused[IOAT_DMA_MAX_REFUSED])
{
	u32 count;

	spin_lock(&refusal_lock);
	count = refusal_count;
	memcpy(refused, refusals, sizeof(refusals));
	spin_unlock(&refusal_lock);
	return count;
}

/* Zero, or why it was refused: what was seen of it stays true. */
static u32 known_refusal(const struct device *dev)
{
	const struct ioat_dma_refused *refusal;
	u32 reason;

	spin_lock(&refusal_lock);
	refusal = find_refusal(dev);
	reason = refusal ? refusal->reason : 0;
	spin_unlock(&refusal_lock);
	return reason;
}

/* It was seen to do what @reason says, so its channels are not taken again. */
void idma_provider_distrust(const struct device *dev, u32 reason)
{
	refuse(dev, reason);
}

static bool is_named(const char *driver)
{
	size_t length = strlen(driver);
	const char *at = drivers;

	while (at) {
		at += strspn(at, ", ");
		if (!strncmp(at, driver, length) &&
		    strchr(",\n ", at[length])) /* finds the end as well */
			return true;
		at = strchr(at, ',');
	}
	return false;
}

/* A device whose driver's binding and unbinding concern this module. */
bool idma_provider_is_ours(const struct device *dev)
{
	const struct device_driver *driver = dev->driver;

	return driver && is_named(driver->name);
}

static u32 reason_to_refuse(struct dma_chan *chan)
{
	struct dma_device *device = chan->device;
	const char *driver = dev_driver_string(device->dev);

	if (dma_has_cap(DMA_COMPLETION_NO_ORDER, device->cap_mask))
		return IOAT_DMA_REFUSED_ORDER;
	if (device->copy_align)
		return IOAT_DMA_REFUSED_ALIGNMENT;
	if (match_string(silent_drivers, ARRAY_SIZE(silent_drivers), driver) >=
	    0)
		return IOAT_DMA_REFUSED_ERRORS;
	if (!is_named(driver))
		return IOAT_DMA_REFUSED_DRIVER;
	if (device->dev->bus != &platform_bus_type &&
	    !(IS_ENABLED(CONFIG_PCI) && device->dev->bus == &pci_bus_type))
		return IOAT_DMA_REFUSED_BUS;
	return known_refusal(device->dev);
}

/*
 * For filters of dma_request_channel(), under dmaengine's mutex: zero, -EPERM
 * if the provider is refused, or -EAGAIN. A device whose driver is being
 * unbound is locked, and nothing of it may be taken any more; one that is
 * locked for another reason has to wait for the next look.
 */
int idma_provider_check(struct dma_chan *chan)
{
	struct device *dev = chan->device->dev;
	u32 reason;

	if (!dev)
		return -EPERM;
	if (!device_trylock(dev))
		return -EAGAIN;
	reason = reason_to_refuse(chan);
	if (reason)
		refuse(dev, reason);
	device_unlock(dev);
	return reason ? -EPERM : 0;
}

/*
 * dma_release_channel() is not bound to stop the hardware: that is what
 * device_terminate_all is for, which ioatdma lacks; there it resets the
 * channel.
 */
bool idma_provider_stops_on_release(const struct dma_chan *chan)
{
	return !strcmp(dev_driver_string(chan->device->dev), "ioatdma");
}
