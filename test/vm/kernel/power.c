// SPDX-License-Identifier: GPL-2.0-only
/* The machine is suspended, or restarted, in the middle of requests. */
#include "harness.h"

#define REQUESTS 1000
#define SIZE 4096
#define FROZEN_MS 5000 /* for so long the kernel stays frozen to test that */
#define IN_FLIGHT 128  /* at most, on two channels */

static struct device from, to;
static int dma;

/* Ten seconds of work for two channels. */
static void submit_slow_requests(void)
{
	uint32_t src, dst, i;

	from = device_map(DAX0);
	to = device_map(DAX1);
	pattern(from.bytes, REQUESTS * SIZE, 12);
	memset(to.bytes, POISON, REQUESTS * SIZE);
	dma = dma_open();
	src = region_of(dma, DAX0, 0, REQUESTS * SIZE);
	dst = region_of(dma, DAX1, 0, REQUESTS * SIZE);
	set_fault("delay=20msx*");
	for (i = 0; i < REQUESTS; i++) {
		struct ioat_dma_segment segment = { i * SIZE, i * SIZE, SIZE };
		struct ioat_dma_submit submit = submission(src, dst, &segment, 1);

		submit.tag = i;
		submit.timeout_ms = 3600000;
		DO(ioctl(dma, IOAT_DMA_SUBMIT, &submit));
	}
}

/*
 * Memory is saved, or powered down, while the system is frozen: the hardware ends what it has,
 * and is given nothing more until the system goes on.
 */
TEST_TIMED(power_freeze_holds_requests, 150)
{
	uint64_t last, longest = 0, thawed_ms;
	uint32_t i, copied = 1, while_frozen = 0;

	if (access("/sys/power/pm_test", F_OK))
		test_skip("this kernel cannot test suspending");
	submit_slow_requests();
	last = next_completion(dma).completed_ns;
	/* it waits in a loop, which takes far longer on a busy machine: that is no lockup */
	sysfs_write("/proc/sys/kernel/watchdog_thresh", "60");
	sysfs_write("/sys/power/pm_test", "freezer");
	sysfs_write("/sys/power/state", "mem");
	thawed_ms = now_ms();
	sysfs_write("/sys/power/pm_test", "none");
	sysfs_write("/proc/sys/kernel/watchdog_thresh", "10");
	set_fault("clear");
	for (i = 1; i < REQUESTS; i++) {
		struct ioat_dma_completion done = next_completion(dma);
		uint64_t at = done.completed_ns;

		/* the driver resets a device that is late, as the model is on a busy machine */
		if (done.status == IOAT_DMA_DONE) {
			EXPECT(!memcmp(from.bytes + done.tag * SIZE, to.bytes + done.tag * SIZE, SIZE));
			copied++;
		}
		if (at > last && at - last > longest)
			longest = at - last;
		if (at > last)
			last = at;
		/* certainly frozen: it may take a while until the write returns */
		if (at / 1000000 + FROZEN_MS * 9 / 10 > thawed_ms &&
		    at / 1000000 + FROZEN_MS * 3 / 10 < thawed_ms)
			while_frozen++;
	}
	printf("    the longest pause was %d ms; %u ended while frozen; %u of %u were copied\n",
	       (int)(longest / 1000000), while_frozen, copied, REQUESTS);
	EXPECT(copied > REQUESTS / 2);
	/*
	 * What is in flight is done within 1.3 s, so that nothing ends for longer than a second. On
	 * a busy machine it may take all the time, but no more than that ends: else it would be 300.
	 */
	EXPECT(longest / 1000000 > FROZEN_MS / 5 || while_frozen <= IN_FLIGHT);
	wait_for_channels(dma, IOAT_DMA_CHANNEL_READY, 2, 10000);
}

/*
 * The whole guest restarts, so this is for test/vm/tests/power.sh, which sees what the kernel
 * prints until then. lab_bystander takes its time to shut down, and does so after the I/OAT device,
 * because it was probed before it.
 */
TEST(power_restart_under_requests)
{
	const char *slot = pci_slot();

	if (!getenv("LAB_RESTART"))
		test_skip("nobody said that the guest may restart");
	shell("insmod /modules/lab_bystander.ko shutdown_ms=5000");
	sysfs_write("/sys/bus/pci/drivers/ioatdma/unbind", slot);
	sysfs_write("/sys/bus/pci/drivers/ioatdma/bind", slot);
	wait_for_channels(dma_open(), IOAT_DMA_CHANNEL_READY, 2, 10000);
	submit_slow_requests();
	next_completion(dma);
	shell("reboot -f");
	FAIL("the guest goes on");
}
