// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module, its device node, and the way from an ioctl to who handles it.
 */
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/nospec.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "idma.h"

/*
 * ioatdma resets a channel whose chain makes no progress for 100 to 200 ms, so
 * a piece must be copied in far less; 4 MiB are, by the slowest memory.
 */
static int piece_size_set(const char *value, const struct kernel_param *param)
{
	unsigned int size;
	int error = kstrtouint(value, 0, &size);

	if (error)
		return error;
	if (size < SZ_64K || size > SZ_4M)
		return -ERANGE;
	*(unsigned int *)param->arg = size;
	return 0;
}

static const struct kernel_param_ops piece_size_ops = {
	.set = piece_size_set,
	.get = param_get_uint,
};

module_param_cb(piece_size, &piece_size_ops, &idma_piece_size, 0444);
MODULE_PARM_DESC(piece_size,
		 "bytes of the largest copy that a channel is given at once, 65536 to 4194304 (1048576)");

/**
 * union idma_arguments - what every command's argument fits into
 * @info: IOAT_DMA_INFO
 * @channel_info: IOAT_DMA_CHANNEL_INFO
 * @region_create: IOAT_DMA_REGION_CREATE
 * @region_destroy: IOAT_DMA_REGION_DESTROY
 * @submit: IOAT_DMA_SUBMIT
 * @cancel: IOAT_DMA_CANCEL
 */
union idma_arguments {
	struct ioat_dma_info info;
	struct ioat_dma_channel_info channel_info;
	struct ioat_dma_region_create region_create;
	struct ioat_dma_region_destroy region_destroy;
	struct ioat_dma_submit submit;
	struct ioat_dma_cancel cancel;
};

/**
 * struct idma_command - an ioctl
 * @size: of its struct as this module knows it
 * @min_size: up to the last field of its first version
 * @answers: its struct has outputs
 * @execute: the struct is in kernel memory, @size bytes of it good
 * @finish: called after @execute, which succeeded; @reported if the caller was
 *          given the outputs
 */
struct idma_command {
	unsigned int size;
	unsigned int min_size;
	bool answers;
	int (*execute)(struct idma_context *context, void *arg);
	void (*finish)(struct idma_context *context, void *arg, bool reported);
};

#define IDMA_COMMAND(_command, _execute, _struct, _last, _answers, _finish) \
	[IOAT_DMA_CMD_##_command - IOAT_DMA_CMD_BASE] = {		\
		.size = sizeof(_struct),				\
		.min_size = offsetofend(_struct, _last),		\
		.answers = _answers,					\
		.execute = _execute,					\
		.finish = _finish,					\
	}

static const struct idma_command commands[] = {
	IDMA_COMMAND(INFO, idma_ioctl_info, struct ioat_dma_info,
		     out_refused, true, NULL),
	IDMA_COMMAND(CHANNEL_INFO, idma_ioctl_channel_info,
		     struct ioat_dma_channel_info, out_recoveries, true, NULL),
	IDMA_COMMAND(REGION_CREATE, idma_ioctl_region_create,
		     struct ioat_dma_region_create, out_numa_node, true,
		     idma_finish_region_create),
	IDMA_COMMAND(REGION_DESTROY, idma_ioctl_region_destroy,
		     struct ioat_dma_region_destroy, region, false,
		     NULL),
	IDMA_COMMAND(SUBMIT, idma_ioctl_submit, struct ioat_dma_submit,
		     __reserved, false, NULL),
	IDMA_COMMAND(CANCEL, idma_ioctl_cancel, struct ioat_dma_cancel, tag, true,
		     NULL),
};

static long idma_execute(struct idma_context *context, unsigned int nr,
			 void __user *user)
{
	const struct idma_command *command = &commands[nr];
	union idma_arguments arg = {};
	u32 size;
	long error;

	if (get_user(size, (u32 __user *)user))
		return -EFAULT;
	if (size < command->min_size)
		return -EINVAL;
	/* whatever the page size is, and whatever memory is behind the struct */
	if (size > SZ_4K)
		return -E2BIG;
	error = copy_struct_from_user(&arg, command->size, user, size);
	if (error)
		return error;
	error = command->execute(context, &arg);
	if (error || !command->answers)
		return error;
	if (copy_to_user(user, &arg, min(size, command->size)))
		error = -EFAULT;
	if (command->finish)
		command->finish(context, &arg, !error);
	return error;
}

