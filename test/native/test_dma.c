// SPDX-License-Identifier: Apache-2.0
/* The DMA engine's rules, and every way in which a request can end. */
#include "fake_module.h"

#include <fcntl.h>
#include <unistd.h>

static struct dma_shim_completion copy_one(struct dma_context *dma, uint64_t size)
{
	CHECK_EQ(submit_one(&dma->context, dma_job(1, &dma->a, &dma->b), 0, 0, size), 0);
	return done_of(&dma->context, 1);
}

/* The first `countdown` operations meet this fate, all others succeed. */
static _Atomic int countdown;
static _Atomic int fate_then;

static enum fate first_few(const struct fake_operation *operation)
{
	(void)operation;
	if (countdown <= 0)
		return FATE_DONE;
	countdown--;
	return (enum fate)fate_then;
}

static void doom(int operations, enum fate fate)
{
	countdown = operations;
	fate_then = fate;
	fake.fate = first_few;
}

TEST(dma_open_says_why_not)
{
	struct context context = context_open(1);
	struct dma_shim_dma_info info = { 0 };
	struct dma_shim_channel_info channel;
	struct file file = file_device(&context, "a", 4096);
	struct dma_shim_job job = dma_job(1, &file, &file);
	char path[320];

	fake_start();
	snprintf(path, sizeof(path), "%s-missing", fake.path);
	CHECK_EQ(dma_shim_dma_open(NULL, path, &info), -EINVAL);
	CHECK_EQ(dma_shim_dma_open(context.shim, NULL, &info), -EINVAL);
	CHECK_EQ(dma_shim_dma_open(context.shim, path, NULL), -EINVAL);
	CHECK_EQ(dma_shim_dma_open(context.shim, path, &info), -ENOENT);
	CHECK_EQ(dma_shim_dma_info(context.shim, &info), -ENODEV);
	CHECK_EQ(dma_shim_dma_channel(context.shim, 0, &channel), -ENODEV);
	CHECK_EQ(dma_shim_dma_attach(context.shim, 0), -ENODEV);
	CHECK_EQ(submit_one(&context, job, 0, 2048, 1), -ENODEV);
	fake.abi = 0;
	CHECK_EQ(dma_shim_dma_open(context.shim, fake.path, &info), -EPROTONOSUPPORT);
	fake.abi = 2;
	hooks.threads = 1;
	CHECK_EQ(dma_shim_dma_open(context.shim, fake.path, &info), -EAGAIN);
	hooks.allocations = 1;
	CHECK_EQ(dma_shim_dma_open(context.shim, fake.path, &info), -ENOMEM);
	CHECK_EQ(info.abi, 0);
	CHECK_EQ(submit_one(&context, job, 0, 2048, 1), -ENODEV);
	CHECK_EQ(dma_shim_dma_open(context.shim, fake.path, &info), 0);
	CHECK_EQ(info.abi, 2);
	CHECK_EQ(info.version, 0x10203);
	CHECK_EQ(info.channels, 4);
	CHECK_EQ(info.channel_limit, 64);
	CHECK_EQ(dma_shim_dma_open(context.shim, fake.path, &info), -EBUSY);
	context_close(&context);
	fake_stop();
}

/* A file is no such device: ioctl(2) says ENOTTY. */
TEST(dma_open_refuses_what_is_not_the_module)
{
	struct context context = context_open(1);
	struct file file = file_make(scratch(), "a", 4096);
	struct dma_shim_dma_info info;

	CHECK_EQ(dma_shim_dma_open(context.shim, file.path, &info), -EPROTONOSUPPORT);
	context_close(&context);
}

TEST(dma_channels_are_described)
{
	struct dma_context dma = dma_context_open(MIB);
	struct dma_shim_channel_info channel;

	CHECK_EQ(dma_shim_dma_channel(dma.context.shim, 4, &channel), -ENOENT);
	CHECK_EQ(dma_shim_dma_channel(dma.context.shim, 3, NULL), -EINVAL);
	CHECK_EQ(dma_shim_dma_channel(dma.context.shim, 3, &channel), 0);
	CHECK_EQ(channel.state, DMA_SHIM_CHANNEL_READY);
	CHECK_EQ(channel.numa_node, -1);
	CHECK_EQ(strlen(channel.name), sizeof(channel.name) - 1);
	CHECK(!strcmp(channel.driver, "driver"));
	CHECK_EQ(channel.in_flight, 11);
	CHECK_EQ(channel.operations, 12);
	CHECK_EQ(channel.bytes, 13);
	CHECK_EQ(channel.read_errors, 14);
	CHECK_EQ(channel.write_errors, 15);
	CHECK_EQ(channel.aborted, 16);
	CHECK_EQ(channel.lost, 17);
	CHECK_EQ(channel.timeouts, 18);
	CHECK_EQ(channel.recoveries, 19);
	fake.channels = 3;
	CHECK_EQ(dma_shim_dma_channel(dma.context.shim, 3, &channel), 0);
	CHECK_EQ(channel.state, DMA_SHIM_CHANNEL_SET_ASIDE);
	dma_context_close(&dma);
}

