// SPDX-License-Identifier: GPL-2.0-only
/*
 * No status that allows a retry or the reuse of a range is told while hardware may still
 * write there: each test poisons the destination as soon as it may, and looks at it again
 * once everything is quiet.
 */
#include <pthread.h>
#include <sys/wait.h>

#include "harness.h"

#define SIZE (16 * MIB)

static struct device to;
static int dma;
static uint32_t src, dst;

static void begin(void)
{
	set_fault("clear");
	to = device_map(DAX1);
	dma = dma_open();
	src = region_of(dma, DAX0, 0, 64 * MIB);
	dst = region_of(dma, DAX1, 0, 64 * MIB);
}

static void submit(uint64_t tag, uint32_t channel, struct ioat_dma_segment segment,
		   uint32_t timeout_ms)
{
	struct ioat_dma_submit submit = submission(src, dst, &segment, 1);

	submit.tag = tag;
	submit.channel = channel;
	submit.timeout_ms = timeout_ms;
	DO(ioctl(dma, IOAT_DMA_SUBMIT, &submit));
}

/* How the request @tag ended, once its memory is the caller's again. */
static struct ioat_dma_completion settled_record(uint64_t tag)
{
	struct ioat_dma_completion record;
	uint32_t status = UINT32_MAX;

	for (;;) {
		record = next_record(dma);
		if (record.tag != tag)
			continue;
		if (status != UINT32_MAX)
			EXPECT_EQ(record.status, status);
		if (!(record.flags & IOAT_DMA_COMPLETION_UNSETTLED))
			return record;
		/* each other status may be acted upon at once */
		EXPECT_EQ(record.status, IOAT_DMA_TIMED_OUT);
		EXPECT_EQ(record.error, IOAT_DMA_ERROR_NONE);
		status = record.status;
	}
}

static void stays_poisoned(uint64_t offset, uint64_t size, int ms)
{
	memset(to.bytes + offset, POISON, size);
	usleep(ms * 1000);
	EXPECT(is_byte(to.bytes + offset, size, POISON));
}

static void all_is_quiet(void)
{
	set_fault("clear");
	wait_for_channels(dma, IOAT_DMA_CHANNEL_READY, 2, 30000);
	close(dma);
}

/*
 * Another's fault throws out what channel 0 has of a request, while channel 1 is slow with
 * the rest, and the request's time is over meanwhile.
 */
TEST(settling_of_the_aborted)
{
	begin();
	set_fault("delay=50ms@1/0.0,error=0x200@2/0.0,delay=350ms@1/0.1");
	submit(1, 0, (struct ioat_dma_segment){ 0, 32 * MIB, 4096 }, 0);
	submit(2, 0, (struct ioat_dma_segment){ 0, 33 * MIB, 4096 }, 0);
	submit(3, IOAT_DMA_ANY_CHANNEL, (struct ioat_dma_segment){ 0, 0, SIZE }, 150);
	printf("    status %u\n", settled_record(3).status);
	stays_poisoned(0, SIZE, 2000);
	all_is_quiet();
}

/* The source's device goes while the hardware is slow. */
TEST(settling_of_what_is_gone)
{
	pid_t administrator;
	int status;

	begin();
	set_fault("delay=80msx*");
	submit(1, IOAT_DMA_ANY_CHANNEL, (struct ioat_dma_segment){ 0, 0, 64 * MIB }, 300);
	administrator = sysfs_write_beside("/sys/bus/dax/drivers/device_dax/unbind", "dax0.0");
	printf("    status %u\n", settled_record(1).status);
	stays_poisoned(0, 64 * MIB, 2000);
	set_fault("clear");
	DO(waitpid(administrator, &status, 0));
	EXPECT_EQ(status, 0);
	close(dma);
	sysfs_write("/sys/bus/dax/drivers/device_dax/bind", "dax0.0");
}

/* Its driver says "aborted" while the hardware has not stopped yet, as ioatdma's timer does. */
TEST(settling_of_what_was_aborted_too_early)
{
	uint32_t channel;
	int i;

	begin();
	lab_dma_load("hold=1");
	channel = lab_dma_channel(dma);
	for (i = 0; i < 4; i++)
		submit(i, channel, (struct ioat_dma_segment){ 0, i * MIB, MIB }, 0);
	EXPECT_EQ(channel_info(dma, channel).out_in_flight, 4);
	lab_dma_set("early_abort", 1000);
	lab_dma_set("hold", 0);
	for (i = 0; i < 4; i++)
		EXPECT_EQ(settled_record(i).status, IOAT_DMA_ABORTED);
	stays_poisoned(0, 4 * MIB, 2000);
	lab_dma_unload();
	all_is_quiet();
}

