// SPDX-License-Identifier: GPL-2.0-only
/*
 * Providers that must be refused, and those whose ways must be survived: modules/lab_dma.c
 * plays them.
 */
#include <fcntl.h>
#include <sys/wait.h>

#include "harness.h"

static struct device from, to;
static int dma;
static uint32_t src, dst;

static void begin(void)
{
	set_fault("clear");
	from = device_map(DAX0);
	to = device_map(DAX1);
	dma = dma_open();
	src = region_of(dma, DAX0, 0, 64 * MIB);
	dst = region_of(dma, DAX1, 0, 64 * MIB);
	pattern(from.bytes, 4 * MIB, 8);
	memset(to.bytes, POISON, 4 * MIB);
}

static struct ioat_dma_submit on_channel(uint32_t channel, const struct ioat_dma_segment *segments,
					 uint32_t count)
{
	struct ioat_dma_submit submit = submission(src, dst, segments, count);

	submit.channel = channel;
	return submit;
}

static void submit_to(uint32_t channel, struct ioat_dma_segment segment)
{
	struct ioat_dma_submit submit = on_channel(channel, &segment, 1);

	DO(ioctl(dma, IOAT_DMA_SUBMIT, &submit));
}

/* The provider of @driver that is refused; with a reason of zero if there is none. */
static struct ioat_dma_refused refused(const char *driver)
{
	struct ioat_dma_info info = { .size = sizeof(info) };
	uint32_t i;

	DO(ioctl(dma, IOAT_DMA_INFO, &info));
	for (i = 0; i < info.out_refused_count && i < IOAT_DMA_MAX_REFUSED; i++)
		if (!strcmp((char *)info.out_refused[i].driver, driver))
			return info.out_refused[i];
	return (struct ioat_dma_refused){ 0 };
}

static int lines_in_log(const char *text)
{
	char command[256];
	FILE *lines;
	int count;

	snprintf(command, sizeof(command), "dmesg | grep -c '%s'", text);
	lines = popen(command, "r");
	if (!lines || fscanf(lines, "%d", &count) != 1)
		FAIL("no log");
	pclose(lines);
	return count;
}

static void is_refused(const char *parameters, uint32_t reason)
{
	int lines = lines_in_log("ioat_dma: not using lab_dma");

	printf("    %s\n", parameters);
	begin();
	lab_dma_load(parameters);
	usleep(300000);
	EXPECT_EQ(channels_in(dma, IOAT_DMA_CHANNEL_READY), 2);
	EXPECT_EQ(refused("lab_dma").reason, reason);
	EXPECT(!strcmp((char *)refused("lab_dma").device, "lab_dma"));
	/* once, however often channels are looked for */
	close(dma_open());
	EXPECT_EQ(lines_in_log("ioat_dma: not using lab_dma"), lines + 1);
	submit_to(IOAT_DMA_ANY_CHANNEL, (struct ioat_dma_segment){ 0, 0, 4 * MIB });
	EXPECT_EQ(next_completion(dma).status, IOAT_DMA_DONE);
	EXPECT(is_pattern(to.bytes, 4 * MIB, 8));
	lab_dma_unload();
	EXPECT_EQ(refused("lab_dma").reason, 0);
	close(dma);
}

TEST(providers_by_their_traits)
{
	is_refused("no_order=1", IOAT_DMA_REFUSED_ORDER);
	is_refused("align=3", IOAT_DMA_REFUSED_ALIGNMENT);
}

/* Whose driver nobody named. */
TEST(providers_by_their_driver)
{
	shell("rmmod ioat_dma && insmod /modules/ioat-dma.ko");
	is_refused("room=64", IOAT_DMA_REFUSED_DRIVER);
	shell("rmmod ioat_dma && insmod /modules/ioat-dma.ko drivers=lab_dma");
	begin();
	EXPECT_EQ(channels_in(dma, IOAT_DMA_CHANNEL_READY), 0);
	EXPECT_EQ(refused("ioatdma").reason, IOAT_DMA_REFUSED_DRIVER);
	close(dma);
	shell("rmmod ioat_dma && " INSMOD);
	begin();
	wait_for_channels(dma, IOAT_DMA_CHANNEL_READY, 2, 5000);
	EXPECT_EQ(refused("ioatdma").reason, 0);
}