TEST(dma_reaches_attached_devices_only)
{
	struct dma_context dma = dma_context_open(MIB);
	struct context *context = &dma.context;
	struct file file = file_device(context, "c", MIB);
	struct dma_shim_job job = dma_job(1, &dma.a, &file);
	struct dma_shim_segment segment = { 0, 0, 1 };
	char memory[1];

	CHECK_EQ(dma_shim_dma_attach(context->shim, file.handle), -EOPNOTSUPP);
	CHECK_EQ(dma_shim_dma_attach(context->shim, 99), -EBADF);
	CHECK_EQ(submit_one(context, job, 0, 0, 1), -EOPNOTSUPP);
	job = dma_job(1, &file, &dma.a);
	CHECK_EQ(submit_one(context, job, 0, 0, 1), -EOPNOTSUPP);
	job.source = DMA_SHIM_MEMORY;
	job.memory_size = 1;
	CHECK_EQ(dma_shim_submit(context->shim, &job, &segment, memory, NULL), -EOPNOTSUPP);
	job = dma_job(1, &dma.a, &dma.a);
	job.destination = DMA_SHIM_NOWHERE;
	job.flags = DMA_SHIM_JOB_CHECKSUM;
	CHECK_EQ(submit_one(context, job, 0, 0, 1), -EOPNOTSUPP);

	/* Nothing is in use any more, and the region goes with the device. */
	CHECK_EQ(fake.regions, 2);
	CHECK_EQ(dma_shim_dma_attach(context->shim, dma.a.handle), 0);
	CHECK_EQ(fake.regions, 2);
	CHECK_EQ(dma_shim_device_close(context->shim, dma.a.handle), 0);
	CHECK_EQ(fake.regions, 1);
	CHECK_EQ(dma_shim_device_close(context->shim, file.handle), 0);
	dma_context_close(&dma);
}

TEST(dma_copies_bytes)
{
	struct dma_context dma = dma_context_open(20 * MIB);
	struct dma_shim_completion done;

	random_fill(dma.a.bytes, dma.a.size);
	CHECK_EQ(submit_one(&dma.context, dma_job(1, &dma.a, &dma.b), 3, 5, 19 * MIB), 0);
	done = done_of(&dma.context, 1);
	CHECK_EQ(done.status, 0);
	CHECK_EQ(done.bytes_done, 19 * MIB);
	CHECK_EQ(done.dma_channels, 15);
	CHECK_EQ(done.dma_channel, DMA_SHIM_NO_CHANNEL);
	CHECK_EQ(done.dma_error, DMA_SHIM_DMA_ERROR_NONE);
	CHECK_EQ(done.dma_retries, 0);
	CHECK(done.copy_ns && !done.verify_ns && !done.flush_ns);
	CHECK(!memcmp(dma.b.bytes + 5, dma.a.bytes + 3, 19 * MIB));
	CHECK(!dma.b.bytes[4] && !dma.b.bytes[5 + 19 * MIB]);
	dma_context_close(&dma);
}

/* All lines: what DMA wrote may be in any cache. */
static _Atomic uint64_t written_back;

static void count_write_back(const unsigned char *start, size_t size)
{
	(void)start;
	written_back += size;
}

TEST(dma_checks_and_flushes)
{
	struct dma_context dma = dma_context_open(8 * MIB);
	struct dma_shim_job job = dma_job(1, &dma.a, &dma.b);
	struct dma_shim_segment segments[] = {
		{ 0, 5 * MIB, 100 }, { 100, 0, 3 * MIB }, { 7 * MIB, 4 * MIB, MIB },
	};
	struct dma_shim_completion done;
	uint32_t crc;

	hooks.write_back = count_write_back;
	random_fill(dma.a.bytes, dma.a.size);
	job.flags = DMA_SHIM_JOB_VERIFY | DMA_SHIM_JOB_FLUSH;
	job.crc_seed = 77;
	CHECK_EQ(submit(&dma.context, job, segments, 3), 0);
	done = done_of(&dma.context, 1);
	CHECK_EQ(done.status, 0);
	crc = crc32c(77, dma.a.bytes, 100);
	crc = crc32c(crc, dma.a.bytes + 100, 3 * MIB);
	crc = crc32c(crc, dma.a.bytes + 7 * MIB, MIB);
	CHECK_EQ(done.source_crc, crc);
	CHECK_EQ(done.destination_crc, crc);
	CHECK(done.copy_ns && done.verify_ns && done.flush_ns);
	CHECK_EQ(written_back, 100 + 3 * MIB + MIB);
	dma_context_close(&dma);
}

