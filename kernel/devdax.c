// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a device-dax file is and where its bytes are, by public means only.
 *
 * dax-private.h is in no header package and changes with every release; a copy
 * of it that does not fit writes to wrong addresses. So the device is asked like
 * a user would ask it: the file is mapped, and its pages are looked at.
 */
#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "compat.h"
#include "idma.h"

/* So much is mapped at a time, to bound the page tables that it takes. */
#define WINDOW SZ_1G

/*
 * The device whose driver gives @file its memory, good as long as the file. That
 * is the device-dax device itself, on the "dax" bus; or where dax_pmem_compat
 * made it (as Debian's 5.10 does), which puts it into a class instead, its parent
 * on the "nd" bus. Either way it is the one whose bus tells of the removal.
 */
int idma_devdax_identify(struct file *file, struct device **dev)
{
	struct inode *inode = file_inode(file);
	struct kobject *parent;

	/*
	 * dax_open() makes the device's own inode, on a file system in the
	 * kernel, the host of the file's mapping. No other character device
	 * has one there.
	 */
	if (!S_ISCHR(inode->i_mode) ||
	    file->f_mapping->host->i_sb->s_magic != DAXFS_MAGIC)
		return -ENODEV;
	/* Opened while it was being removed: to map it would oops. */
	if (!file->private_data || !inode->i_cdev)
		return -ENXIO;
	parent = inode->i_cdev->kobj.parent;
	if (!parent)
		return -EOPNOTSUPP;
	*dev = kobj_to_dev(parent);
	if ((*dev)->devt != inode->i_rdev)
		return -EOPNOTSUPP;
	if (!(*dev)->bus)
		*dev = (*dev)->parent;
	return *dev && (*dev)->bus ? 0 : -EOPNOTSUPP;
}

static unsigned long map(const struct idma_region *region, u64 offset,
			 unsigned long length)
{
	unsigned long prot = PROT_READ;

	if (region->writable)
		prot |= PROT_WRITE;
	return vm_mmap(region->file, 0, length, prot, MAP_SHARED, offset);
}

/*
 * The alignment of a device is that of the smallest mapping that it takes. It
 * takes any offset, and maps the wrong place where that is not aligned.
 */
static long find_alignment(const struct idma_region *region)
{
	static const unsigned long candidates[] = { SZ_4K, SZ_2M, SZ_1G };
	unsigned long address = -EINVAL;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(candidates); i++) {
		address = map(region, 0, candidates[i]);
		if (!IS_ERR_VALUE(address)) {
			vm_munmap(address, candidates[i]);
			return candidates[i];
		}
		if (address != -EINVAL)
			break;
	}
	return address;
}

/*
 * The physical address of one page. Pinned for a moment only, which the caller
 * makes safe by holding the device's lock: a pin does not keep the memory there
 * when the device is removed, and unpinning would oops.
 */
static int look_at(const struct idma_region *region, unsigned long address,
		   u64 offset, phys_addr_t *phys)
{
	struct vm_area_struct *vma;
	struct page *page;
	long got;

	mmap_assert_locked(current->mm);
	/* Another thread may have put something else there. */
	vma = find_vma(current->mm, address);
	if (!vma || vma->vm_start > address || vma->vm_file != region->file ||
	    ((u64)vma->vm_pgoff << PAGE_SHIFT) + (address - vma->vm_start) !=
	    offset)
		return -EAGAIN;
	got = idma_pin_page(address, region->writable ? FOLL_WRITE : 0, &page);
	if (got != 1)
		/* beyond the end a mapping can be made, but not used */
		return !got || got == -EFAULT ? -ERANGE : got;
	*phys = page_to_phys(page);
	unpin_user_page(page);
	return 0;
}

static int add_extent(struct idma_region *region, u64 offset, phys_addr_t phys,
		      u64 length)
{
	struct idma_extent *extents, *last;

	if (region->count) {
		last = &region->extents[region->count - 1];
		if (last->phys + last->length == phys) {
			last->length += length;
			return 0;
		}
	}
	/* Nearly always there is one; a fragmented device has some. */
	extents = krealloc(region->extents,
			   array_size(region->count + 1, sizeof(*extents)),
			   GFP_KERNEL_ACCOUNT);
	if (!extents)
		return -ENOMEM;
	region->extents = extents;
	extents[region->count++] = (struct idma_extent) {
		.offset = offset,
		.phys = phys,
		.length = length,
	};
	return 0;
}

/* Looks at one page in each @step of [@from, @to), all within a window. */
static int resolve_window(struct idma_region *region, u64 from, u64 to,
			  u64 step)
{
	struct mm_struct *mm = current->mm;
	unsigned long address = map(region, from, to - from);
	u64 end = region->offset + region->length, at;
	u64 first, last;
	phys_addr_t phys;
	int error = 0;

	if (IS_ERR_VALUE(address))
		return address;
	for (at = from; at < to && !error; at += step) {
		if (fatal_signal_pending(current)) {
			error = -EINTR;
			break;
		}
		mmap_read_lock(mm);
		error = look_at(region, address + (at - from), at, &phys);
		mmap_read_unlock(mm);
		if (error)
			break;
		first = max(at, region->offset);
		last = min(at + step, end);
		error = add_extent(region, first - region->offset,
				   phys + (first - at), last - first);
		cond_resched();
	}
	vm_munmap(address, to - from);
	return error;
}

/*
 * Fills in the extents, and the alignment where it is 0. A device is contiguous
 * within its alignment, so one page of each such part tells of all; what is not
 * there gives -ERANGE. The caller holds the device's lock, and it has its driver.
 */
int idma_devdax_resolve(struct idma_region *region)
{
	u64 start, end, at;
	long step;
	int error;

	device_lock_assert(region->dev);
	if (!current->mm)
		return -EINVAL;
	step = region->alignment;
	if (!step)
		step = find_alignment(region);
	if (step < 0)
		return step;
	region->alignment = step;
	start = round_down(region->offset, (u64)step);
	end = region->offset + region->length;
	if (end > U64_MAX - step || end > LLONG_MAX)
		return -ERANGE;
	end = round_up(end, (u64)step);
	if (end - start > step) {
		/* the last part first: a wrong length is found out at once */
		error = resolve_window(region, end - step, end, step);
		if (error)
			return error;
		region->count = 0;
	}
	for (at = start; at < end; at += WINDOW) {
		error = resolve_window(region, at, min(at + WINDOW, end), step);
		if (error)
			return error;
	}
	region->node = page_to_nid(pfn_to_page(PHYS_PFN(region->extents[0].phys)));
	return 0;
}
