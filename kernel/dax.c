// SPDX-License-Identifier: GPL-2.0-only
/*
 * The device-dax devices that regions are of.
 *
 * The addresses of a region are valid as long as its device keeps its driver.
 * The bus notifies of the loss before anything is taken away. From then on the
 * device's regions are gone, even if the device comes back later.
 *
 * There is one notifier per bus and one struct idma_dax per device, so a device
 * that goes costs one pass over the active requests, however many regions there
 * are.
 */
#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/file.h>
#include <linux/kernel.h>
#include <linux/magic.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "idma.h"

/*
 * The device whose driver provides the memory of @file, valid as long as @file
 * is open. That is the device-dax device itself, on the "dax" bus. If
 * dax_pmem_compat made it (as Debian's 5.10 can), it is in a class instead, and
 * the device is its parent on the "nd" bus. Either way its bus notifies of the
 * removal.
 */
int idma_dax_identify(struct file *file, struct device **dev)
{
	struct inode *inode = file_inode(file);
	struct kobject *parent;
	struct cdev *cdev;

	/*
	 * dax_open() makes the device's own inode, on a file system in the
	 * kernel, the host of the file's mapping. No other character device
	 * has one there.
	 */
	if (!S_ISCHR(inode->i_mode) ||
	    file->f_mapping->host->i_sb->s_magic != DAXFS_MAGIC)
		return -ENODEV;
	/* Opened while it was being removed: to map it would oops. */
	cdev = READ_ONCE(inode->i_cdev);
	if (!file->private_data || !cdev)
		return -ENXIO;
	parent = cdev->kobj.parent;
	if (!parent)
		return -EOPNOTSUPP;
	*dev = kobj_to_dev(parent);
	if ((*dev)->devt != inode->i_rdev)
		return -EOPNOTSUPP;
	if (!(*dev)->bus)
		*dev = (*dev)->parent;
	return *dev && (*dev)->bus ? 0 : -EOPNOTSUPP;
}

/**
 * struct idma_dax_bus - a bus with device-dax devices
 * @bus: the bus
 * @owner: module of a driver on @bus; keeps the module of @bus itself loaded
 * @nb: notifier on @bus
 */
struct idma_dax_bus {
	typeof_member(struct device, bus) bus;
	struct module *owner;
	struct notifier_block nb;
};

/* "dax", and "nd" if dax_pmem_compat is in use; they stay until unloading. */
static struct idma_dax_bus buses[2];
static unsigned int bus_count;
static DEFINE_MUTEX(buses_lock);

/* Devices that had a region and have their driver. Under idma_queue_lock. */
static LIST_HEAD(daxes);

static struct idma_dax *find_dax(const struct device *dev)
{
	struct idma_dax *dax;

	lockdep_assert_held(&idma_queue_lock);
	list_for_each_entry(dax, &daxes, node)
		if (dax->dev == dev)
			return dax;
	return NULL;
}

void idma_dax_put(struct idma_dax *dax)
{
	bool last;

	spin_lock(&idma_queue_lock);
	last = !--dax->refs;
	spin_unlock(&idma_queue_lock);
	if (last)
		kfree(dax);
}

/*
 * A file from before the device is bound again must not be closed after that:
 * the driver initializes its cdev anew, and the file's reference to it then
 * underflows. So the regions' files are closed here.
 */
static void close_files(struct idma_dax *dax)
{
	struct idma_region *region;
	struct file *file;

	for (;;) {
		file = NULL;
		spin_lock(&idma_queue_lock);
		region = list_first_entry_or_null(&dax->regions,
						  struct idma_region, node);
		if (region) {
			list_del_init(&region->node);
			swap(file, region->file);
		}
		spin_unlock(&idma_queue_lock);
		if (!region)
			return;
		fput(file);
		cond_resched();
	}
}

/*
 * @dev is losing its driver. Operations that the hardware already has finish
 * first: their requests hold the memory, and the driver core waits for that
 * later on.
 */