static unsigned char *victim;

static enum fate spoil(const struct fake_operation *operation)
{
	if (operation->part.dst_offset == 4096)
		*victim ^= 1;
	return FATE_DONE;
}

TEST(dma_verification_finds_a_wrong_byte)
{
	struct dma_context dma = dma_context_open(MIB);
	struct dma_shim_job job = dma_job(1, &dma.a, &dma.b);
	struct dma_shim_segment segments[] = { { 0, 4096, 4096 }, { 4096, 0, 4096 } };
	struct dma_shim_completion done;

	/* Once the other is copied */
	victim = dma.b.bytes + 17;
	job.flags = DMA_SHIM_JOB_VERIFY;
	for (unsigned int round = 0; round < 50; round++) {
		memset(dma.b.bytes, 0, 8192);
		fake.fate = spoil;
		CHECK_EQ(submit(&dma.context, job, segments, 2), 0);
		done = done_of(&dma.context, 1);
		CHECK_EQ(done.dma_error, DMA_SHIM_DMA_ERROR_NONE);
		CHECK_EQ(done.bytes_done, 8192);
		if (!memcmp(dma.b.bytes, dma.a.bytes + 4096, 4096)) {
			CHECK_EQ(done.status, 0);
			continue;
		}
		CHECK_EQ(done.status, -EBADMSG);
		CHECK_EQ(done.segment, 1);
		CHECK(done.source_crc != done.destination_crc);
		dma_context_close(&dma);
		return;
	}
	FAIL("the order of segments was never the other way round");
}

static void expect_failure(enum fate fate, int status, uint32_t error)
{
	struct dma_context dma = dma_context_open(4 * MIB);
	struct dma_shim_completion done;

	doom(1, fate);
	done = copy_one(&dma, 4096);
	CHECK_EQ(done.status, status);
	CHECK_EQ(done.dma_error, error);
	CHECK_EQ(done.bytes_done, 0);
	CHECK_EQ(done.dma_channels, UINT64_C(1) << done.dma_channel);
	CHECK_EQ(done.dma_retries, 0);
	CHECK_EQ(copy_one(&dma, 4096).status, 0);
	dma_context_close(&dma);
}

TEST(dma_read_error)
{
	expect_failure(FATE_READ, -EIO, DMA_SHIM_DMA_ERROR_READ);
}

TEST(dma_write_error)
{
	expect_failure(FATE_WRITE, -EIO, DMA_SHIM_DMA_ERROR_WRITE);
}

TEST(dma_lost)
{
	expect_failure(FATE_LOST, -EIO, DMA_SHIM_DMA_ERROR_LOST);
}

TEST(dma_not_mapped)
{
	expect_failure(FATE_MAP, -EIO, DMA_SHIM_DMA_ERROR_MAP);
}

static enum fate fail_segment_70(const struct fake_operation *operation)
{
	return operation->part.dst_offset == 70 * 100000 ? FATE_READ : FATE_DONE;
}

/* Pieces begin in the midst of segments; a failure is named as the caller counts. */
TEST(dma_failure_names_its_segment)
{
	struct dma_context dma = dma_context_open(10 * MIB);
	struct dma_shim_segment segments[100];
	struct dma_shim_completion done;

	for (uint32_t n = 0; n < 100; n++)
		segments[n] = (struct dma_shim_segment) { n * 100000, n * 100000, 100000 };
	fake.fate = fail_segment_70;
	CHECK_EQ(submit(&dma.context, dma_job(1, &dma.a, &dma.b), segments, 100), 0);
	done = done_of(&dma.context, 1);
	CHECK_EQ(done.status, -EIO);
	CHECK_EQ(done.segment, 70);
	CHECK(done.bytes_done <= 9900000);
	dma_context_close(&dma);
}

TEST(dma_aborted_pieces_are_tried_again)
{
	struct dma_context dma = dma_context_open(4 * MIB);
	struct dma_shim_completion done;

	random_fill(dma.a.bytes, MIB);
	doom(8, FATE_ABORTED);
	done = copy_one(&dma, 4096);
	CHECK_EQ(done.status, 0);
	CHECK_EQ(done.dma_retries, 8);
	CHECK_EQ(done.dma_error, DMA_SHIM_DMA_ERROR_NONE);
	CHECK_EQ(done.bytes_done, 4096);
	CHECK(!memcmp(dma.a.bytes, dma.b.bytes, 4096));
	dma_context_close(&dma);
}

