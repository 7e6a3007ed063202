/* SPDX-License-Identifier: GPL-2.0-only */
/* Where the kernels from 5.10 on differ; nothing else in here tests a version. */
#ifndef IDMA_COMPAT_H
#define IDMA_COMPAT_H

#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/version.h>

static inline struct dev_pagemap *idma_get_dev_pagemap(unsigned long pfn)
{
#ifdef IDMA_GET_DEV_PAGEMAP_TAKES_PFN_ONLY
	return get_dev_pagemap(pfn);
#else
	return get_dev_pagemap(pfn, NULL);
#endif
}

/* The caller holds the mmap lock, for reading. */
static inline long idma_pin_page(unsigned long address, unsigned int gup_flags,
				 struct page **page)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 5, 0)
	return pin_user_pages(address, 1, gup_flags, page);
#else
	return pin_user_pages(address, 1, gup_flags, page, NULL);
#endif
}

#endif /* IDMA_COMPAT_H */