/* The same, with a timeout meanwhile: it is unsettled until the hardware is through. */
TEST(settling_of_a_timeout_after_an_early_abort)
{
	uint32_t channel;

	begin();
	lab_dma_load("hold=1");
	channel = lab_dma_channel(dma);
	submit(1, channel, (struct ioat_dma_segment){ 0, 0, MIB }, 400);
	lab_dma_set("early_abort", 1500);
	lab_dma_set("hold", 0);
	EXPECT_EQ(settled_record(1).status, IOAT_DMA_TIMED_OUT);
	stays_poisoned(0, MIB, 2500);
	lab_dma_unload();
	all_is_quiet();
}

static void *release_later(void *arg)
{
	usleep(*(int *)arg * 1000);
	lab_dma_set("hold", 0);
	return NULL;
}

/* Close returns once nothing is written any more, however long that takes. */
static void close_waits(const char *parameters, int ms)
{
	uint64_t start;
	pthread_t thread;

	begin();
	lab_dma_load(parameters);
	submit(1, lab_dma_channel(dma), (struct ioat_dma_segment){ 0, 0, MIB }, 0);
	EXPECT(!pthread_create(&thread, NULL, release_later, &ms));
	start = now_ms();
	close(dma);
	printf("    close took %d ms\n", (int)(now_ms() - start));
	memset(to.bytes, POISON, MIB);
	pthread_join(thread, NULL);
	usleep(1500000);
	EXPECT(is_byte(to.bytes, MIB, POISON));
	lab_dma_unload();
	begin();
	all_is_quiet();
}

TEST(settling_of_a_closed_file)
{
	close_waits("hold=1", 8000);
}

/* Its hardware cannot be stopped: all there is to do is to wait for it. */
TEST_TIMED(settling_of_a_closed_file_on_a_channel_that_cannot_stop, 90)
{
	close_waits("hold=1 stop=-1", 18000);
	close_waits("hold=1 stop=0", 18000);
}

/* Likewise a timeout: SETTLED comes when the operation has ended, and not by a clock. */
TEST_TIMED(settling_on_a_channel_that_cannot_stop, 90)
{
	int ms = 18000;
	uint32_t channel;
	pthread_t thread;

	begin();
	lab_dma_load("hold=1 stop=-1");
	channel = lab_dma_channel(dma);
	submit(1, channel, (struct ioat_dma_segment){ 0, 0, MIB }, 200);
	EXPECT(!pthread_create(&thread, NULL, release_later, &ms));
	EXPECT_EQ(settled_record(1).status, IOAT_DMA_TIMED_OUT);
	stays_poisoned(0, MIB, 1500);
	pthread_join(thread, NULL);
	/* and it is used again afterwards */
	wait_for_channels(dma, IOAT_DMA_CHANNEL_READY, 3, 40000);
	submit(2, channel, (struct ioat_dma_segment){ 0, 0, MIB }, 0);
	EXPECT_EQ(settled_record(2).status, IOAT_DMA_DONE);
	lab_dma_unload();
	all_is_quiet();
}

/* The old interface has no flag to say it with: ETIMEDOUT comes when it is settled. */
TEST(settling_of_the_old_interface)
{
	struct ioat_dma_legacy_start start = {
		.device_name = DAX1, .src_offset = 64 * MIB, .dst_offset = 0, .size = MIB,
	};
	struct ioat_dma_legacy_wait wait = { 0 };
	uint64_t id;
	int ms = 11000;
	pthread_t thread;

	begin();
	lab_dma_load("hold=1 stop=-1");
	do
		DO(ioctl(dma, IOAT_DMA_LEGACY_RESERVE, &id));
	while (id != lab_dma_channel(dma));
	start.device_id = wait.device_id = id;
	DO(ioctl(dma, IOAT_DMA_LEGACY_START, &start));
	EXPECT(!pthread_create(&thread, NULL, release_later, &ms));
	EXPECT_ERRNO(ETIMEDOUT, ioctl(dma, IOAT_DMA_LEGACY_WAIT, &wait));
	stays_poisoned(0, MIB, 3000);
	pthread_join(thread, NULL);
	lab_dma_unload();
	all_is_quiet();
}