TEST(dma_aborted_again_and_again)
{
	struct dma_context dma = dma_context_open(4 * MIB);
	struct dma_shim_completion done;

	doom(1000, FATE_ABORTED);
	done = copy_one(&dma, 4096);
	CHECK_EQ(done.status, -EIO);
	CHECK_EQ(done.dma_error, DMA_SHIM_DMA_ERROR_ABORTED);
	CHECK_EQ(done.dma_retries, 8);
	CHECK(done.dma_channel < 4);
	CHECK_EQ(1000 - countdown, 9);
	dma_context_close(&dma);
}

/* Only what was not copied: an earlier segment's source is another's by now. */
static _Atomic uint32_t aborted;

static enum fate abort_often(const struct fake_operation *operation)
{
	CHECK(operation->ordered || operation->segment_count == 1);
	return aborted++ % 3 == 2 ? FATE_ABORTED : FATE_DONE;
}

static enum fate lose_channels(const struct fake_operation *operation)
{
	CHECK(operation->ordered || operation->segment_count == 1);
	return aborted++ % 3 == 2 ? FATE_CHANNEL : FATE_DONE;
}

/* Each time two more are copied, and it may be thrown out eight times. */
static void copy_in_order(fake_fate fate, uint32_t count, int status)
{
	struct dma_context dma = dma_context_open(MIB);
	struct dma_shim_segment segments[60];
	uint32_t copied = status ? 18 : count;
	unsigned char model[4096];
	struct dma_shim_completion done;

	random_fill(model, sizeof(model));
	memcpy(dma.a.bytes, model, sizeof(model));
	for (uint32_t n = 0; n < count; n++) {
		struct dma_shim_segment segment = { n % 3 * 1000, (n + 1) % 3 * 1000 + n, 900 };

		segments[n] = segment;
		if (n < copied)
			memcpy(model + segment.dst_offset, model + segment.src_offset, 900);
	}
	fake.fate = fate;
	CHECK_EQ(submit(&dma.context, dma_job(1, &dma.a, &dma.a), segments, count), 0);
	done = done_of(&dma.context, 1);
	CHECK_EQ(done.status, status);
	CHECK_EQ(done.segment, status ? copied : 0);
	CHECK_EQ(done.bytes_done, copied * 900);
	CHECK_EQ(done.dma_retries, status ? 8 : 5);
	CHECK(!memcmp(dma.a.bytes, model, sizeof(model)));
	dma_context_close(&dma);
}

TEST(dma_ordered_segments_are_not_copied_twice)
{
	copy_in_order(abort_often, 12, 0);
}

TEST(dma_ordered_segments_aborted_again_and_again)
{
	copy_in_order(abort_often, 60, -EIO);
}

TEST(dma_ordered_segments_whose_channel_goes)
{
	copy_in_order(lose_channels, 12, 0);
}

TEST(dma_ordered_segments_whose_channels_go)
{
	copy_in_order(lose_channels, 60, -ENODEV);
}

TEST(dma_goes_on_with_another_channel)
{
	struct dma_context dma = dma_context_open(4 * MIB);
	struct dma_shim_completion done;

	random_fill(dma.a.bytes, dma.a.size);
	doom(3, FATE_CHANNEL);
	done = copy_one(&dma, 4 * MIB);
	CHECK_EQ(done.status, 0);
	CHECK_EQ(done.dma_retries, 3);
	CHECK(!memcmp(dma.a.bytes, dma.b.bytes, 4 * MIB));
	dma_context_close(&dma);
}

TEST(dma_without_channels)
{
	struct dma_context dma = dma_context_open(4 * MIB);
	struct dma_shim_completion done;

	fake.channels = 0;
	done = copy_one(&dma, 4 * MIB);
	CHECK_EQ(done.status, -ENODEV);
	CHECK_EQ(done.dma_error, DMA_SHIM_DMA_ERROR_CHANNEL);
	CHECK_EQ(done.dma_channel, DMA_SHIM_NO_CHANNEL);
	CHECK_EQ(done.bytes_done, 0);
	fake.channels = 1;
	CHECK_EQ(copy_one(&dma, 4 * MIB).status, 0);
	dma_context_close(&dma);
}

static enum fate wait(const struct fake_operation *operation)
{
	(void)operation;
	return FATE_WAIT;
}

static _Atomic uint64_t waiting_tag;

static enum fate wait_and_tell(const struct fake_operation *operation)
{
	waiting_tag = operation->tag + 1;
	return FATE_WAIT;
}

/* A completion of something else must not end a job. */
TEST(dma_completion_of_an_unknown_request)
{
	struct dma_context dma = dma_context_open(4 * MIB);
	struct ioat_dma_completion stray = { 0 };
	int module = SYS(open(fake.path, O_RDWR | O_CLOEXEC));

	random_fill(dma.a.bytes, 4096);
	fake.fate = wait_and_tell;
	CHECK_EQ(submit_one(&dma.context, dma_job(1, &dma.a, &dma.b), 0, 0, 4096), 0);
	while (!waiting_tag)
		usleep(100);
	for (uint64_t n = 1; n < 1000; n++) {
		stray.tag = waiting_tag - 1 + n;
		stray.flags = n % 2 ? IOAT_DMA_COMPLETION_SETTLED : 0;
		CHECK_EQ(write(module, &stray, sizeof(stray)), sizeof(stray));
	}
	fake.fate = NULL;
	CHECK_EQ(done_of(&dma.context, 1).status, 0);
	CHECK(!memcmp(dma.a.bytes, dma.b.bytes, 4096));
	close(module);
	dma_context_close(&dma);
}

