// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every fault of the I/OAT model. What must hold for each: a copy that was not made is
 * never reported as done, the report comes within its time, requests of others are not
 * held responsible, and the channel comes back.
 */
#include <poll.h>

#include "harness.h"

#define COPIES 16

struct tally {
	int done, failed, aborted, timed_out, lost, read, write;
};

static int dma;
static struct device from, to;
static uint32_t src, dst;
static struct ioat_dma_channel_info before; /* of channel 0 */

static void begin(void)
{
	set_fault("clear");
	from = device_map(DAX0);
	to = device_map(DAX1);
	dma = dma_open();
	src = region_of(dma, DAX0, 0, 64 * MIB);
	dst = region_of(dma, DAX1, 0, 64 * MIB);
	before = channel_info(dma, 0);
	pattern(from.bytes, COPIES * 65536, 3);
	memset(to.bytes, POISON, COPIES * 65536);
}

static struct ioat_dma_segment part(int i)
{
	return (struct ioat_dma_segment){ i * 65536, i * 65536, 65536 };
}

/* Part @i, on channel 0. */
static int submit_part(int i, uint32_t timeout_ms)
{
	struct ioat_dma_segment segment = part(i);
	struct ioat_dma_submit submit = submission(src, dst, &segment, 1);

	submit.tag = i;
	submit.channel = 0;
	submit.timeout_ms = timeout_ms;
	return ioctl(dma, IOAT_DMA_SUBMIT, &submit);
}

/*
 * COPIES copies, all on channel 0 and all queued together; what is said to be done has
 * to be there.
 */
static struct tally copy_all(uint32_t timeout_ms)
{
	struct tally tally = { 0 };
	int i;

	for (i = 0; i < COPIES; i++)
		DO(submit_part(i, timeout_ms));
	for (i = 0; i < COPIES; i++) {
		struct ioat_dma_completion done = next_completion(dma);
		uint64_t took = done.completed_ns - done.submitted_ns;

		EXPECT(took < ((timeout_ms ? timeout_ms : 10000) + patience(2000)) * 1000000ULL);
		EXPECT_EQ(done.channel, 0);
		tally.lost += done.error == IOAT_DMA_ERROR_LOST;
		tally.read += done.error == IOAT_DMA_ERROR_READ;
		tally.write += done.error == IOAT_DMA_ERROR_WRITE;
		switch (done.status) {
		case IOAT_DMA_DONE:
			EXPECT_EQ(done.bytes_done, 65536);
			EXPECT(!memcmp(from.bytes + done.tag * 65536, to.bytes + done.tag * 65536,
				       65536));
			tally.done++;
			break;
		case IOAT_DMA_FAILED: tally.failed++; break;
		case IOAT_DMA_ABORTED: tally.aborted++; break;
		case IOAT_DMA_TIMED_OUT:
			EXPECT(timeout_ms);
			tally.timed_out++;
			break;
		default: FAIL("status %u", done.status);
		}
		if (done.status != IOAT_DMA_DONE)
			EXPECT_EQ(done.bytes_done, 0);
	}
	printf("    %d done, %d failed (%d read, %d write, %d lost), %d aborted, %d timed out\n",
	       tally.done, tally.failed, tally.read, tally.write, tally.lost, tally.aborted,
	       tally.timed_out);
	return tally;
}

static struct tally copy_all_under(const char *fault, uint32_t timeout_ms)
{
	begin();
	set_fault(fault);
	return copy_all(timeout_ms);
}

/* Both channels are ready again and copy as if nothing had been. */
static void all_is_well_again(void)
{
	uint64_t end = now_ms() + 15000;

	set_fault("clear");
	while (channel_info(dma, 0).out_in_flight && now_ms() < end)
		usleep(5000);
	EXPECT_EQ(channel_info(dma, 0).out_in_flight, 0);
	wait_for_channels(dma, IOAT_DMA_CHANNEL_READY, 2, 15000);
	memset(to.bytes, POISON, COPIES * 65536);
	EXPECT_EQ(copy_all(0).done, COPIES);
}

TEST(fault_read_error)
{
	struct tally tally = copy_all_under("error=0x100@5/0.0", 0);
	struct ioat_dma_channel_info after = channel_info(dma, 0);

	EXPECT_EQ(tally.failed, 1);
	EXPECT_EQ(tally.read, 1);
	EXPECT(tally.done >= 4);
	EXPECT_EQ(after.out_read_errors, before.out_read_errors + 1);
	EXPECT_EQ(after.out_aborted, before.out_aborted + tally.aborted);
	all_is_well_again();
	EXPECT(channel_info(dma, 0).out_recoveries > before.out_recoveries);
}

