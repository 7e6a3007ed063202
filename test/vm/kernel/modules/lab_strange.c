// SPDX-License-Identifier: GPL-2.0-only
/*
 * lab_strange - /dev/lab_strange, whose files are those of a DAX device by all that can be
 * seen of them, but not of one that is on a bus: no kernel so far has such a kind.
 */
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>

static int strange_open(struct inode *inode, struct file *file)
{
	struct file *dax = filp_open("/dev/dax0.0", O_RDWR, 0);

	if (IS_ERR(dax))
		return PTR_ERR(dax);
	file->f_mapping = dax->f_mapping;
	file->private_data = dax;
	return 0;
}

static int strange_release(struct inode *inode, struct file *file)
{
	return filp_close(file->private_data, NULL);
}

static const struct file_operations strange_fops = {
	.owner = THIS_MODULE,
	.open = strange_open,
	.release = strange_release,
};

static struct miscdevice strange = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "lab_strange",
	.fops = &strange_fops,
};

module_misc_device(strange);

MODULE_DESCRIPTION("A kind of DAX device that there is not");
MODULE_AUTHOR("The dmad authors");
MODULE_LICENSE("GPL");