TEST(dma_device_removed)
{
	struct dma_context dma = dma_context_open(4 * MIB);
	struct dma_shim_completion done;

	/* While it has work */
	fake.fate = wait;
	CHECK_EQ(submit_one(&dma.context, dma_job(1, &dma.a, &dma.b), 0, 0, 4 * MIB), 0);
	while (!fake.in_flight)
		usleep(100);
	fake.gone = 1;
	done = done_of(&dma.context, 1);
	CHECK_EQ(done.status, -ENXIO);
	CHECK_EQ(done.dma_error, DMA_SHIM_DMA_ERROR_DEVICE);
	/* and before */
	done = copy_one(&dma, 4096);
	CHECK_EQ(done.status, -ENXIO);
	CHECK_EQ(done.dma_error, DMA_SHIM_DMA_ERROR_DEVICE);
	CHECK_EQ(done.dma_channels, 0);
	dma_context_close(&dma);
}

static _Atomic int refusal;
static _Atomic int refusals_left;

static int refuse_some(const struct ioat_dma_submit *submit)
{
	(void)submit;
	if (refusals_left <= 0)
		return 0;
	refusals_left--;
	return refusal;
}

/* There is no room, or no memory, at the moment. */
TEST(dma_waits_until_the_kernel_has_room)
{
	static const int errors[] = { EAGAIN, ENOMEM, EINTR };
	struct dma_context dma = dma_context_open(4 * MIB);

	fake.refuse = refuse_some;
	for (size_t n = 0; n < sizeof(errors) / sizeof(*errors); n++) {
		refusal = errors[n];
		refusals_left = 5;
		CHECK_EQ(copy_one(&dma, 4 * MIB).status, 0);
		CHECK_EQ(refusals_left, 0);
	}
	dma_context_close(&dma);
}

/* One that the kernel does not take for good */
TEST(dma_refused)
{
	struct dma_context dma = dma_context_open(4 * MIB);
	struct dma_shim_completion done;

	fake.refuse = refuse_some;
	refusal = EFAULT;
	refusals_left = 1;
	done = copy_one(&dma, 4096);
	CHECK_EQ(done.status, -EIO);
	CHECK_EQ(done.bytes_done, 0);
	CHECK_EQ(copy_one(&dma, 4096).status, 0);
	dma_context_close(&dma);
}

TEST(dma_cancelled_while_the_kernel_has_no_room)
{
	struct dma_context dma = dma_context_open(4 * MIB);

	fake.refuse = refuse_some;
	refusal = EAGAIN;
	refusals_left = 1000000;
	CHECK_EQ(submit_one(&dma.context, dma_job(1, &dma.a, &dma.b), 0, 0, 4 * MIB), 0);
	while (refusals_left > 999998)
		usleep(100);
	CHECK_EQ(dma_shim_cancel(dma.context.shim, 1), 0);
	CHECK_EQ(done_of(&dma.context, 1).status, -ECANCELED);
	dma_context_close(&dma);
}

TEST(dma_time_runs_out_in_the_shim)
{
	struct dma_context dma = dma_context_open(4 * MIB);
	struct dma_shim_job job = dma_job(1, &dma.a, &dma.b);
	struct dma_shim_completion done;

	fake.refuse = refuse_some;
	refusal = EAGAIN;
	refusals_left = 1000000;
	job.timeout_ms = 20;
	CHECK_EQ(submit_one(&dma.context, job, 0, 0, 4 * MIB), 0);
	done = done_of(&dma.context, 1);
	CHECK_EQ(done.status, -ETIMEDOUT);
	CHECK_EQ(done.dma_error, DMA_SHIM_DMA_ERROR_TIMEOUT);
	CHECK_EQ(done.bytes_done, 0);
	dma_context_close(&dma);
}

