// SPDX-License-Identifier: Apache-2.0
/* The engine that copies with the kernel module's DMA channels. */
#include <errno.h>

#include "internal.h"

PUBLIC int dma_shim_dma_open(struct dma_shim *shim, const char *path,
			     struct dma_shim_dma_info *info)
{
	return shim && path && info ? -ENOENT : -EINVAL;
}

PUBLIC int dma_shim_dma_info(struct dma_shim *shim, struct dma_shim_dma_info *out)
{
	return shim && out ? -ENODEV : -EINVAL;
}

PUBLIC int dma_shim_dma_channel(struct dma_shim *shim, uint32_t channel,
				struct dma_shim_channel_info *out)
{
	(void)channel;
	return shim && out ? -ENODEV : -EINVAL;
}

PUBLIC int dma_shim_dma_attach(struct dma_shim *shim, uint32_t device)
{
	(void)device;
	return shim ? -ENODEV : -EINVAL;
}
