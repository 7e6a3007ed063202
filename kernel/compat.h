/* SPDX-License-Identifier: GPL-2.0-only */
/* Where the kernels from 5.10 on differ; Kbuild asks their headers. */
#ifndef IDMA_COMPAT_H
#define IDMA_COMPAT_H

#include <linux/memremap.h>
#include <linux/mm.h>

static inline struct dev_pagemap *idma_get_dev_pagemap(unsigned long pfn)
{
#ifdef IDMA_GET_DEV_PAGEMAP_TAKES_PFN_ONLY
	return get_dev_pagemap(pfn);
#else
	return get_dev_pagemap(pfn, NULL);
#endif
}

/* The caller holds the mmap lock, for reading. */
static inline long idma_pin_pages(unsigned long address, unsigned long count,
				  struct page **pages)
{
#ifdef IDMA_PIN_USER_PAGES_GIVES_VMAS
	return pin_user_pages(address, count, 0, pages, NULL);
#else
	return pin_user_pages(address, count, 0, pages);
#endif
}

/* The caller holds the mmap lock, for writing. */
static inline void idma_vm_flags_set(struct vm_area_struct *vma,
				     unsigned long flags)
{
#ifdef IDMA_HAVE_VM_FLAGS_SET
	vm_flags_set(vma, flags);
#else
	vma->vm_flags |= flags;
#endif
}

#endif /* IDMA_COMPAT_H */
