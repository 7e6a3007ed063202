// SPDX-License-Identifier: GPL-2.0-only
/*
 * lab_stuck - /dev/lab_stuck: who maps it waits, with the lock of its mappings held, until it
 * is killed. A FUSE server that does not answer has the same effect.
 */
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/sched/signal.h>

static int stuck;
module_param(stuck, int, 0444);
MODULE_PARM_DESC(stuck, "1 while somebody waits");

static int stuck_mmap(struct file *file, struct vm_area_struct *vma)
{
	WRITE_ONCE(stuck, 1);
	while (!fatal_signal_pending(current))
		msleep_interruptible(10);
	WRITE_ONCE(stuck, 0);
	return -EINTR;
}

static const struct file_operations stuck_fops = {
	.owner = THIS_MODULE,
	.mmap = stuck_mmap,
};

static struct miscdevice stuck_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "lab_stuck",
	.fops = &stuck_fops,
};

module_misc_device(stuck_misc);

MODULE_DESCRIPTION("A mapping that is never made");
MODULE_AUTHOR("The dmad authors");
MODULE_LICENSE("GPL");
