// SPDX-License-Identifier: GPL-2.0-only
/*
 * Regions: ranges of device-dax devices whose addresses are known.
 *
 * A region does not hold its memory. Each request does, while it is in flight
 * (request.c). A region is gone when its device loses its driver (dax.c).
 */
#include <linux/device.h>
#include <linux/file.h>
#include <linux/slab.h>

#include "idma.h"

static void region_free(struct kref *ref)
{
	struct idma_region *region = container_of(ref, struct idma_region, ref);

	idma_dax_detach(region);
	idma_dax_put(region->dax);
	kfree(region->extents);
	kfree(region);
}

/* Not under idma_queue_lock: the last one frees. */
void idma_region_put(struct idma_region *region)
{
	kref_put(&region->ref, region_free);
}

static int check_range(u64 offset, u64 length)
{
	if (!length)
		return -EINVAL;
	return offset > LLONG_MAX || length > LLONG_MAX - offset ? -ERANGE : 0;
}

static struct idma_dax *dax_of(struct device *dev)
{
	struct idma_dax *dax;

	if (device_lock_interruptible(dev))
		return ERR_PTR(-ERESTARTSYS);
	dax = idma_dax_get(dev);
	device_unlock(dev);
	return dax;
}

/* The region takes its own references to @file and to its device. */
struct idma_region *idma_region_make(struct file *file, u64 offset, u64 length)
{
	struct idma_region *region;
	struct device *dev;
	int error = check_range(offset, length);

	if (error)
		return ERR_PTR(error);
	if (!(file->f_mode & FMODE_READ))
		return ERR_PTR(-EACCES);
	error = idma_dax_identify(file, &dev);
	if (error)
		return ERR_PTR(error);
	region = kzalloc(sizeof(*region), GFP_KERNEL_ACCOUNT);
	if (!region)
		return ERR_PTR(-ENOMEM);
	kref_init(&region->ref);
	INIT_LIST_HEAD(&region->node);
	region->writable = file->f_mode & FMODE_WRITE;
	region->numa_node = NUMA_NO_NODE;
	region->offset = offset;
	region->length = length;
	region->dax = dax_of(dev);
	if (IS_ERR(region->dax)) {
		error = PTR_ERR(region->dax);
		kfree(region);
		return ERR_PTR(error);
	}
	error = idma_devdax_resolve(region, file, dev);
	if (!error)
		error = idma_dax_attach(region, file);
	if (error) {
		idma_region_put(region);
		return ERR_PTR(error);
	}
	return region;
}

/* Only what IOAT_DMA_REGION_CREATE has reported has an id. */
static struct idma_region *find(struct idma_context *context, u32 id)
{
	struct idma_region *region = xa_load(&context->regions, id);

	return region && region->published ? region : NULL;
}

/* A reference, or NULL. */
struct idma_region *idma_region_find(struct idma_context *context, u32 id)
{
	struct idma_region *region;

	xa_lock(&context->regions);
	region = find(context, id);
	if (region)
		kref_get(&region->ref);
	xa_unlock(&context->regions);
	return region;
}

/* The address of the byte at @offset, and how many bytes are contiguous there. */
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
	if (!idma_charge(context, IDMA_REGIONS, 1))
		return -EMFILE;
	file = fget(create->fd);
	if (!file) {
		error = -EBADF;
		goto uncharge;
	}
	region = idma_region_make(file, create->offset, create->length);
	fput(file);
	if (IS_ERR(region)) {
		error = PTR_ERR(region);
		goto uncharge;
	}
	error = xa_alloc(&context->regions, &create->out_region, region,
			 XA_LIMIT(0, IDMA_MAX_REGIONS - 1), GFP_KERNEL);
	if (error) {
		idma_region_put(region);
		goto uncharge;
	}
	create->out_numa_node = region->numa_node;
	return 0;

uncharge:
	idma_uncharge(context, IDMA_REGIONS, 1);
	return error;
}

static void region_drop(struct idma_context *context, struct idma_region *region)
{
	idma_uncharge(context, IDMA_REGIONS, 1);
	idma_region_put(region);
}

/*
 * Until the caller has been given the id, no other thread can use it, nor
 * destroy the region and have another one made under the same id.
 */
void idma_finish_region_create(struct idma_context *context, void *arg,
			       bool reported)
{
	const struct ioat_dma_region_create *create = arg;
	struct idma_region *region;

	xa_lock(&context->regions);
	region = xa_load(&context->regions, create->out_region);
	if (reported)
		region->published = true;
	else
		__xa_erase(&context->regions, create->out_region);
	xa_unlock(&context->regions);
	if (!reported)
		region_drop(context, region);
}

int idma_ioctl_region_destroy(struct idma_context *context, void *arg)
{
	const struct ioat_dma_region_destroy *destroy = arg;
	struct idma_region *region;

	xa_lock(&context->regions);
	region = find(context, destroy->region);
	if (region)
		__xa_erase(&context->regions, destroy->region);
	xa_unlock(&context->regions);
	if (!region)
		return -ENOENT;
	region_drop(context, region);
	return 0;
}

/* The file is being closed. */
void idma_regions_drop(struct idma_context *context)
{
	struct idma_region *region;
	unsigned long id;

	xa_for_each(&context->regions, id, region) {
		xa_erase(&context->regions, id);
		region_drop(context, region);
	}
}
