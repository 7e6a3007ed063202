// SPDX-License-Identifier: Apache-2.0
/*
 * Every fault of the I/OAT model. A copy that was not made is never reported
 * as done, nobody is held responsible for another's fault, and the channel
 * comes back.
 */
#include "guest.h"

#include <unistd.h>

#define JOBS 32u
#define SIZE (64 * KIB)

struct tally {
	uint32_t done;
	uint32_t failed[9];     /* by enum dma_shim_dma_error */
};

/* Copies of one segment each, all in flight together, held against their bytes */
static struct tally copy_all(struct lab *lab)
{
	struct tally tally = { 0 };

	pattern(lab->a.bytes, JOBS * SIZE, 7);
	memset(lab->b.bytes, 0x5c, JOBS * SIZE);
	for (uint32_t n = 0; n < JOBS; n++)
		CHECK_EQ(submit_one(lab, dma_job(n, &lab->a, &lab->b), n * SIZE, n * SIZE, SIZE), 0);
	for (uint32_t n = 0; n < JOBS; n++) {
		struct dma_shim_completion done = next_done(lab);

		CHECK(done.dma_error < 9);
		if (done.status) {
			CHECK(done.dma_error != DMA_SHIM_DMA_ERROR_NONE);
			CHECK_EQ(done.bytes_done, 0);
			tally.failed[done.dma_error]++;
			continue;
		}
		CHECK_EQ(done.bytes_done, SIZE);
		CHECK(!memcmp(lab->b.bytes + done.tag * SIZE, lab->a.bytes + done.tag * SIZE,
			      SIZE));
		tally.done++;
	}
	return tally;
}

static struct tally copy_all_under(struct lab *lab, const char *spec)
{
	*lab = lab_open();
	fault(spec);
	return copy_all(lab);
}

static void all_is_well_again(struct lab *lab)
{
	fault("clear");
	await_channels(lab, 4);
	CHECK_EQ(copy_all(lab).done, JOBS);
	lab_close(lab);
}

/*
 * If a guest stands still for longer than ioatdma's watchdog waits, that finds the halted
 * channel before the interrupt's handler does, and aborts what is on it without having read
 * the error: then it is lost, and a test that expects the error does it once more.
 */
#define WATCHDOG_TRIES 5u

/* Jobs that are not copied fail in this very way, and are so many. */
static void fails(const char *spec, enum dma_shim_dma_error error, uint32_t least, uint32_t most)
{
	struct lab lab;
	struct tally tally;

	for (unsigned int tries = 0; tries < WATCHDOG_TRIES; tries++) {
		tally = copy_all_under(&lab, spec);
		all_is_well_again(&lab);
		if (error == DMA_SHIM_DMA_ERROR_LOST || !tally.failed[DMA_SHIM_DMA_ERROR_LOST])
			break;
	}
	CHECK(tally.failed[error] >= least);
	CHECK(tally.failed[error] <= most);
	CHECK_EQ(tally.done + tally.failed[error], JOBS);
}

/* A copy into 0x5c that fails with an error of the hardware. */
static struct dma_shim_completion failure_under(struct lab *lab, const char *spec,
						const struct dma_shim_segment *segments,
						uint32_t count)
{
	struct dma_shim_completion done;

	for (unsigned int tries = 0; tries < WATCHDOG_TRIES; tries++) {
		memset(lab->b.bytes, 0x5c, lab->b.size);
		fault(spec);
		CHECK_EQ(submit(lab, dma_job(1, &lab->a, &lab->b), segments, count), 0);
		done = next_done(lab);
		CHECK_EQ(done.status, -EIO);
		if (done.dma_error != DMA_SHIM_DMA_ERROR_LOST)
			break;
		fault("clear");
		await_channels(lab, 4);
	}
	return done;
}

TEST(a_read_error_fails_one_job)
{
	fails("error=0x100@9", DMA_SHIM_DMA_ERROR_READ, 1, 1);
}

TEST(a_write_error_fails_one_job)
{
	fails("error=0x200@9", DMA_SHIM_DMA_ERROR_WRITE, 1, 1);
}

TEST(a_halted_channel_loses_jobs)
{
	fails("error=0x1@9", DMA_SHIM_DMA_ERROR_LOST, 1, JOBS);
}

TEST(a_hung_channel_loses_jobs)
{
	fails("hang@9", DMA_SHIM_DMA_ERROR_LOST, 1, JOBS);
}

TEST(a_lost_completion_loses_one_job_at_most)
{
	fails("lost-completion@20", DMA_SHIM_DMA_ERROR_LOST, 0, 1);
}