/* Behind a job that fills the window, it never has a piece with the kernel. */
TEST(dma_time_runs_out_in_the_queue)
{
	struct dma_context dma = dma_context_open(64 * MIB);
	struct dma_shim_job job = dma_job(2, &dma.a, &dma.b);
	struct dma_shim_completion done;

	fake.fate = wait;
	CHECK_EQ(submit_one(&dma.context, dma_job(1, &dma.a, &dma.b), 0, 0, 64 * MIB), 0);
	while (fake.in_flight < 32)
		usleep(100);
	job.timeout_ms = 20;
	CHECK_EQ(submit_one(&dma.context, job, 0, 0, 4096), 0);
	done = done_of(&dma.context, 2);
	CHECK_EQ(done.status, -ETIMEDOUT);
	CHECK_EQ(done.dma_channels, 0);
	fake.fate = NULL;
	CHECK_EQ(done_of(&dma.context, 1).status, 0);
	CHECK_EQ(fake.most_in_flight, 32);
	dma_context_close(&dma);
}

TEST(dma_time_is_cut_in_the_queue)
{
	struct dma_context dma = dma_context_open(64 * MIB);
	struct dma_shim_completion done;

	fake.fate = wait;
	CHECK_EQ(submit_one(&dma.context, dma_job(1, &dma.a, &dma.b), 0, 0, 64 * MIB), 0);
	while (fake.in_flight < 32)
		usleep(100);
	CHECK_EQ(submit_one(&dma.context, dma_job(2, &dma.a, &dma.b), 0, 0, 4096), 0);
	CHECK_EQ(dma_shim_set_timeout(dma.context.shim, 2, 20), 0);
	done = done_of(&dma.context, 2);
	CHECK_EQ(done.status, -ETIMEDOUT);
	CHECK_EQ(done.dma_error, DMA_SHIM_DMA_ERROR_TIMEOUT);
	fake.fate = NULL;
	CHECK_EQ(done_of(&dma.context, 1).status, 0);
	CHECK_EQ(dma_shim_set_timeout(dma.context.shim, 1, 20), -ENOENT);
	CHECK_EQ(dma_shim_set_timeout(NULL, 1, 20), -EINVAL);
	dma_context_close(&dma);
}

/* What the kernel had, and gave up in the earlier time, is copied anew. */
static void has_more_time(enum fate fate, uint32_t timeout_ms)
{
	struct dma_context dma = dma_context_open(4 * MIB);
	struct dma_shim_job job = dma_job(1, &dma.a, &dma.b);
	struct dma_shim_completion done;
	uint32_t before = fake.submissions;

	random_fill(dma.a.bytes, MIB);
	if (fate == FATE_WAIT)
		fake.fate = wait;
	else
		doom(1, fate);
	job.timeout_ms = 1000;
	CHECK_EQ(submit_one(&dma.context, job, 0, 0, 4096), 0);
	while (!fake.in_flight)
		usleep(100);
	CHECK_EQ(dma_shim_set_timeout(dma.context.shim, 1, timeout_ms), 0);
	while (fake.submissions == before + 1)
		usleep(1000);
	if (fate == FATE_WAIT)
		no_more_records(&dma.context);
	fake.fate = NULL;
	done = done_of(&dma.context, 1);
	CHECK_EQ(done.status, 0);
	CHECK_EQ(done.dma_retries, 1);
	CHECK_EQ(fake.submissions, before + 2);
	CHECK(!memcmp(dma.a.bytes, dma.b.bytes, 4096));
	dma_context_close(&dma);
}

TEST(dma_more_time_for_what_waits)
{
	has_more_time(FATE_WAIT, 30000);
}

TEST(dma_any_time_for_what_waits)
{
	has_more_time(FATE_WAIT, 0);
}

TEST(dma_more_time_for_what_hangs)
{
	has_more_time(FATE_HANG, 30000);
}

static enum fate hang_low(const struct fake_operation *operation)
{
	return operation->part.dst_offset < 4096 ? FATE_HANG : FATE_DONE;
}

/* It ends once the hardware can no longer write; others do not wait for it. */
TEST(dma_job_is_held_until_it_is_settled)
{
	struct dma_context dma = dma_context_open(4 * MIB);
	struct dma_shim_completion done;

	random_fill(dma.a.bytes, MIB);
	fake.settle = false;
	fake.fate = hang_low;
	fake.hang_ms = 10;
	CHECK_EQ(submit_one(&dma.context, dma_job(1, &dma.a, &dma.b), 0, 0, 4096), 0);
	while (!fake.operations)
		usleep(100);
	usleep(30000);
	CHECK_EQ(submit_one(&dma.context, dma_job(2, &dma.a, &dma.b), MIB, MIB, MIB), 0);
	CHECK_EQ(done_of(&dma.context, 2).status, 0);
	CHECK_EQ(dma_shim_device_close(dma.context.shim, dma.b.handle), -EBUSY);
	no_more_records(&dma.context);
	CHECK_EQ(dma.b.bytes[0] | dma.b.bytes[1] | dma.b.bytes[2], 0);
	fake.settle = true;
	done = done_of(&dma.context, 1);
	CHECK_EQ(done.status, -ETIMEDOUT);
	CHECK_EQ(done.dma_error, DMA_SHIM_DMA_ERROR_TIMEOUT);
	CHECK_EQ(done.bytes_done, 0);
	/* It was written after all, and before the job was over. */
	CHECK(!memcmp(dma.a.bytes, dma.b.bytes, 4096));
	dma_context_close(&dma);
}