static uint32_t refused_count(void)
{
	struct ioat_dma_info info = { .size = sizeof(info) };

	DO(ioctl(dma, IOAT_DMA_INFO, &info));
	return info.out_refused_count;
}

static void wait_for_refused(uint32_t count)
{
	uint64_t end = now_ms() + patience(5000);

	while (refused_count() != count && now_ms() < end)
		usleep(5000);
	EXPECT_EQ(refused_count(), count);
}

/* INFO has room for some: the rest are refused as well, and no line is said twice of any. */
TEST(providers_that_are_more_than_can_be_listed)
{
	const char *driver = "/sys/bus/platform/drivers/lab_crowd/%s";
	const char *line = "ioat_dma: not using lab_crowd";
	char path[128];
	int lines;

	begin();
	shell("insmod /modules/lab_crowd.ko");
	wait_for_refused(IOAT_DMA_MAX_REFUSED);
	EXPECT_EQ(refused("lab_crowd").reason, IOAT_DMA_REFUSED_ORDER);
	/* another look finds nothing new to say */
	usleep(300000);
	lines = lines_in_log(line);
	EXPECT_EQ(lines_in_log("not using more providers than are listed"), 1);
	snprintf(path, sizeof(path), driver, "unbind");
	sysfs_write(path, "lab_crowd.0");
	EXPECT_EQ(refused_count(), IOAT_DMA_MAX_REFUSED - 1);
	/* there is room for one again, which the next look fills */
	snprintf(path, sizeof(path), driver, "bind");
	sysfs_write(path, "lab_crowd.0");
	wait_for_refused(IOAT_DMA_MAX_REFUSED);
	usleep(300000);
	EXPECT_EQ(lines_in_log(line), lines + 1);
	EXPECT_EQ(lines_in_log("not using more providers than are listed"), 1);
	EXPECT_EQ(channels_in(dma, IOAT_DMA_CHANNEL_READY), 2);
	submit_to(IOAT_DMA_ANY_CHANNEL, (struct ioat_dma_segment){ 0, 0, MIB });
	EXPECT_EQ(next_completion(dma).status, IOAT_DMA_DONE);
	shell("rmmod lab_crowd");
	EXPECT_EQ(refused_count(), 0);
}

/* Its callback says that all is well, and only tx_status knows better. */
TEST(providers_that_err_in_silence)
{
	uint32_t channel, i;

	begin();
	lab_dma_load("silent_error=3");
	channel = lab_dma_channel(dma);
	for (i = 0; i < 3; i++)
		submit_to(channel, (struct ioat_dma_segment){ i * 4096, i * 4096, 4096 });
	for (i = 0; i < 2; i++)
		EXPECT_EQ(next_completion(dma).status, IOAT_DMA_DONE);
	EXPECT_EQ(next_completion(dma).status, IOAT_DMA_FAILED);
	EXPECT(is_byte(to.bytes + 2 * 4096, 4096, POISON));
	/* nothing that it says can be relied upon */
	wait_for_channels(dma, IOAT_DMA_CHANNEL_READY, 2, 5000);
	EXPECT_EQ(refused("lab_dma").reason, IOAT_DMA_REFUSED_ERRORS);
	usleep(300000);
	EXPECT_EQ(channels_in(dma, IOAT_DMA_CHANNEL_READY), 2);
	lab_dma_unload();
}

/* Nobody can know until it has happened, and then it is not used any more. */
TEST(providers_that_complete_out_of_order)
{
	uint32_t channel, i;

	begin();
	lab_dma_load("hold=1 no_order=2");
	channel = lab_dma_channel(dma);
	for (i = 0; i < 4; i++)
		submit_to(channel, (struct ioat_dma_segment){ i * 4096, i * 4096, 4096 });
	EXPECT_EQ(channel_info(dma, channel).out_in_flight, 4);
	lab_dma_set("hold", 0);
	for (i = 0; i < 4; i++) {
		struct ioat_dma_completion done = next_completion(dma);

		EXPECT(done.status == IOAT_DMA_DONE || done.error == IOAT_DMA_ERROR_LOST);
	}
	wait_for_channels(dma, IOAT_DMA_CHANNEL_READY, 2, 5000);
	EXPECT_EQ(refused("lab_dma").reason, IOAT_DMA_REFUSED_ORDER);
	lab_dma_unload();
}