TEST(a_lost_interrupt_costs_time_only)
{
	fails("lost-irq@3x4", DMA_SHIM_DMA_ERROR_LOST, 0, 0);
}

TEST(a_slow_channel_is_waited_for)
{
	fails("delay=30msx16", DMA_SHIM_DMA_ERROR_LOST, 0, 0);
}

TEST(a_failure_names_its_segment_and_channel)
{
	enum { COUNT = 40 };
	struct lab lab = lab_open();
	struct dma_shim_segment segments[COUNT];
	struct dma_shim_completion done;
	uint32_t wrong = COUNT;

	pattern(lab.a.bytes, COUNT * 8192, 2);
	for (uint32_t n = 0; n < COUNT; n++)
		segments[n] = (struct dma_shim_segment) { n * 8192, n * 8192, 8192 };
	done = failure_under(&lab, "error=0x100@20", segments, COUNT);
	CHECK_EQ(done.dma_error, DMA_SHIM_DMA_ERROR_READ);
	CHECK(done.dma_channel < 4 && done.dma_channels >> done.dma_channel & 1);
	CHECK_EQ(channel_of(&lab, done.dma_channel).read_errors > 0, 1);
	CHECK(done.segment < COUNT && done.bytes_done < COUNT * 8192);
	for (uint32_t n = 0; n < COUNT && wrong == COUNT; n++) {
		if (n == done.segment && is_byte(lab.b.bytes + n * 8192, 8192, 0x5c))
			wrong = n;
	}
	CHECK_EQ(wrong, done.segment);
	all_is_well_again(&lab);
}

/* Failures in a row, of which the driver tells the first only. */
TEST(errors_one_after_the_other)
{
	struct lab lab;
	struct tally tally = copy_all_under(&lab, "error=0x200@4x6");

	CHECK(tally.failed[DMA_SHIM_DMA_ERROR_WRITE] >= 1);
	CHECK_EQ(tally.done + tally.failed[DMA_SHIM_DMA_ERROR_WRITE] +
		 tally.failed[DMA_SHIM_DMA_ERROR_ABORTED], JOBS);
	all_is_well_again(&lab);
}

/* How many other jobs end while one that timed out is held until the hardware is through with it. */
static unsigned int others_while_one_is_held(void)
{
	struct lab lab = lab_open();
	struct dma_shim_job job = dma_job(1, &lab.a, &lab.b);
	struct dma_shim_completion done, held = { 0 };
	unsigned int meanwhile = 0;

	fault("hang");
	job.timeout_ms = 100;
	CHECK_EQ(submit_one(&lab, job, 0, 0, 4096), 0);
	usleep(300000);
	for (unsigned int n = 2; n < 10; n++) {
		CHECK_EQ(submit_one(&lab, dma_job(n, &lab.a, &lab.b), MIB, MIB, 4096), 0);
		done = next_done(&lab);
		if (done.tag == 1) {
			held = done;
			done = next_done(&lab);
		}
		CHECK_EQ(done.status, 0);
		CHECK_EQ(done.tag, n);
		meanwhile += !held.tag;
	}
	if (!held.tag)
		held = next_done(&lab);
	CHECK_EQ(held.tag, 1);
	CHECK_EQ(held.status, -ETIMEDOUT);
	CHECK_EQ(held.dma_error, DMA_SHIM_DMA_ERROR_TIMEOUT);
	CHECK(held.dma_channel < 4);
	CHECK_EQ(channel_of(&lab, held.dma_channel).in_flight, 0);
	CHECK(channel_of(&lab, held.dma_channel).timeouts > 0);
	all_is_well_again(&lab);
	return meanwhile;
}

/*
 * Its end is told when the hardware is through; meanwhile others go on. A guest whose host has
 * no processor for it stands still until the hardware is through: then once more.
 */
TEST(a_job_that_times_out_is_held_until_it_is_settled)
{
	for (unsigned int tries = 0; tries < 5; tries++) {
		if (others_while_one_is_held())
			return;
	}
	FAIL("no other job ended while one was held");
}

/* One channel fails, the others are slow, and its time is over: then it is over for good. */
TEST(nothing_is_written_once_a_job_is_over)
{
	struct lab lab = lab_open();
	struct dma_shim_job job = dma_job(1, &lab.a, &lab.b);

	fault("delay=50ms@1/0.0,error=0x200@2/0.0,"
	      "delay=350ms@1/0.1,delay=350ms@1/0.2,delay=350ms@1/0.3");
	job.timeout_ms = 150;
	CHECK_EQ(submit_one(&lab, job, 0, 0, 16 * MIB), 0);
	CHECK(next_done(&lab).status);
	memset(lab.b.bytes, 0x5c, 16 * MIB);
	usleep(2000000);
	CHECK(is_byte(lab.b.bytes, 16 * MIB, 0x5c));
	all_is_well_again(&lab);
}

