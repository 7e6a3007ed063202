// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where the bytes of a device-dax file are, by public means only.
 *
 * dax-private.h is in no header package and changes with every release; a copy
 * of it that does not fit writes to wrong addresses. So the device is asked as
 * a user would ask it: the file is mapped, and its pages are looked up.
 */
#include <linux/device.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pgtable.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "compat.h"
#include "idma.h"

/* Pages looked up at a time, to bound how long locks are held. */
#define IDMA_BATCH 128

/**
 * struct idma_window - a part of a device, mapped into the caller's memory
 * @region: what is being resolved
 * @file: of the device
 * @dev: the device
 * @start: offset of the window in the device
 * @size: bytes
 * @address: where it is mapped
 * @step: alignment of the device: within it, memory is contiguous
 * @pages: those of a batch
 * @phys: their addresses
 */
struct idma_window {
	struct idma_region *region;
	struct file *file;
	struct device *dev;
	u64 start;
	unsigned long size;
	unsigned long address;
	unsigned long step;
	struct page *pages[IDMA_BATCH];
	phys_addr_t phys[IDMA_BATCH];
};

/*
 * Maps a window with the byte at @at and what it can of those up to @end.
 *
 * device-dax takes only mappings that are a multiple of the device's alignment,
 * and logs those that are not. Until the alignment is known the window is of
 * PUD_SIZE, which is a multiple of every alignment. Smaller sizes are for
 * callers whose limits (RLIMIT_AS, or RLIMIT_MEMLOCK after mlockall) allow no
 * such mapping.
 */
static int window_map(struct idma_window *window, u64 at, u64 end)
{
	static const unsigned long sizes[] = { PUD_SIZE, PMD_SIZE, PAGE_SIZE };
	u64 alignment = READ_ONCE(window->region->dax->alignment);
	unsigned long address;
	int error = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sizes) && sizes[i] >= alignment; i++) {
		window->size = sizes[i];
		window->start = round_down(at, alignment ?: (u64)sizes[i]);
		if (alignment)
			window->size = min_t(u64, sizes[i],
					     round_up(end, alignment) -
					     window->start);
		address = vm_mmap(window->file, 0, window->size, PROT_READ,
				  MAP_SHARED, window->start);
		if (!IS_ERR_VALUE(address)) {
			window->address = address;
			return 0;
		}
		/* smaller than the alignment: the limit is what matters */
		if (address == -EINVAL && error)
			break;
		/* EAGAIN is RLIMIT_MEMLOCK, which retrying does not change */
		error = address == -EAGAIN ? -ENOMEM : (long)address;
		if (error != -ENOMEM)
			break;
	}
	return error;
}

/* The mapping at @address, if it is still the window's up to @end. */
static struct vm_area_struct *window_vma(const struct idma_window *window,
					 unsigned long address,
					 unsigned long end)
{
	struct vm_area_struct *vma = find_vma(current->mm, address);
	u64 offset = window->start + (address - window->address);

	if (!vma || vma->vm_start > address || vma->vm_end < end ||
	    vma->vm_file != window->file ||
	    ((u64)vma->vm_pgoff << PAGE_SHIFT) + (address - vma->vm_start) !=
	    offset)
		return NULL;
	return vma;
}

/* Asks for the device's alignment, and keeps forks from inheriting the window. */
static int window_prepare(struct idma_window *window)
{
	unsigned long end = window->address + window->size;
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	int error = -EAGAIN;

	if (mmap_write_lock_killable(mm))
		return -EINTR;
	vma = window_vma(window, window->address, end);
	if (vma) {
		window->step = PAGE_SIZE;
		if (vma->vm_ops && vma->vm_ops->pagesize)
			window->step = vma->vm_ops->pagesize(vma);
		error = is_power_of_2(window->step) &&
			window->step <= window->size ? 0 : -EOPNOTSUPP;
		if (!error)
			WRITE_ONCE(window->region->dax->alignment,
				   window->step);
		/* one that was merged with a mapping of the caller's is left */
		if (vma->vm_start == window->address && vma->vm_end == end)
			idma_vm_flags_set(vma, VM_DONTCOPY);
	}
	mmap_write_unlock(mm);
	return error;
}