/*
 * An operation that it does not report is lost once a later one is done, and its slot in the
 * channel cannot be used until the channel is restarted. The channel restarts before the last
 * slot is lost.
 */
TEST_TIMED(providers_that_report_only_some, 120)
{
	enum { COUNT = 140 }; /* half of them is more than a channel has slots */
	struct ioat_dma_segment segment = { 0, 0, 4096 };
	struct ioat_dma_completion done = { 0 };
	struct ioat_dma_submit submit;
	uint32_t i, lost = 0;

	begin();
	lab_dma_load("mute=2");
	submit = on_channel(lab_dma_channel(dma), &segment, 1);
	submit.timeout_ms = 30000;
	for (i = 0; i < COUNT; i++) {
		/* the last one, behind which there is none, is reported */
		if (i == COUNT - 1)
			lab_dma_set("mute", 0);
		submit.tag = i;
		DO(ioctl(dma, IOAT_DMA_SUBMIT, &submit));
		if (i % 2 == 0)
			continue;
		do {
			done = next_completion(dma);
			if (done.status == IOAT_DMA_DONE)
				continue;
			EXPECT_EQ(done.status, IOAT_DMA_FAILED);
			EXPECT_EQ(done.error, IOAT_DMA_ERROR_LOST);
			lost++;
		} while (done.tag < i - 1);
	}
	while (done.tag < COUNT - 1)
		done = next_completion(dma);
	EXPECT_EQ(done.status, IOAT_DMA_DONE);
	printf("    %u of %d were lost, with %d recoveries\n", lost, COUNT,
	       (int)channel_info(dma, submit.channel).out_recoveries);
	EXPECT(lost > 0);
	lab_dma_unload();
}

/* Takes the module's own small copies, and never that of a caller. */
TEST(providers_that_never_have_room)
{
	struct ioat_dma_completion done;
	uint32_t channel;

	begin();
	lab_dma_load("max_length=4096");
	channel = lab_dma_channel(dma);
	submit_to(channel, (struct ioat_dma_segment){ 0, 0, 65536 });
	done = next_completion(dma);
	EXPECT_EQ(done.status, IOAT_DMA_GONE);
	EXPECT_EQ(done.error, IOAT_DMA_ERROR_CHANNEL);
	EXPECT(done.completed_ns - done.submitted_ns < patience(5000) * 1000000ULL);
	EXPECT_EQ(channel_info(dma, channel).out_state, IOAT_DMA_CHANNEL_SET_ASIDE);
	submit_to(IOAT_DMA_ANY_CHANNEL, (struct ioat_dma_segment){ 0, 0, MIB });
	EXPECT_EQ(next_completion(dma).status, IOAT_DMA_DONE);
	lab_dma_unload();
	EXPECT_EQ(channel_info(dma, channel).out_state, IOAT_DMA_CHANNEL_GONE);
}

/*
 * A channel is stopped and cannot be had again, as somebody holds the lock of its device: it is
 * not used meanwhile, and comes back.
 */
TEST_TIMED(providers_that_are_locked_during_a_restart, 120)
{
	struct ioat_dma_completion done;
	uint32_t channel;

	begin();
	lab_dma_load("hold=1");
	channel = lab_dma_channel(dma);
	lab_dma_set("locked", 1);
	submit_to(channel, (struct ioat_dma_segment){ 0, 0, MIB });
	done = next_completion(dma);
	EXPECT_EQ(done.status, IOAT_DMA_FAILED);
	EXPECT_EQ(done.error, IOAT_DMA_ERROR_LOST);
	lab_dma_set("hold", 0);
	usleep(400000);
	EXPECT(channel_info(dma, channel).out_state != IOAT_DMA_CHANNEL_READY);
	submit_to(IOAT_DMA_ANY_CHANNEL, (struct ioat_dma_segment){ 0, 0, MIB });
	done = next_completion(dma);
	EXPECT_EQ(done.status, IOAT_DMA_DONE);
	EXPECT(!(done.channels >> channel & 1));
	lab_dma_set("locked", 0);
	wait_for_channels(dma, IOAT_DMA_CHANNEL_READY, 3, 20000);
	memset(to.bytes, POISON, MIB);
	submit_to(channel, (struct ioat_dma_segment){ 0, 0, MIB });
	EXPECT_EQ(next_completion(dma).status, IOAT_DMA_DONE);
	EXPECT(is_pattern(to.bytes, MIB, 8));
	lab_dma_unload();
}