/* Most of it never comes to the kernel. */
TEST(a_large_job_times_out)
{
	struct lab lab = lab_open();
	struct dma_shim_job job = dma_job(1, &lab.a, &lab.b);
	struct dma_shim_completion done;

	fault("delay=20msx*");
	job.timeout_ms = 150;
	CHECK_EQ(submit_one(&lab, job, 0, 0, lab.a.size), 0);
	done = next_done(&lab);
	CHECK_EQ(done.status, -ETIMEDOUT);
	CHECK_EQ(done.dma_error, DMA_SHIM_DMA_ERROR_TIMEOUT);
	CHECK(done.bytes_done < lab.a.size);
	all_is_well_again(&lab);
}

TEST(a_wrong_byte_is_found_by_verification)
{
	struct lab lab = lab_open();
	struct dma_shim_job job = dma_job(1, &lab.a, &lab.b);
	struct dma_shim_completion done;

	pattern(lab.a.bytes, 4 * MIB, 9);
	job.flags = DMA_SHIM_JOB_VERIFY;
	fault("corrupt=17@3");
	CHECK_EQ(submit_one(&lab, job, 0, 0, 4 * MIB), 0);
	done = next_done(&lab);
	CHECK_EQ(done.status, -EBADMSG);
	CHECK(done.source_crc != done.destination_crc);
	CHECK_EQ(done.dma_error, DMA_SHIM_DMA_ERROR_NONE);
	all_is_well_again(&lab);
}

/* A failed job's other pieces are stopped rather than copied for nothing. */
TEST(a_large_job_that_fails_ends_soon)
{
	struct lab lab = lab_open();
	struct dma_shim_segment all = { 0, 0, lab.a.size };
	struct dma_shim_completion done = failure_under(&lab, "error=0x100@10,delay=5msx*", &all, 1);

	CHECK_EQ(done.dma_error, DMA_SHIM_DMA_ERROR_READ);
	CHECK(done.bytes_done < lab.a.size / 2);
	all_is_well_again(&lab);
}

/* Jobs of all kinds under faults of all kinds: what is done is right. */
TEST(random_jobs_under_random_faults)
{
	static const char *const faults[] = {
		"error=0x100@%u", "error=0x200@%ux2", "lost-irq@%u", "delay=10ms@%ux4",
		"error=0x100@%u,error=0x200@40", "lost-completion@%u",
	};
	enum { ROUNDS = 12, ROOM = 4 };
	struct lab lab = lab_open();
	uint32_t failed = 0, done_count = 0;

	for (unsigned int round = 0; round < ROUNDS; round++) {
		uint64_t part = 6 * MIB;
		char spec[100];

		snprintf(spec, sizeof(spec), faults[round % (sizeof(faults) / sizeof(*faults))],
			 1 + (unsigned int)random_below(40));
		fault(spec);
		pattern(lab.a.bytes, ROOM * part, round);
		memset(lab.b.bytes, 0x5c, ROOM * part);
		for (unsigned int n = 0; n < ROOM; n++) {
			struct dma_shim_segment segments[64];
			uint32_t count = 1 + (uint32_t)random_below(64);
			uint64_t at = n * part;
			struct dma_shim_job job = dma_job(n, &lab.a, &lab.b);

			job.priority = n % 3;
			job.flags = random_below(2) ? DMA_SHIM_JOB_VERIFY : 0;
			for (uint32_t i = 0; i < count; i++) {
				segments[i] = (struct dma_shim_segment) { at, at, part / count };
				at += part / count;
			}
			segments[count - 1].size += (n + 1) * part - at;
			CHECK_EQ(submit(&lab, job, segments, count), 0);
		}
		for (unsigned int n = 0; n < ROOM; n++) {
			struct dma_shim_completion done = next_done(&lab);

			if (done.status) {
				CHECK(done.dma_error != DMA_SHIM_DMA_ERROR_NONE);
				failed++;
				continue;
			}
			done_count++;
			CHECK_EQ(done.bytes_done, part);
			CHECK(!memcmp(lab.b.bytes + done.tag * part,
				      lab.a.bytes + done.tag * part, part));
		}
		fault("clear");
		await_channels(&lab, 4);
	}
	CHECK(failed && done_count);
	all_is_well_again(&lab);
}
