// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the module is and what its channels did.
 */
#include <linux/kernel.h>
#include <linux/nospec.h>
#include <linux/string.h>

#include "idma.h"

int idma_ioctl_info(struct idma_context *context, void *arg)
{
	struct ioat_dma_info *info = arg;

	if (info->flags)
		return -EOPNOTSUPP;
	info->out_abi = IOAT_DMA_ABI;
	info->out_version = IDMA_VERSION_CODE;
	info->out_channels = idma_channels_in(IOAT_DMA_CHANNEL_READY);
	info->out_channel_limit = IDMA_MAX_CHANNELS;
	info->out_max_regions = IDMA_MAX_REGIONS;
	info->out_max_requests = IDMA_MAX_REQUESTS;
	info->out_max_segments = IDMA_MAX_SEGMENTS;
	info->out_max_queued = IDMA_MAX_QUEUED_SEGMENTS;
	info->out_max_timeout_ms = IDMA_MAX_TIMEOUT_MS;
	info->out_piece_size = idma_piece_size;
	return 0;
}

/*
 * Without the channel's lock, which is held for seconds while its device is
 * being removed: each figure is good, though not all of the same moment.
 */
int idma_ioctl_channel_info(struct idma_context *context, void *arg)
{
	struct ioat_dma_channel_info *info = arg;
	u32 size = info->size, id = info->channel;
	struct idma_channel *ch;

	if (info->__reserved)
		return -EOPNOTSUPP;
	if (id >= IDMA_MAX_CHANNELS)
		return -ENOENT;
	ch = &idma_channels[array_index_nospec(id, IDMA_MAX_CHANNELS)];
	if (!READ_ONCE(ch->name[0]))
		return -ENOENT;
	*info = data_race(ch->info);
	info->out_state = ch->state;
	info->out_numa_node = ch->node;
	info->out_in_flight = ch->in_flight;
	info->out_timeouts = atomic64_read(&ch->timeouts);
	strscpy((char *)info->out_name, ch->name, sizeof(info->out_name));
	strscpy((char *)info->out_driver, ch->driver, sizeof(info->out_driver));
	info->size = size;
	info->channel = id;
	return 0;
}