/*
 * Takes the lock of the device and that of the caller's mappings, but never
 * waits for the second one with the first one held: other threads can keep
 * their mappings busy for as long as they like, and who unbinds the device
 * waits for its lock.
 */
static int lock_device_and_mm(struct device *dev, struct mm_struct *mm)
{
	for (;;) {
		if (device_lock_interruptible(dev))
			return -ERESTARTSYS;
		if (mmap_read_trylock(mm))
			return 0;
		device_unlock(dev);
		if (mmap_read_lock_killable(mm))
			return -EINTR;
		mmap_read_unlock(mm);
	}
}

/*
 * Pins the first page of each of @count steps and notes its address, and the
 * node. The pins are momentary, which the device's lock makes safe: a pin does
 * not keep the memory there when the device is removed, and neither the page
 * nor its struct page may be looked at then.
 * Returns how many there are; -EFAULT for none, if the device ends here.
 */
static long pin_batch(struct idma_window *window, unsigned long address,
		      long count)
{
	/* in one go if the pages follow each other */
	long each = window->step == PAGE_SIZE ? count : 1;
	long got = 0, i, ret = 0;

	while (got < count) {
		ret = idma_pin_pages(address + got * window->step, each,
				     &window->pages[got]);
		if (ret > 0)
			got += ret;
		if (ret != each)
			break;
	}
	for (i = 0; i < got; i++)
		window->phys[i] = page_to_phys(window->pages[i]);
	if (got)
		window->region->numa_node = page_to_nid(window->pages[0]);
	unpin_user_pages(window->pages, got);
	if (got)
		return got;
	return ret ? ret : -EFAULT;
}

static long look_up_batch(struct idma_window *window, unsigned long address,
			  long count)
{
	unsigned long end = address + count * window->step;
	struct mm_struct *mm = current->mm;
	long got = lock_device_and_mm(window->dev, mm);

	if (got)
		return got;
	if (READ_ONCE(window->region->dax->gone) || !window->dev->driver)
		got = -ENXIO;
	else if (!window_vma(window, address, end))
		got = -EAGAIN; /* another thread put something else there */
	else
		got = pin_batch(window, address, count);
	mmap_read_unlock(mm);
	device_unlock(window->dev);
	return got;
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

/* Adds what the window has of [@from, @to). */
static int window_resolve(struct idma_window *window, u64 from, u64 to)
{
	struct idma_region *region = window->region;
	u64 at = round_down(from, (u64)window->step), first, last;
	long got, i;
	int error;

	while (at < to) {
		got = min_t(u64, DIV_ROUND_UP(to - at, window->step),
			    IDMA_BATCH);
		got = look_up_batch(window, window->address +
				    (at - window->start), got);
		if (got < 0)
			return got;
		for (i = 0; i < got; i++, at += window->step) {
			first = max(at, from);
			last = min(at + window->step, to);
			error = add_extent(region, first - region->offset,
					   window->phys[i] + (first - at),
					   last - first);
			if (error)
				return error;
		}
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return 0;
}

static int resolve(struct idma_window *window, u64 from, u64 to)
{
	u64 at, end;
	int error;

	for (at = from; at < to; at = end) {
		error = window_map(window, at, to);
		if (error)
			return error;
		end = min(window->start + window->size, to);
		error = window_prepare(window);
		if (!error)
			error = window_resolve(window, at, end);
		vm_munmap(window->address, window->size);
		if (error)
			return error;
	}
	return 0;
}

/*
 * Finds the extents and the node of @region in the device @dev, which @file is open on. The
 * caller holds no lock.
 */
int idma_devdax_resolve(struct idma_region *region, struct file *file,
			struct device *dev)
{
	struct idma_window *window;
	int error = -EINVAL;

	if (!current->mm)
		return error;
	window = kmalloc(sizeof(*window), GFP_KERNEL);
	if (!window)
		return -ENOMEM;
	window->region = region;
	window->file = file;
	window->dev = dev;
	error = resolve(window, region->offset,
			region->offset + region->length);
	/*
	 * A page that is not there is beyond the end of the device, or the
	 * device is just going. Then its first page is not there either.
	 */
	if (error == -EFAULT) {
		region->count = 0;
		error = resolve(window, 0, 1);
		if (error == -EFAULT)
			error = -ENXIO;
		else if (!error)
			error = -ERANGE;
	}
	kfree(window);
	return error;
}