/* Though its records are larger than those that this library knows. */
TEST(dma_records_may_grow)
{
	struct context context;
	struct dma_shim_dma_info info;
	struct file a, b;
	struct dma_context dma;

	fake_start();
	fake.record_size = 96;
	context = context_open(2);
	a = file_device(&context, "a", 32 * MIB);
	b = file_device(&context, "b", 32 * MIB);
	pose_as_devdax(&context, &a);
	pose_as_devdax(&context, &b);
	CHECK_EQ(dma_shim_dma_open(context.shim, fake.path, &info), 0);
	CHECK_EQ(dma_shim_dma_attach(context.shim, a.handle), 0);
	CHECK_EQ(dma_shim_dma_attach(context.shim, b.handle), 0);
	dma = (struct dma_context) { context, a, b };
	random_fill(dma.a.bytes, MIB);
	CHECK_EQ(copy_one(&dma, 32 * MIB).status, 0);
	CHECK(!memcmp(dma.a.bytes, dma.b.bytes, 32 * MIB));
	dma_context_close(&dma);
}

/* Whatever the status: nothing is tried again, and no job ends, before it is settled. */
static void is_held(enum fate fate, int status, uint32_t retries)
{
	struct dma_context dma = dma_context_open(4 * MIB);
	struct dma_shim_completion done;
	uint32_t before = fake.submissions;

	random_fill(dma.a.bytes, MIB);
	fake.settle = false;
	doom(1, fate | FATE_UNSETTLED);
	CHECK_EQ(submit_one(&dma.context, dma_job(1, &dma.a, &dma.b), 0, 0, 4096), 0);
	while (!fake.operations)
		usleep(100);
	/* Its time is over if it is to fail. */
	CHECK_EQ(dma_shim_set_timeout(dma.context.shim, 1, status ? 1 : 0), 0);
	usleep(80000);
	no_more_records(&dma.context);
	CHECK_EQ(fake.submissions, before + 1);
	fake.settle = true;
	done = done_of(&dma.context, 1);
	CHECK_EQ(done.status, status);
	CHECK_EQ(done.dma_retries, retries);
	/* What was written late was written before the job was over. */
	memset(dma.b.bytes, 7, 4096);
	usleep(20000);
	CHECK(dma.b.bytes[0] == 7 && dma.b.bytes[4095] == 7);
	dma_context_close(&dma);
}

TEST(dma_aborted_is_held_until_it_is_settled)
{
	is_held(FATE_ABORTED, 0, 1);
}

TEST(dma_aborted_is_held_beyond_its_time)
{
	is_held(FATE_ABORTED, -ETIMEDOUT, 1);
}

TEST(dma_read_error_is_held_until_it_is_settled)
{
	is_held(FATE_READ, -EIO, 0);
}

TEST(dma_write_error_is_held_until_it_is_settled)
{
	is_held(FATE_WRITE, -EIO, 0);
}

TEST(dma_loss_is_held_until_it_is_settled)
{
	is_held(FATE_LOST, -EIO, 0);
}

TEST(dma_not_mapped_is_held_until_it_is_settled)
{
	is_held(FATE_MAP, -EIO, 0);
}

TEST(dma_channel_that_goes_is_held_until_it_is_settled)
{
	is_held(FATE_CHANNEL, 0, 1);
}

TEST(dma_channel_that_goes_is_held_beyond_its_time)
{
	is_held(FATE_CHANNEL, -ETIMEDOUT, 1);
}

static _Atomic bool failed_one;

static enum fate fail_one_only(const struct fake_operation *operation)
{
	(void)operation;
	return atomic_exchange(&failed_one, true) ? FATE_WAIT : FATE_WRITE;
}

TEST(dma_failed_job_stops_its_other_pieces)
{
	struct dma_context dma = dma_context_open(32 * MIB);
	struct dma_shim_completion done;

	fake.fate = wait;
	CHECK_EQ(submit_one(&dma.context, dma_job(1, &dma.a, &dma.b), 0, 0, 32 * MIB), 0);
	while (fake.in_flight < 32)
		usleep(100);
	fake.fate = fail_one_only;
	done = done_of(&dma.context, 1);
	CHECK_EQ(done.status, -EIO);
	CHECK_EQ(done.dma_error, DMA_SHIM_DMA_ERROR_WRITE);
	CHECK_EQ(done.segment, 0);
	CHECK_EQ(done.bytes_done, 0);
	CHECK_EQ(fake.cancels, 31);
	dma_context_close(&dma);
}