TEST(fault_write_error)
{
	struct tally tally = copy_all_under("error=0x200@5/0.0", 0);

	EXPECT_EQ(tally.failed, 1);
	EXPECT_EQ(tally.write, 1);
	EXPECT_EQ(channel_info(dma, 0).out_write_errors, before.out_write_errors + 1);
	all_is_well_again();
}

/* What was done before it counts, and what comes after it is not begun. */
TEST(fault_is_told_with_its_segment)
{
	struct ioat_dma_segment segments[8];
	struct ioat_dma_submit submit;
	struct ioat_dma_completion done;
	int i;

	begin();
	for (i = 0; i < 8; i++)
		segments[i] = part(i);
	submit = submission(src, dst, segments, 8);
	submit.tag = 9;
	submit.channel = 0;
	submit.flags = IOAT_DMA_SUBMIT_ORDERED;
	set_fault("error=0x200@4/0.0");
	DO(ioctl(dma, IOAT_DMA_SUBMIT, &submit));
	done = next_completion(dma);
	EXPECT_EQ(done.tag, 9);
	EXPECT_EQ(done.status, IOAT_DMA_FAILED);
	EXPECT_EQ(done.error, IOAT_DMA_ERROR_WRITE);
	EXPECT_EQ(done.segment, 3);
	EXPECT_EQ(done.bytes_done, 3 * 65536);
	EXPECT(!memcmp(from.bytes, to.bytes, 3 * 65536));
	EXPECT(is_byte(to.bytes + 3 * 65536, 5 * 65536, POISON));
	all_is_well_again();
}

/* Errors that the driver answers with a reset: the failing callback never comes. */
static void fatal_error(const char *fault)
{
	struct tally tally = copy_all_under(fault, 0);

	EXPECT(tally.failed + tally.aborted >= 1);
	EXPECT_EQ(tally.failed, tally.lost);
	all_is_well_again();
}

TEST(fault_address_error)
{
	fatal_error("error=0x1@5/0.0");
}

TEST(fault_chain_error)
{
	fatal_error("error=0x10@5/0.0");
}

TEST(fault_hang)
{
	fatal_error("hang@5/0.0");
}

/* Nothing behind it to push it out. */
TEST(fault_hang_of_the_last)
{
	fatal_error("hang@16/0.0");
}

/* Slower than the driver allows: reset under a copy that would have been made. */
TEST(fault_delay_of_seconds)
{
	fatal_error("delay=6s@5/0.0");
}

/* What hangs is told of within its own time, even if the channel needs longer. */
TEST(fault_hang_with_a_short_timeout)
{
	struct tally tally = copy_all_under("hang@5/0.0", 150);

	EXPECT_EQ(tally.done + tally.timed_out, COPIES);
	EXPECT(tally.timed_out >= 1);
	EXPECT(channel_info(dma, 0).out_timeouts > before.out_timeouts);
	all_is_well_again();
}

/* It was done, and nobody told; found out by asking. */
TEST(fault_lost_interrupt)
{
	EXPECT_EQ(copy_all_under("lost-irq@16/0.0", 0).done, COPIES);
	all_is_well_again();
}

TEST(fault_lost_completion_write)
{
	EXPECT(copy_all_under("lost-completion@16/0.0", 0).done >= COPIES - 1);
	all_is_well_again();
}

TEST(fault_delay)
{
	EXPECT_EQ(copy_all_under("delay=30msx16/0.0", 0).done, COPIES);
	all_is_well_again();
}

/* Status fine, bytes wrong: no one can see it but who compares. Told for the record. */
TEST(fault_corruption_is_for_the_caller_to_find)
{
	begin();
	set_fault("corrupt=17/0.0");
	DO(submit_part(0, 0));
	EXPECT_EQ(next_completion(dma).status, IOAT_DMA_DONE);
	EXPECT(to.bytes[17] != from.bytes[17]);
	all_is_well_again();
}

