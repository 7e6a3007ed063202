// SPDX-License-Identifier: GPL-2.0-only
/*
 * debugfs: what the channels did, and who holds what. The same counters are in
 * IOAT_DMA_CHANNEL_INFO; here they can be read without a program.
 */
#include <linux/debugfs.h>
#include <linux/seq_file.h>

#include "idma.h"

static struct dentry *debug_dir;

static int channels_show(struct seq_file *file, void *unused)
{
	u32 id;

	seq_puts(file, "id name driver node state in_flight operations bytes read_errors write_errors aborted lost timeouts recoveries\n");
	for (id = 0; id < IDMA_MAX_CHANNELS; id++) {
		struct ioat_dma_channel_info info = {
			.size = sizeof(info), .channel = id,
		};

		if (idma_ioctl_channel_info(NULL, &info))
			continue;
		seq_printf(file, "%u %s %s %d %u %u %llu %llu %llu %llu %llu %llu %llu %llu\n",
			   id, info.out_name, info.out_driver,
			   info.out_numa_node, info.out_state,
			   info.out_in_flight, info.out_operations,
			   info.out_bytes, info.out_read_errors,
			   info.out_write_errors, info.out_aborted,
			   info.out_lost, info.out_timeouts,
			   info.out_recoveries);
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(channels);

static int users_show(struct seq_file *file, void *unused)
{
	idma_users_show(file);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(users);

/* Without debugfs the module works as well. */
void idma_debug_init(void)
{
	debug_dir = debugfs_create_dir("ioat-dma", NULL);
	debugfs_create_file("channels", 0400, debug_dir, NULL, &channels_fops);
	debugfs_create_file("users", 0400, debug_dir, NULL, &users_fops);
}

void idma_debug_exit(void)
{
	debugfs_remove_recursive(debug_dir);
}