static long idma_ioctl(struct file *file, unsigned int command,
		       unsigned long arg)
{
	unsigned int nr = _IOC_NR(command) - IOAT_DMA_CMD_BASE;
	void __user *user = (void __user *)arg;

	if (_IOC_TYPE(command) != IOAT_DMA_IOC_MAGIC)
		return -ENOTTY;
	if (nr < ARRAY_SIZE(commands) &&
	    command == _IO(IOAT_DMA_IOC_MAGIC, _IOC_NR(command)))
		return idma_execute(file->private_data,
				    array_index_nospec(nr, ARRAY_SIZE(commands)),
				    user);
	return idma_legacy_ioctl(file->private_data, command, user);
}

static void idma_context_free(struct kref *ref)
{
	struct idma_context *context =
		container_of(ref, struct idma_context, ref);

	spin_lock(&idma_queue_lock);
	list_del(&context->node);
	spin_unlock(&idma_queue_lock);
	xa_destroy(&context->regions);
	idma_user_put(context->user);
	kfree(context);
}

void idma_context_put(struct idma_context *context)
{
	kref_put(&context->ref, idma_context_free);
}

static int idma_open(struct inode *inode, struct file *file)
{
	struct idma_context *context =
		kzalloc(sizeof(*context), GFP_KERNEL_ACCOUNT);
	int error;

	if (!context)
		return -ENOMEM;
	context->user = idma_user_get();
	if (IS_ERR(context->user)) {
		error = PTR_ERR(context->user);
		kfree(context);
		return error;
	}
	kref_init(&context->ref);
	xa_init_flags(&context->regions, XA_FLAGS_ALLOC | XA_FLAGS_ACCOUNT);
	mutex_init(&context->legacy_lock);
	mutex_init(&context->read_lock);
	INIT_LIST_HEAD(&context->legacy_started);
	init_waitqueue_head(&context->wait);
	idma_queue_add_context(context);
	file->private_data = context;
	/* a channel that somebody else had may be free by now */
	if (!idma_channels_alive())
		idma_bus_scan();
	return stream_open(inode, file);
}

/*
 * Nothing more is issued. What the hardware has it may still write, so this
 * waits until it is done: milliseconds, or if the hardware hangs some 15 s until
 * the channel was stopped (recovery.c). A process being killed comes by here
 * too.
 */
static int idma_release(struct inode *inode, struct file *file)
{
	struct idma_context *context = file->private_data;

	idma_requests_close(context);
	idma_legacy_release(context);
	wait_event(context->wait, idma_requests_settled(context));
	idma_regions_drop(context);
	idma_context_put(context);
	return 0;
}

static const struct file_operations idma_fops = {
	.owner = THIS_MODULE, /* no unloading while a file is open */
	.open = idma_open,
	.release = idma_release,
	.read = idma_read,
	.poll = idma_poll,
	.unlocked_ioctl = idma_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice idma_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "ioat-dma",
	.mode = 0600,
	.fops = &idma_fops,
};

static int __init idma_init(void)
{
	int error;

	idma_wq = alloc_workqueue("ioat_dma",
				  WQ_UNBOUND | WQ_HIGHPRI | WQ_FREEZABLE, 0);
	if (!idma_wq)
		return -ENOMEM;
	error = idma_bus_init(&idma_queue_pieces);
	if (error)
		goto destroy_wq;
	error = misc_register(&idma_misc);
	if (error)
		goto exit_bus;
	idma_debug_init();
	return 0;

exit_bus:
	idma_bus_exit();
	idma_deadlines_exit();
	idma_dax_exit();
destroy_wq:
	destroy_workqueue(idma_wq);
	return error;
}

/*
 * No file is open, so there is no request, and no region.
 */
static void __exit idma_exit(void)
{
	idma_debug_exit();
	misc_deregister(&idma_misc);
	idma_bus_exit();
	idma_deadlines_exit();
	idma_dax_exit();
	destroy_workqueue(idma_wq);
}

module_init(idma_init);
module_exit(idma_exit);

MODULE_DESCRIPTION("Copies between device-dax devices with DMA channels");
MODULE_AUTHOR("The dmad authors");
MODULE_VERSION(IDMA_VERSION);
MODULE_LICENSE("GPL");
MODULE_SOFTDEP("pre: ioatdma");
