// SPDX-License-Identifier: Apache-2.0
/* What jobs run on goes away in the middle of a stream. */
#include <unistd.h>

#include "guest.h"

#define SIZE (16 * MIB)
/* More than is copied while an administrator's command starts */
#define STREAM (60u * LAB_SLOWNESS)

/* The PCI address of DMA device @number, for a shell */
#define SLOT "$(basename $(readlink -f /sys/class/dma/dma%uchan0/device))"

static void start_stream(struct lab *lab)
{
	pattern(lab->a.bytes, SIZE, 4);
	fault("delay=40msx*");
	for (uint32_t n = 0; n < STREAM; n++)
		CHECK_EQ(submit_one(lab, dma_job(n, &lab->a, &lab->b), 0, n % 12 * SIZE, SIZE), 0);
	await_work(lab);
}

/* Every job ends; some well. Return: how many ended with @status. */
static uint32_t end_stream(struct lab *lab, int status, uint32_t error)
{
	uint32_t failed = 0;

	for (uint32_t n = 0; n < STREAM; n++) {
		struct dma_shim_completion done = next_done(lab);

		if (!done.status) {
			CHECK_EQ(done.bytes_done, SIZE);
			continue;
		}
		CHECK(done.bytes_done < SIZE);
		/* The kernel may take longer to remove it than a request may. */
		if (LAB_SLOWNESS > 1 && done.status == -ETIMEDOUT)
			continue;
		CHECK_EQ(done.status, status);
		CHECK_EQ(done.dma_error, error);
		failed++;
	}
	fault("clear");
	return failed;
}

static void copies_work(struct lab *lab)
{
	memset(lab->b.bytes, 0, MIB);
	CHECK_EQ(submit_one(lab, dma_job(1, &lab->a, &lab->b), 0, 0, MIB), 0);
	CHECK_EQ(next_done(lab).status, 0);
	CHECK(!memcmp(lab->a.bytes, lab->b.bytes, MIB));
}

TEST(the_dma_driver_is_unbound)
{
	struct lab lab = lab_open();
	uint32_t channels = lab.info.channels;
	char slot[64];
	FILE *list;

	if (channels > 4)
		SKIP("for one DMA device");
	list = popen("basename $(readlink -f /sys/class/dma/dma0chan0/device)", "r");
	CHECK(list && fscanf(list, "%63s", slot) == 1);
	pclose(list);
	start_stream(&lab);
	CHECK_EQ(shell("echo %s >/sys/bus/pci/drivers/ioatdma/unbind", slot), 0);
	CHECK(end_stream(&lab, -ENODEV, DMA_SHIM_DMA_ERROR_CHANNEL) > 0);
	await_channels(&lab, 0);
	CHECK_EQ(submit_one(&lab, dma_job(1, &lab.a, &lab.b), 0, 0, MIB), 0);
	CHECK_EQ(next_done(&lab).status, -ENODEV);
	CHECK_EQ(shell("echo %s >/sys/bus/pci/drivers/ioatdma/bind", slot), 0);
	await_channels(&lab, channels);
	copies_work(&lab);
	lab_close(&lab);
}

/* What its channels had is copied by those of the other. */
TEST(one_of_two_dma_devices_is_unbound)
{
	struct lab lab = lab_open();

	if (lab.info.channels < 8)
		SKIP("needs two DMA devices");
	start_stream(&lab);
	CHECK_EQ(shell("echo " SLOT " >/sys/bus/pci/drivers/ioatdma/unbind", 0), 0);
	CHECK_EQ(end_stream(&lab, 0, 0), 0);
	for (uint32_t n = 0; n < 12; n++)
		CHECK(is_pattern(lab.b.bytes + n * SIZE, SIZE, 4));
	copies_work(&lab);
	lab_close(&lab);
}

/* What the channels of one driver had is copied by that of another. */
TEST(one_of_two_drivers_is_unbound)
{
	struct lab lab = lab_open();
	uint32_t channels = lab.info.channels;

	if (access("/modules/lab_dma.ko", F_OK))
		SKIP("needs lab_dma");
	/* slow enough that there is work left, and quicker than all of ioatdma's */
	CHECK_EQ(shell("insmod /modules/lab_dma.ko delay=10"), 0);
	await_channels(&lab, channels + 1);
	start_stream(&lab);
	CHECK_EQ(shell("echo " SLOT " >/sys/bus/pci/drivers/ioatdma/unbind", 0), 0);
	CHECK_EQ(end_stream(&lab, 0, 0), 0);
	for (uint32_t n = 0; n < 12; n++)
		CHECK(is_pattern(lab.b.bytes + n * SIZE, SIZE, 4));
	await_channels(&lab, 1);
	copies_work(&lab);
	lab_close(&lab);
}

TEST(the_memory_is_taken_away)
{
	struct lab lab = lab_open();

	start_stream(&lab);
	CHECK_EQ(shell("ndctl disable-namespace namespace1.0 >/dev/null 2>&1"), 0);
	CHECK(end_stream(&lab, -ENXIO, DMA_SHIM_DMA_ERROR_DEVICE) > 0);
	CHECK_EQ(submit_one(&lab, dma_job(1, &lab.a, &lab.b), 0, 0, MIB), 0);
	CHECK_EQ(next_done(&lab).status, -ENXIO);
	CHECK_EQ(submit_one(&lab, dma_job(1, &lab.a, &lab.a), 0, MIB, MIB), 0);
	CHECK_EQ(next_done(&lab).status, 0);

	/* It is the same memory, but its old name is of no use. */
	CHECK_EQ(shell("ndctl enable-namespace namespace1.0 >/dev/null 2>&1"), 0);
	CHECK_EQ(submit_one(&lab, dma_job(1, &lab.a, &lab.b), 0, 0, MIB), 0);
	CHECK_EQ(next_done(&lab).status, -ENXIO);
	CHECK_EQ(dma_shim_device_close(lab.shim, lab.b.handle), 0);
	lab.b = dax_open(lab.shim, 1);
	CHECK_EQ(dma_shim_dma_attach(lab.shim, lab.b.handle), 0);
	copies_work(&lab);
	lab_close(&lab);
}