TEST(dma_cancelled_job_stops_its_pieces)
{
	struct dma_context dma = dma_context_open(64 * MIB);
	struct dma_shim_completion done;

	fake.fate = wait;
	CHECK_EQ(submit_one(&dma.context, dma_job(1, &dma.a, &dma.b), 0, 0, 64 * MIB), 0);
	while (fake.in_flight < 32)
		usleep(100);
	CHECK_EQ(dma_shim_cancel(dma.context.shim, 1), 0);
	done = done_of(&dma.context, 1);
	CHECK_EQ(done.status, -ECANCELED);
	CHECK_EQ(done.dma_error, DMA_SHIM_DMA_ERROR_NONE);
	CHECK_EQ(done.bytes_done, 0);
	CHECK_EQ(fake.cancels, 32);
	dma_context_close(&dma);
}

static _Atomic uint32_t high_after;

static int note_order(const struct ioat_dma_submit *submit)
{
	const struct ioat_dma_segment *segments = (const void *)(uintptr_t)submit->segments;

	if (segments->dst_offset >= 64 * MIB && !high_after)
		high_after = fake.submissions;
	return 0;
}

/* What waits in the shim goes by priority, not by who came first. */
TEST(dma_serves_by_priority)
{
	struct dma_context dma = dma_context_open(72 * MIB);
	struct dma_shim_job low = dma_job(1, &dma.a, &dma.b);
	struct dma_shim_job high = dma_job(2, &dma.a, &dma.b);

	fake.fate = wait;
	low.priority = DMA_SHIM_LOW;
	CHECK_EQ(submit_one(&dma.context, low, 0, 0, 64 * MIB), 0);
	while (fake.in_flight < 32)
		usleep(100);
	high.priority = DMA_SHIM_HIGH;
	CHECK_EQ(submit_one(&dma.context, high, 0, 64 * MIB, 8 * MIB), 0);
	usleep(20000);
	CHECK_EQ(fake.in_flight, 32);
	fake.refuse = note_order;
	fake.fate = NULL;
	CHECK_EQ(done_of(&dma.context, 2).status, 0);
	CHECK_EQ(done_of(&dma.context, 1).status, 0);
	CHECK_EQ(high_after, 32);
	dma_context_close(&dma);
}

/* Many small segments are few requests; the kernel's limits are kept to. */
TEST(dma_takes_the_most_segments)
{
	enum { COUNT = DMA_SHIM_MAX_SEGMENTS };
	struct dma_context dma = dma_context_open(16 * MIB);
	struct dma_shim_segment *segments = calloc(COUNT, sizeof(*segments));

	fake.max_queued = 5000;
	fake.fate = wait;
	random_fill(dma.a.bytes, dma.a.size);
	for (uint32_t n = 0; n < COUNT; n++)
		segments[n] = (struct dma_shim_segment) { n * 4096, (COUNT - 1 - n) * 4096, 100 };
	for (unsigned int n = 0; n < 6; n++)
		CHECK_EQ(submit(&dma.context, dma_job(n, &dma.a, &dma.b), segments, COUNT), 0);
	while (!fake.refusals)
		usleep(100);
	fake.fate = NULL;
	for (unsigned int n = 0; n < 6; n++) {
		struct dma_shim_completion done = next_done(&dma.context);

		CHECK_EQ(done.status, 0);
		CHECK_EQ(done.bytes_done, COUNT * 100);
	}
	for (uint32_t n = 0; n < COUNT; n++)
		CHECK(!memcmp(dma.b.bytes + segments[n].dst_offset,
			      dma.a.bytes + segments[n].src_offset, 100));
	CHECK_EQ(fake.submissions, 6);
	free(segments);
	dma_context_close(&dma);
}

TEST(dma_submission_without_memory)
{
	struct dma_context dma = dma_context_open(MIB);
	struct dma_shim_segment segments[] = { { 0, 0, 1 }, { 2, 2, 1 } };

	for (int n = 1; n <= 2; n++) {
		hooks.allocations = n;
		CHECK_EQ(submit(&dma.context, dma_job(1, &dma.a, &dma.b), segments, 2), -ENOMEM);
		CHECK_EQ(hooks.allocations, 0);
	}
	CHECK_EQ(copy_one(&dma, 4096).status, 0);
	dma_context_close(&dma);
}

TEST(dma_closing_in_the_middle)
{
	struct dma_context dma = dma_context_open(64 * MIB);

	doom(3, FATE_HANG);
	for (unsigned int n = 0; n < 20; n++) {
		struct dma_shim_job job = dma_job(n, &dma.a, &dma.b);

		job.timeout_ms = 50;
		job.priority = n % 3;
		CHECK_EQ(submit_one(&dma.context, job, 0, 0, n % 2 ? 3 * MIB : 100), 0);
	}
	dma_context_close(&dma);
}
