// SPDX-License-Identifier: GPL-2.0-only
/*
 * lab_trouble - a module that does what a broken one would, to show that `run` sees it.
 */
#include <linux/bug.h>
#include <linux/irqflags.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>

static char *kind = "none";
module_param(kind, charp, 0444);
MODULE_PARM_DESC(kind,
		 "panic, oops, warning or hang; for the debug kernel leak, stale, order, sleep or shift");

static DEFINE_MUTEX(one);
static DEFINE_MUTEX(other);
static DEFINE_SPINLOCK(spin);

/* What only a kernel with its checks on notices. */
static void quiet_trouble(void)
{
	char *memory = kmalloc(100, GFP_KERNEL);

	if (!memory)
		return;
	if (!strcmp(kind, "leak")) {
		OPTIMIZER_HIDE_VAR(memory);
		return;
	}
	kfree(memory);
	if (!strcmp(kind, "stale"))
		WRITE_ONCE(memory[50], 1);
	if (!strcmp(kind, "order")) {
		mutex_lock(&one);
		mutex_lock(&other);
		mutex_unlock(&other);
		mutex_unlock(&one);
		mutex_lock(&other);
		mutex_lock(&one);
		mutex_unlock(&one);
		mutex_unlock(&other);
	}
	if (!strcmp(kind, "sleep")) {
		spin_lock(&spin);
		mutex_lock(&one);
		mutex_unlock(&one);
		spin_unlock(&spin);
	}
	if (!strcmp(kind, "shift")) {
		int by = 40;

		OPTIMIZER_HIDE_VAR(by);
		pr_info("lab_trouble: %d\n", 1 << by);
	}
}

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
	quiet_trouble();
	return 0;
}

static void __exit lab_trouble_exit(void)
{
}

module_init(lab_trouble_init);
module_exit(lab_trouble_exit);

MODULE_DESCRIPTION("Trouble on demand, to prove that the lab notices");
MODULE_LICENSE("GPL");