static void device_gone(const struct device *dev)
{
	struct idma_dax *dax;

	spin_lock(&idma_queue_lock);
	dax = find_dax(dev);
	if (dax) {
		dax->gone = true;
		list_del(&dax->node);
	}
	spin_unlock(&idma_queue_lock);
	if (!dax)
		return;
	idma_queue_stop_gone();
	close_files(dax);
	put_device(dax->dev);
	idma_dax_put(dax);
}

static int bus_event(struct notifier_block *nb, unsigned long event, void *data)
{
	switch (event) {
	case BUS_NOTIFY_DEL_DEVICE:
	case BUS_NOTIFY_UNBIND_DRIVER:
	case BUS_NOTIFY_UNBOUND_DRIVER:
		device_gone(data);
		break;
	}
	return NOTIFY_DONE;
}

/* The caller holds the device's lock, so its driver stays meanwhile. */
static int watch_bus(const struct device *dev)
{
	struct idma_dax_bus *bus;
	unsigned int i;
	int error;

	lockdep_assert_held(&buses_lock);
	for (i = 0; i < bus_count; i++)
		if (buses[i].bus == dev->bus)
			return 0;
	if (bus_count == ARRAY_SIZE(buses))
		return -EOPNOTSUPP;
	bus = &buses[bus_count];
	bus->owner = dev->driver->owner;
	if (!try_module_get(bus->owner))
		return -ENXIO;
	bus->bus = dev->bus;
	bus->nb.notifier_call = bus_event;
	error = bus_register_notifier(bus->bus, &bus->nb);
	if (error)
		module_put(bus->owner);
	else
		bus_count++;
	return error;
}

/*
 * The object for @dev, which must have its driver; a reference. The caller
 * holds the device's lock, so no loss of the driver is missed.
 */
struct idma_dax *idma_dax_get(struct device *dev)
{
	struct idma_dax *dax, *fresh;
	int error;

	device_lock_assert(dev);
	if (!dev->driver)
		return ERR_PTR(-ENXIO);
	mutex_lock(&buses_lock);
	error = watch_bus(dev);
	mutex_unlock(&buses_lock);
	if (error)
		return ERR_PTR(error);
	fresh = kzalloc(sizeof(*fresh), GFP_KERNEL_ACCOUNT);
	if (!fresh)
		return ERR_PTR(-ENOMEM);
	INIT_LIST_HEAD(&fresh->regions);
	spin_lock(&idma_queue_lock);
	dax = find_dax(dev);
	if (!dax) {
		dax = fresh;
		fresh = NULL;
		dax->dev = get_device(dev);
		dax->refs = 1;
		list_add(&dax->node, &daxes);
	}
	dax->refs++;
	spin_unlock(&idma_queue_lock);
	kfree(fresh);
	return dax;
}

/* @region has its addresses: it keeps @file open from now on. */
int idma_dax_attach(struct idma_region *region, struct file *file)
{
	struct idma_dax *dax = region->dax;
	int error = 0;

	spin_lock(&idma_queue_lock);
	if (dax->gone) {
		error = -ENXIO;
	} else {
		region->file = get_file(file);
		list_add(&region->node, &dax->regions);
	}
	spin_unlock(&idma_queue_lock);
	return error;
}

void idma_dax_detach(struct idma_region *region)
{
	struct file *file = NULL;

	spin_lock(&idma_queue_lock);
	list_del_init(&region->node);
	swap(file, region->file);
	spin_unlock(&idma_queue_lock);
	if (file)
		fput(file);
}

/* No region is left. */
void idma_dax_exit(void)
{
	struct idma_dax *dax, *next;

	while (bus_count) {
		struct idma_dax_bus *bus = &buses[--bus_count];

		bus_unregister_notifier(bus->bus, &bus->nb);
		module_put(bus->owner);
	}
	list_for_each_entry_safe(dax, next, &daxes, node) {
		list_del(&dax->node);
		put_device(dax->dev);
		idma_dax_put(dax);
	}
}
