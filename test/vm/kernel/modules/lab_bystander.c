// SPDX-License-Identifier: GPL-2.0-only
/* lab_bystander - a platform device that has nothing to do with DMA. */
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/module.h>
#include <linux/platform_device.h>

static unsigned int shutdown_ms;
module_param(shutdown_ms, uint, 0644);
MODULE_PARM_DESC(shutdown_ms, "how long it takes to shut down with the machine");

static int bystander_probe(struct platform_device *pdev)
{
	return 0;
}

static void bystander_shutdown(struct platform_device *pdev)
{
	msleep(shutdown_ms);
}

static struct platform_driver bystander_driver = {
	.probe = bystander_probe,
	.shutdown = bystander_shutdown,
	.driver = { .name = "lab_bystander" },
};

static struct platform_device *bystander;

static int __init bystander_init(void)
{
	int error = platform_driver_register(&bystander_driver);

	if (error)
		return error;
	bystander = platform_device_register_simple("lab_bystander", PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(bystander)) {
		platform_driver_unregister(&bystander_driver);
		return PTR_ERR(bystander);
	}
	return 0;
}

static void __exit bystander_exit(void)
{
	platform_device_unregister(bystander);
	platform_driver_unregister(&bystander_driver);
}

module_init(bystander_init);
module_exit(bystander_exit);

MODULE_DESCRIPTION("A platform device that does nothing");
MODULE_AUTHOR("The dmad authors");
MODULE_LICENSE("GPL");
