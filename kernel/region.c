// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory that has a name.
 *
 * A region knows the physical addresses of its bytes but does not hold the
 * memory. Each request does that, for its time. What makes the addresses good
 * is that the device kept its driver since they were looked up: the region is
 * told when it loses it, before anything is taken away, and is gone then for
 * ever.
 */
#include <linux/device.h>
#include <linux/file.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "idma.h"

static void region_destroy(struct idma_region *region)
{
	bus_unregister_notifier(region->dev->bus, &region->nb);
	fput(region->file);
	kfree(region->extents);
	kfree(region);
}

static void free_work(struct work_struct *work)
{
	region_destroy(container_of(work, struct idma_region, free_work));
}

static void free_later(struct kref *ref)
{
	struct idma_region *region = container_of(ref, struct idma_region, ref);

	queue_work(idma_wq, &region->free_work);
}

static void free_now(struct kref *ref)
{
	region_destroy(container_of(ref, struct idma_region, ref));
}

/*
 * From anywhere. The end of a region waits for notifiers to return, and the
 * last reference may be put by one, or by a channel that one waits for.
 */
void idma_region_put(struct idma_region *region)
{
	kref_put(&region->ref, free_later);
}

/* From an ioctl or a close: the file is closed when this returns. */
void idma_region_put_now(struct idma_region *region)
{
	kref_put(&region->ref, free_now);
}

static bool uses(const struct idma_request *request, const void *region)
{
	return request->src == region || request->dst == region;
}

/*
 * The device loses its driver, or lost it. What is with the hardware ends
 * first, held by its request; the driver core waits for that further on.
 */
static int bus_event(struct notifier_block *nb, unsigned long event, void *data)
{
	struct idma_region *region = container_of(nb, struct idma_region, nb);

	if (data != region->dev)
		return NOTIFY_DONE;
	switch (event) {
	case BUS_NOTIFY_DEL_DEVICE:
	case BUS_NOTIFY_UNBIND_DRIVER:
	case BUS_NOTIFY_UNBOUND_DRIVER:
		spin_lock(&idma_queue_lock);
		region->gone = true;
		spin_unlock(&idma_queue_lock);
		idma_queue_stop(NULL, uses, region, IOAT_DMA_GONE,
				IOAT_DMA_ERROR_DEVICE);
		break;
	}
	return NOTIFY_DONE;
}

/* Under the device's lock its driver stays, or is gone already. */
static int resolve(struct idma_region *region)
{
	int error = device_lock_interruptible(region->dev);

	if (error)
		return -ERESTARTSYS;
	error = region->dev->driver ? idma_devdax_resolve(region) : -ENXIO;
	device_unlock(region->dev);
	return error;
}

static struct idma_region *make(struct file *file, struct device *dev,
				u64 offset, u64 length, u32 alignment)
{
	struct idma_region *region;
	int error;

	region = kzalloc(sizeof(*region), GFP_KERNEL_ACCOUNT);
	if (!region)
		return ERR_PTR(-ENOMEM);
	kref_init(&region->ref);
	INIT_WORK(&region->free_work, free_work);
	region->file = get_file(file);
	region->dev = dev;
	region->writable = file->f_mode & FMODE_WRITE;
	region->offset = offset;
	region->length = length;
	region->alignment = alignment;
	region->nb.notifier_call = bus_event;
	/* first, so that nothing that comes after the look-up is missed */
	error = bus_register_notifier(dev->bus, &region->nb);
	if (error) {
		fput(region->file);
		kfree(region);
		return ERR_PTR(error);
	}
	error = resolve(region);
	if (error) {
		idma_region_put_now(region);
		return ERR_PTR(error);
	}
	return region;
}

static int check_range(u64 offset, u64 length)
{
	if (!length)
		return -EINVAL;
	return offset > LLONG_MAX || length > LLONG_MAX - offset ? -ERANGE : 0;
}

/* Takes a reference to @file, not the caller's. */
struct idma_region *idma_region_make(struct file *file, u64 offset, u64 length)
{
	struct device *dev;
	int error = check_range(offset, length);

	if (error)
		return ERR_PTR(error);
	if (!(file->f_mode & FMODE_READ))
		return ERR_PTR(-EACCES);
	error = idma_devdax_identify(file, &dev);
	if (error)
		return ERR_PTR(error);
	return make(file, dev, offset, length, 0);
}

/*
 * Of the same file as @other, of which it is known what to ask the device. Both
 * are for one request: should the device come back with another alignment,
 * @other is gone, and so is that request.
 */
struct idma_region *idma_region_make_beside(const struct idma_region *other,
					    u64 offset, u64 length)
{
	struct idma_region *region;
	int error = check_range(offset, length);

	if (error)
		return ERR_PTR(error);
	region = make(other->file, other->dev, offset, length,
		      other->alignment);
	if (!READ_ONCE(other->gone))
		return region;
	if (!IS_ERR(region))
		idma_region_put_now(region);
	return ERR_PTR(-ENXIO);
}

/* A reference, or NULL. */
struct idma_region *idma_region_find(struct idma_context *context, u32 id)
{
	struct idma_region *region;

	xa_lock(&context->regions);
	region = xa_load(&context->regions, id);
	if (region)
		kref_get(&region->ref);
	xa_unlock(&context->regions);
	return region;
}

/* Where the byte at @offset is, and how many follow it there. */
phys_addr_t idma_region_lookup(const struct idma_region *region, u64 offset,
			       u64 *run)
{
	size_t low = 0, high = region->count;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (region->extents[middle].offset <= offset)
			low = middle;
		else
			high = middle;
	}
	offset -= region->extents[low].offset;
	*run = region->extents[low].length - offset;
	return region->extents[low].phys + offset;
}

int idma_ioctl_region_create(struct idma_context *context, void *arg)
{
	struct ioat_dma_region_create *create = arg;
	struct idma_region *region;
	struct file *file;
	int error;

	if (create->flags || create->__reserved)
		return -EOPNOTSUPP;
	if (atomic_inc_return(&context->region_count) > IDMA_MAX_REGIONS) {
		error = -EMFILE;
		goto uncount;
	}
	file = fget(create->fd);
	if (!file) {
		error = -EBADF;
		goto uncount;
	}
	region = idma_region_make(file, create->offset, create->length);
	fput(file);
	if (IS_ERR(region)) {
		error = PTR_ERR(region);
		goto uncount;
	}
	error = xa_alloc(&context->regions, &create->out_region, region,
			 XA_LIMIT(0, IDMA_MAX_REGIONS - 1), GFP_KERNEL);
	if (error) {
		idma_region_put_now(region);
		goto uncount;
	}
	create->out_numa_node = region->node;
	return 0;

uncount:
	atomic_dec(&context->region_count);
	return error;
}

static int region_drop(struct idma_context *context, u32 id)
{
	struct idma_region *region = xa_erase(&context->regions, id);

	if (!region)
		return -ENOENT;
	atomic_dec(&context->region_count);
	idma_region_put_now(region);
	return 0;
}

void idma_undo_region_create(struct idma_context *context, void *arg)
{
	const struct ioat_dma_region_create *create = arg;

	region_drop(context, create->out_region);
}

int idma_ioctl_region_destroy(struct idma_context *context, void *arg)
{
	const struct ioat_dma_region_destroy *destroy = arg;

	return region_drop(context, destroy->region);
}

void idma_regions_drop(struct idma_context *context)
{
	struct idma_region *region;
	unsigned long id;

	xa_for_each(&context->regions, id, region)
		region_drop(context, id);
}
