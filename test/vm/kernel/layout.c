// SPDX-License-Identifier: GPL-2.0-only
/*
 * The structs have the same shape for every caller: this is compiled for 64 and for 32
 * bits. The kernel translates nothing for the latter.
 */
#include <stddef.h>

#include <linux/ioat_dma.h>

#define SHAPE(_struct, _size, _last, _offset)                                  \
	_Static_assert(sizeof(struct _struct) == (_size), #_struct);           \
	_Static_assert(offsetof(struct _struct, _last) == (_offset), #_last)

SHAPE(ioat_dma_refused, 72, __reserved, 68);
SHAPE(ioat_dma_info, 632, out_refused, 56);
SHAPE(ioat_dma_channel_info, 152, out_recoveries, 144);
SHAPE(ioat_dma_region_create, 40, out_numa_node, 36);
SHAPE(ioat_dma_region_destroy, 8, region, 4);
SHAPE(ioat_dma_segment, 24, length, 16);
SHAPE(ioat_dma_submit, 48, __reserved, 44);
SHAPE(ioat_dma_cancel, 16, tag, 8);
SHAPE(ioat_dma_completion, 64, channels, 56);
SHAPE(ioat_dma_legacy_copy, 88, size, 80);
SHAPE(ioat_dma_legacy_start, 64, size, 56);
SHAPE(ioat_dma_legacy_wait, 16, completed, 8);
