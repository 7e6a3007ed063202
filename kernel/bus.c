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
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/device.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/pci.h>
#include <linux/platform_device.h>
#include <linux/reboot.h>
#include <linux/string.h>
#include <linux/suspend.h>

#include "channel.h"

/* When a device is looked at again that was locked. */
#define SCAN_AGAIN msecs_to_jiffies(100)

static unsigned int max_channels = IDMA_MAX_CHANNELS;
module_param(max_channels, uint, 0444);
MODULE_PARM_DESC(max_channels,
		 "how many DMA channels to take, up to 64; no one else can use those (64)");

/* Who requests channels for empty slots. */
static DEFINE_MUTEX(scan_lock);

/* No channel is to be taken any more, or until the system is resumed. */
static bool stopping, suspended;

static void scan_work(struct work_struct *work);
static DECLARE_DELAYED_WORK(scan, scan_work);

/* For dma_request_channel(): a channel that no slot is for. */
static bool is_free(struct dma_chan *chan, void *locked)
{
	int error;

	if (idma_channel_claims(chan))
		return false;
	error = idma_provider_check(chan);
	if (error == -EAGAIN)
		*(bool *)locked = true;
	return !error;
}

static struct idma_channel *unused_slot(void)
{
	struct idma_channel *ch;

	lockdep_assert_held(&scan_lock);
	if (IDMA_MAX_CHANNELS - idma_channels_in(IOAT_DMA_CHANNEL_GONE) >=
	    max_channels)
		return NULL;
	for_each_idma_channel(ch)
		if (READ_ONCE(ch->state) == IOAT_DMA_CHANNEL_GONE &&
		    !READ_ONCE(ch->dev))
			return ch;
	return NULL;
}

/* False: there was none to be had. */
static bool take_one(struct idma_channel *ch, bool *locked)
{
	struct dma_chan *chan;
	dma_cap_mask_t mask;
	int error;

	lockdep_assert_held(&scan_lock);
	dma_cap_zero(mask);
	dma_cap_set(DMA_MEMCPY, mask);
	/* DMA_PRIVATE channels, such as ioatdma's, come by no other way. */
	chan = dma_request_channel(mask, is_free, locked);
	if (!chan)
		return false;
	mutex_lock(&ch->lock);
	error = idma_channel_attach(ch, chan);
	mutex_unlock(&ch->lock);
	if (error)
		dma_release_channel(chan);
	return !error;
}

/* Takes every channel that can be had. */
void idma_bus_scan(void)
{
	struct idma_channel *ch;
	bool locked = false;

	mutex_lock(&scan_lock);
	while (!stopping && !suspended && (ch = unused_slot()) &&
	       take_one(ch, &locked))
		;
	if (locked)
		queue_delayed_work(idma_wq, &scan, SCAN_AGAIN);
	mutex_unlock(&scan_lock);
}

static void scan_work(struct work_struct *work)
{
	idma_bus_scan();
}

/*
 * The driver core holds the device's lock here, and waits. Nobody else does who
 * is about to take a channel of the device: see idma_provider_check(). A scan
 * that has one in hand already is waited for.
 */
static void driver_goes(const struct device *dev)
{
	if (idma_provider_is_ours(dev)) {
		mutex_lock(&scan_lock);
		mutex_unlock(&scan_lock);
		idma_channels_release(dev);
	}
	idma_provider_forget(dev);
}

static int is_dma_channel(struct device *dev, void *unused)
{
	return dev->class && !strcmp(dev->class->name, "dma");
}

static int bus_event(struct notifier_block *nb, unsigned long event, void *data)
{
	switch (event) {
	case BUS_NOTIFY_UNBIND_DRIVER:
		driver_goes(data);
		break;
	case BUS_NOTIFY_BOUND_DRIVER:
		if (device_for_each_child(data, NULL, is_dma_channel))
			queue_delayed_work(idma_wq, &scan, 0);
		break;
	}
	return NOTIFY_DONE;
}

static struct notifier_block pci_nb = { .notifier_call = bus_event };
static struct notifier_block platform_nb = { .notifier_call = bus_event };

/* For good: the module is unloaded, or the system goes down. */
static void stop(void)
{
	mutex_lock(&scan_lock);
	stopping = true;
	mutex_unlock(&scan_lock);
	idma_channels_release(NULL);
}

/* Also before a kexec: nothing may write to memory that is another kernel's. */
static int reboot_event(struct notifier_block *nb, unsigned long event,
			void *data)
{
	stop();
	return NOTIFY_DONE;
}

static struct notifier_block reboot_nb = { .notifier_call = reboot_event };

static void set_suspended(bool now)
{
	mutex_lock(&scan_lock);
	suspended = now;
	mutex_unlock(&scan_lock);
}

static void resume(void)
{
	set_suspended(false);
	idma_channels_resume();
	queue_delayed_work(idma_wq, &scan, 0);
}

static int pm_event(struct notifier_block *nb, unsigned long event, void *data)
{
	int error;

	switch (event) {
	case PM_SUSPEND_PREPARE:
	case PM_HIBERNATION_PREPARE:
	case PM_RESTORE_PREPARE:
		set_suspended(true);
		error = idma_channels_suspend();
		if (error)
			resume();
		return notifier_from_errno(error);
	case PM_POST_SUSPEND:
	case PM_POST_HIBERNATION:
	case PM_POST_RESTORE:
		resume();
		break;
	}
	return NOTIFY_DONE;
}

static struct notifier_block pm_nb = { .notifier_call = pm_event };

static int watch_buses(void)
{
	int error = bus_register_notifier(&platform_bus_type, &platform_nb);

	if (error || !IS_ENABLED(CONFIG_PCI))
		return error;
	error = bus_register_notifier(&pci_bus_type, &pci_nb);
	if (error)
		bus_unregister_notifier(&platform_bus_type, &platform_nb);
	return error;
}

int idma_bus_init(const struct idma_pieces *pieces)
{
	int error;

	if (max_channels < 1 || max_channels > IDMA_MAX_CHANNELS)
		return -EINVAL;
	idma_channels_init(pieces);
	error = watch_buses();
	if (error)
		return error;
	register_reboot_notifier(&reboot_nb);
	register_pm_notifier(&pm_nb);
	idma_bus_scan();
	if (!idma_channels_alive())
		pr_info("no DMA channel yet\n");
	return 0;
}

/* Buses are watched until no channel is held any more. */
void idma_bus_exit(void)
{
	unregister_pm_notifier(&pm_nb);
	unregister_reboot_notifier(&reboot_nb);
	stop();
	if (IS_ENABLED(CONFIG_PCI))
		bus_unregister_notifier(&pci_bus_type, &pci_nb);
	bus_unregister_notifier(&platform_bus_type, &platform_nb);
	cancel_delayed_work_sync(&scan);
	idma_channels_exit();
}
