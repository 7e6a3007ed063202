// SPDX-License-Identifier: GPL-2.0-only
/*
 * A channel that has no room for an operation, which then waits with it: modules/lab_dma.c
 * is one. What must hold is that it is copied once there is room, unless it is not wanted
 * any more; then it never is, and its request ends without waiting for the hardware.
 */
#include "harness.h"

#define SIZE 4096

static int dma;
static struct device from, to;
static uint32_t src, dst, channel;

/* The channel has one operation, which is all that it has room for, and keeps it. */
static void begin(void)
{
	struct ioat_dma_segment segment = { 0, 0, SIZE };
	struct ioat_dma_submit first;

	dma = dma_open();
	lab_dma_load("room=1 hold=1");
	channel = lab_dma_channel(dma);
	from = device_map(DAX0);
	to = device_map(DAX1);
	pattern(from.bytes, SIZE, 6);
	memset(to.bytes, POISON, 4 * SIZE);
	src = region_of(dma, DAX0, 0, MIB);
	dst = region_of(dma, DAX1, 0, MIB);
	first = submission(src, dst, &segment, 1);
	first.channel = channel;
	DO(ioctl(dma, IOAT_DMA_SUBMIT, &first));
	EXPECT_EQ(channel_info(dma, channel).out_in_flight, 1);
}

/* What there is no room for: a segment, and another behind it. */
static void submit_second(uint32_t timeout_ms)
{
	struct ioat_dma_segment segments[] = { { 0, SIZE, SIZE }, { 0, 2 * SIZE, SIZE } };
	struct ioat_dma_submit second = submission(src, dst, segments, 2);

	second.tag = 2;
	second.channel = channel;
	second.flags = IOAT_DMA_SUBMIT_ORDERED;
	second.timeout_ms = timeout_ms;
	DO(ioctl(dma, IOAT_DMA_SUBMIT, &second));
	EXPECT_EQ(channel_info(dma, channel).out_in_flight, 1);
}

/* The first is copied, and nothing else ever. */
static void only_the_first_is_copied(void)
{
	struct ioat_dma_completion done;

	lab_dma_set("hold", 0);
	done = next_record(dma);
	EXPECT_EQ(done.tag, 1);
	EXPECT_EQ(done.status, IOAT_DMA_DONE);
	usleep(200000);
	EXPECT_EQ(channel_info(dma, channel).out_operations, 1);
	EXPECT(is_pattern(to.bytes, SIZE, 6));
	EXPECT(is_byte(to.bytes + SIZE, 3 * SIZE, POISON));
}

static void end(void)
{
	lab_dma_unload();
	EXPECT_EQ(channels_in(dma, IOAT_DMA_CHANNEL_READY), 2);
}

TEST(no_room_at_first)
{
	int i;

	begin();
	submit_second(0);
	lab_dma_set("hold", 0);
	for (i = 1; i <= 2; i++) {
		struct ioat_dma_completion done = next_record(dma);

		EXPECT_EQ(done.tag, i);
		EXPECT_EQ(done.status, IOAT_DMA_DONE);
		EXPECT_EQ(done.bytes_done, i * SIZE);
	}
	for (i = 0; i < 3; i++)
		EXPECT(is_pattern(to.bytes + i * SIZE, SIZE, 6));
	EXPECT(is_byte(to.bytes + 3 * SIZE, SIZE, POISON));
	end();
}

TEST(no_room_in_time)
{
	struct ioat_dma_completion done;

	begin();
	submit_second(100);
	done = next_record(dma);
	EXPECT_EQ(done.tag, 2);
	EXPECT_EQ(done.status, IOAT_DMA_TIMED_OUT);
	EXPECT_EQ(done.bytes_done, 0);
	if (done.flags & IOAT_DMA_COMPLETION_UNSETTLED)
		EXPECT_EQ(next_record(dma).flags, IOAT_DMA_COMPLETION_SETTLED);
	only_the_first_is_copied();
	end();
}

TEST(no_room_before_it_is_canceled)
{
	struct ioat_dma_cancel cancel = { .size = sizeof(cancel), .tag = 2 };
	struct ioat_dma_completion done;

	begin();
	submit_second(0);
	DO(ioctl(dma, IOAT_DMA_CANCEL, &cancel));
	EXPECT_EQ(cancel.out_canceled, 1);
	done = next_record(dma);
	EXPECT_EQ(done.tag, 2);
	EXPECT_EQ(done.status, IOAT_DMA_CANCELED);
	EXPECT_EQ(done.bytes_done, 0);
	only_the_first_is_copied();
	end();
}

/* The channel goes: neither was copied, and neither is waited for. */
TEST(no_room_until_the_channel_is_gone)
{
	int i;

	begin();
	submit_second(0);
	end();
	for (i = 0; i < 2; i++) {
		struct ioat_dma_completion done = next_record(dma);

		EXPECT_EQ(done.status, IOAT_DMA_GONE);
		EXPECT_EQ(done.error, IOAT_DMA_ERROR_CHANNEL);
		EXPECT_EQ(done.bytes_done, 0);
	}
	EXPECT(is_byte(to.bytes, 4 * SIZE, POISON));
}