/* What comes back from a channel that goes is done by one that is idle. */
TEST(providers_go_between_two_segments)
{
	struct ioat_dma_segment segments[8];
	const char *slot = pci_slot();
	struct ioat_dma_submit submit;
	struct ioat_dma_completion done;
	uint32_t channel;
	pid_t unbind;
	int status, i;

	begin();
	lab_dma_load("");
	channel = lab_dma_channel(dma);
	for (i = 0; i < 8; i++)
		segments[i] = (struct ioat_dma_segment){ i * MIB / 2, i * MIB / 2, MIB / 2 };
	/* slow, but not so slow that the driver resets the channel */
	set_fault("delay=80msx*");
	submit = on_channel(IOAT_DMA_ANY_CHANNEL, segments, 8);
	submit.flags = IOAT_DMA_SUBMIT_ORDERED;
	DO(ioctl(dma, IOAT_DMA_SUBMIT, &submit));
	EXPECT_EQ(channel_info(dma, channel).out_in_flight, 0);
	unbind = sysfs_write_beside("/sys/bus/pci/drivers/ioatdma/unbind", slot);
	done = next_completion(dma);
	EXPECT_EQ(done.status, IOAT_DMA_DONE);
	EXPECT(done.channels >> channel & 1);
	EXPECT(is_pattern(to.bytes, 4 * MIB, 8));
	DO(waitpid(unbind, &status, 0));
	set_fault("clear");
	sysfs_write("/sys/bus/pci/drivers/ioatdma/bind", slot);
	wait_for_channels(dma, IOAT_DMA_CHANNEL_READY, 3, 15000);
	lab_dma_unload();
}

/* What waits for channels in trouble is taken by one that comes. */
TEST_TIMED(providers_come_when_there_is_work, 120)
{
	struct ioat_dma_completion done;
	uint64_t start;
	uint32_t i;

	begin();
	set_fault("hangx*");
	for (i = 0; i < 2; i++)
		submit_to(i, (struct ioat_dma_segment){ 0, (8 + i) * MIB, 4096 });
	wait_for_channels(dma, IOAT_DMA_CHANNEL_RECOVERING, 2, 10000);
	submit_to(IOAT_DMA_ANY_CHANNEL, (struct ioat_dma_segment){ 0, 0, MIB });
	start = now_ms();
	lab_dma_load("");
	do
		done = next_completion(dma);
	while (done.status != IOAT_DMA_DONE);
	printf("    it took %d ms\n", (int)(now_ms() - start));
	EXPECT(done.channels >> lab_dma_channel(dma) & 1);
	EXPECT(now_ms() - start < (uint64_t)patience(4000));
	EXPECT(is_pattern(to.bytes, MIB, 8));
	lab_dma_unload();
	set_fault("clear");
	close(dma);
	begin();
	wait_for_channels(dma, IOAT_DMA_CHANNEL_READY, 2, 60000);
}

/* One of two kinds goes and comes in mid-stream: what is said to be done is there. */
TEST(providers_of_two_kinds_in_mid_stream)
{
	int round, i, gone = 0;

	begin();
	pattern(from.bytes, 64 * MIB, 9);
	for (round = 0; round < 4; round++) {
		memset(to.bytes, POISON, 64 * MIB);
		lab_dma_load("");
		lab_dma_channel(dma);
		for (i = 0; i < 64; i++)
			DO(submit_one(dma, i, src, dst,
				      (struct ioat_dma_segment){ i * MIB, i * MIB, MIB }));
		lab_dma_unload();
		for (i = 0; i < 64; i++) {
			struct ioat_dma_completion done = next_completion(dma);

			if (done.status == IOAT_DMA_DONE) {
				EXPECT(!memcmp(from.bytes + done.tag * MIB,
					       to.bytes + done.tag * MIB, MIB));
				continue;
			}
			EXPECT_EQ(done.status, IOAT_DMA_GONE);
			EXPECT_EQ(done.error, IOAT_DMA_ERROR_CHANNEL);
			gone++;
		}
	}
	printf("    %d of 256 were with the channel that went\n", gone);
}
