// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the module is and what its channels did.
 */
#include <linux/kernel.h>
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
	info->out_completion_size = sizeof(struct ioat_dma_completion);
	info->out_refused_count = idma_providers_refused(info->out_refused);
	return 0;
}

static u64 counter(const struct idma_channel *ch, enum idma_counter what)
{
	return atomic64_read(&ch->counters[what]);
}

/*
 * Without the channel's lock, which is held for seconds while its device is
 * being removed: each figure is good, though not all of the same moment.
 */
int idma_ioctl_channel_info(struct idma_context *context, void *arg)
{
	struct ioat_dma_channel_info *info = arg;
	const struct idma_channel *ch;

	if (info->__reserved)
		return -EOPNOTSUPP;
	ch = idma_channel_find(info->channel);
	if (!ch)
		return -ENOENT;
	info->out_state = READ_ONCE(ch->state);
	info->out_numa_node = READ_ONCE(ch->node);
	info->out_in_flight = READ_ONCE(ch->in_flight);
	strscpy_pad((char *)info->out_name, ch->name, sizeof(info->out_name));
	strscpy_pad((char *)info->out_driver, ch->driver,
		    sizeof(info->out_driver));
	info->out_operations = counter(ch, IDMA_OPERATIONS);
	info->out_bytes = counter(ch, IDMA_BYTES);
	info->out_read_errors = counter(ch, IDMA_READ_ERRORS);
	info->out_write_errors = counter(ch, IDMA_WRITE_ERRORS);
	info->out_aborted = counter(ch, IDMA_ABORTED);
	info->out_lost = counter(ch, IDMA_LOST);
	info->out_timeouts = counter(ch, IDMA_TIMEOUTS);
	info->out_recoveries = counter(ch, IDMA_RECOVERIES);
	return 0;
}