/* Another file's requests on the same channel: aborted at worst, never "failed". */
TEST(fault_of_another)
{
	int other, i, failed = 0, aborted = 0;
	uint32_t a, b;

	begin();
	other = dma_open();
	a = region_of(other, DAX0, 0, 64 * MIB);
	b = region_of(other, DAX1, 64 * MIB, 64 * MIB);
	set_fault("error=0x200@1/0.0,delay=5ms@1x*/0.0");
	DO(submit_part(0, 0));
	for (i = 1; i < COPIES; i++) {
		struct ioat_dma_segment segment = part(i);
		struct ioat_dma_submit submit = submission(a, b, &segment, 1);

		submit.channel = 0;
		DO(ioctl(other, IOAT_DMA_SUBMIT, &submit));
	}
	EXPECT_EQ(next_completion(dma).status, IOAT_DMA_FAILED);
	for (i = 1; i < COPIES; i++) {
		struct ioat_dma_completion done = next_completion(other);

		failed += done.status == IOAT_DMA_FAILED;
		aborted += done.status == IOAT_DMA_ABORTED;
	}
	EXPECT_EQ(failed, 0);
	printf("    %d aborted\n", aborted);
	all_is_well_again();
}

/* A channel that never gets better is set aside, and the other one does its work. */
TEST_TIMED(fault_that_lasts, 150)
{
	struct ioat_dma_completion done;
	int i;

	begin();
	set_fault("error=0x200x*/0.0");
	DO(submit_part(0, 0));
	EXPECT_EQ(next_completion(dma).status, IOAT_DMA_FAILED);
	wait_for_channels(dma, IOAT_DMA_CHANNEL_SET_ASIDE, 1, 40000);
	EXPECT_EQ(channel_info(dma, 0).out_state, IOAT_DMA_CHANNEL_SET_ASIDE);
	EXPECT_ERRNO(ENODEV, submit_part(0, 0));
	for (i = 0; i < 20; i++) {
		DO(submit_one(dma, i, src, dst, part(0)));
		done = next_completion(dma);
		EXPECT_EQ(done.status, IOAT_DMA_DONE);
		EXPECT_EQ(done.channel, 1);
	}
	set_fault("clear");
	wait_for_channels(dma, IOAT_DMA_CHANNEL_READY, 2, 40000);
	all_is_well_again();
}

/* The original reported four kinds of fault as completed. */
static void legacy_reports(const char *fault, int error)
{
	struct ioat_dma_legacy_start start = {
		.device_name = DAX0, .src_offset = 0, .dst_offset = 8 * MIB, .size = 65536,
	};
	struct ioat_dma_legacy_wait wait = { .completed = 99 };
	struct ioat_dma_legacy_copy copy = {
		.device_name = DAX0, .src_offset = 0, .dst_offset = 8 * MIB, .size = 65536,
	};
	char eight[64];
	uint64_t id;

	begin();
	DO(ioctl(dma, IOAT_DMA_LEGACY_RESERVE, &id));
	start.device_id = wait.device_id = id;
	set_fault(fault);
	DO(ioctl(dma, IOAT_DMA_LEGACY_START, &start));
	EXPECT_ERRNO(error, ioctl(dma, IOAT_DMA_LEGACY_WAIT, &wait));
	EXPECT_EQ(wait.completed, 0);
	set_fault("clear");
	wait_for_channels(dma, IOAT_DMA_CHANNEL_READY, 2, 15000);
	snprintf(eight, sizeof(eight), "%sx8", fault);
	set_fault(eight);
	EXPECT_ERRNO(error, ioctl(dma, IOAT_DMA_LEGACY_COPY, &copy));
	all_is_well_again();
}

TEST(fault_legacy_read_error)
{
	legacy_reports("error=0x100", EIO);
}

TEST(fault_legacy_write_error)
{
	legacy_reports("error=0x200", EIO);
}

TEST_TIMED(fault_legacy_address_error, 90)
{
	legacy_reports("error=0x1", EIO);
}

TEST_TIMED(fault_legacy_hang, 90)
{
	legacy_reports("hang", EIO);
}

/* Closed while the hardware hangs: no oops, and the channel comes back. */
TEST(fault_hang_and_close)
{
	uint64_t start;

	begin();
	set_fault("hang/0.0");
	DO(submit_part(0, 100));
	usleep(50000);
	start = now_ms();
	close(dma);
	printf("    close took %d ms\n", (int)(now_ms() - start));
	EXPECT(now_ms() - start < (uint64_t)patience(7000));
	begin();
	all_is_well_again();
}
