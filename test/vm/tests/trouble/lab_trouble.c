// SPDX-License-Identifier: GPL-2.0-only
/*
 * lab_trouble - a module that does what a broken one would, to show that `run` sees it.
 */
#include <linux/bug.h>
#include <linux/irqflags.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/string.h>

static char *kind = "none";
module_param(kind, charp, 0444);
MODULE_PARM_DESC(kind, "panic, oops, warning or hang");

static int __init lab_trouble_init(void)
{
	if (!strcmp(kind, "panic"))
		panic("lab_trouble");
	if (!strcmp(kind, "oops"))
		*(volatile int *)8 = 0;
	if (!strcmp(kind, "warning"))
		WARN(1, "lab_trouble\n");
	if (!strcmp(kind, "hang")) {
		local_irq_disable();
		for (;;)
			cpu_relax();
	}
	return 0;
}

static void __exit lab_trouble_exit(void)
{
}

module_init(lab_trouble_init);
module_exit(lab_trouble_exit);

MODULE_DESCRIPTION("Trouble on demand, to prove that the lab notices");
MODULE_LICENSE("GPL");
