// SPDX-License-Identifier: Apache-2.0
/* Copies by the kernel module and the stock driver, all of which succeed. */
#include "guest.h"

#include <fcntl.h>
#include <unistd.h>

TEST(the_engine_says_what_it_has)
{
	struct dma_shim_channel_info channel;
	struct dma_shim_dma_info again;
	struct lab lab = lab_open();

	CHECK_EQ(lab.info.abi, 1);
	CHECK(lab.info.version >= 1 << 16);
	CHECK(lab.info.channels >= 4 && lab.info.channels <= lab.info.channel_limit);
	CHECK_EQ(dma_shim_dma_open(lab.shim, MODULE, &again), -EBUSY);
	CHECK_EQ(dma_shim_dma_attach(lab.shim, lab.a.handle), 0);
	CHECK_EQ(dma_shim_dma_attach(lab.shim, 77), -EBADF);
	channel = channel_of(&lab, 0);
	CHECK_EQ(channel.state, DMA_SHIM_CHANNEL_READY);
	CHECK(!strcmp(channel.driver, "ioatdma"));
	CHECK(!strncmp(channel.name, "dma", 3));
	CHECK_EQ(dma_shim_dma_channel(lab.shim, 63, &channel), -ENOENT);
	CHECK_EQ(dma_shim_dma_channel(lab.shim, 64, &channel), -ENOENT);
	lab_close(&lab);
}

/* A region must not keep the lock of a device that was closed. */
TEST(a_device_can_be_opened_again)
{
	struct lab lab = lab_open();

	for (unsigned int n = 0; n < 20; n++) {
		CHECK_EQ(submit_one(&lab, dma_job(1, &lab.a, &lab.b), 0, 0, 4096), 0);
		CHECK_EQ(next_done(&lab).status, 0);
		CHECK_EQ(dma_shim_device_close(lab.shim, lab.b.handle), 0);
		lab.b.handle = dax_open(lab.shim, 1).handle;
		CHECK_EQ(submit_one(&lab, dma_job(1, &lab.a, &lab.b), 0, 0, 4096), -EOPNOTSUPP);
		CHECK_EQ(dma_shim_dma_attach(lab.shim, lab.b.handle), 0);
	}
	lab_close(&lab);
}

TEST(copies_of_every_size_and_alignment)
{
	static const uint64_t sizes[] = { 1, 63, 4096, 65537, MIB - 1, MIB, MIB + 1, 5 * MIB + 77 };
	struct lab lab = lab_open();

	pattern(lab.a.bytes, 8 * MIB, 1);
	for (size_t n = 0; n < sizeof(sizes) / sizeof(*sizes); n++) {
		uint64_t from = random_below(4096), to = 1 + random_below(4096);
		struct dma_shim_completion done;

		memset(lab.b.bytes, 0x5c, 8 * MIB);
		CHECK_EQ(submit_one(&lab, dma_job(n, &lab.a, &lab.b), from, to, sizes[n]), 0);
		done = next_done(&lab);
		CHECK_EQ(done.tag, n);
		CHECK_EQ(done.status, 0);
		CHECK_EQ(done.bytes_done, sizes[n]);
		CHECK_EQ(done.dma_error, DMA_SHIM_DMA_ERROR_NONE);
		CHECK_EQ(done.dma_channel, DMA_SHIM_NO_CHANNEL);
		CHECK(done.dma_channels);
		CHECK(!memcmp(lab.b.bytes + to, lab.a.bytes + from, sizes[n]));
		CHECK(is_byte(lab.b.bytes, to, 0x5c));
		CHECK(is_byte(lab.b.bytes + to + sizes[n], 4096, 0x5c));
	}
	lab_close(&lab);
}

TEST(a_large_copy_uses_all_channels)
{
	struct lab lab = lab_open();
	struct dma_shim_completion done;

	pattern(lab.a.bytes, 100 * MIB, 3);
	fault("delay=2msx*");
	CHECK_EQ(submit_one(&lab, dma_job(1, &lab.a, &lab.b), 0, 0, 100 * MIB), 0);
	done = next_done(&lab);
	CHECK_EQ(done.status, 0);
	CHECK_EQ(done.bytes_done, 100 * MIB);
	CHECK_EQ(done.dma_channels, (UINT64_C(1) << lab.info.channels) - 1);
	CHECK(is_pattern(lab.b.bytes, 100 * MIB, 3));
	lab_close(&lab);
}

TEST(checks_and_flushes)
{
	struct lab lab = lab_open();
	struct dma_shim_job job = dma_job(1, &lab.a, &lab.b);
	struct dma_shim_segment segments[100];
	struct dma_shim_completion done, plain;

	pattern(lab.a.bytes, 64 * MIB, 5);
	for (unsigned int n = 0; n < 100; n++)
		segments[n] = (struct dma_shim_segment) {
			(99 - n) * 600 * KIB, n * 600 * KIB, n % 7 ? 100 * n + 1 : 599 * KIB,
		};
	segments[50].size = 600 * KIB;
	job.flags = DMA_SHIM_JOB_VERIFY | DMA_SHIM_JOB_CHECKSUM | DMA_SHIM_JOB_FLUSH;
	job.crc_seed = 0x1234;
	CHECK_EQ(submit(&lab, job, segments, 100), 0);
	done = next_done(&lab);
	CHECK_EQ(done.status, 0);
	CHECK_EQ(done.source_crc, done.destination_crc);
	CHECK(done.verify_ns && done.flush_ns && done.copy_ns);
	job.engine = DMA_SHIM_ENGINE_CPU;
	CHECK_EQ(submit(&lab, job, segments, 100), 0);
	plain = next_done(&lab);
	CHECK_EQ(plain.status, 0);
	CHECK_EQ(plain.source_crc, done.source_crc);
	CHECK_EQ(plain.bytes_done, done.bytes_done);
	lab_close(&lab);
}

/* Each segment sees what those before it wrote. */
static void copy_model(unsigned char *bytes, const struct dma_shim_segment *segments,
		       uint32_t count)
{
	for (uint32_t n = 0; n < count; n++)
		memcpy(bytes + segments[n].dst_offset, bytes + segments[n].src_offset,
		       segments[n].size);
}

TEST(segments_that_touch_are_copied_in_order)
{
	enum { COUNT = 300 };
	struct lab lab = lab_open();
	struct dma_shim_segment segments[COUNT];
	unsigned char *model = malloc(4 * MIB);

	for (unsigned int round = 0; round < 12; round++) {
		struct dma_shim_job job = dma_job(round, &lab.a, &lab.a);
		struct dma_shim_completion done;

		job.flags = round % 3 == 1 ? DMA_SHIM_JOB_VERIFY :
			    round % 3 == 2 ? DMA_SHIM_JOB_CHECKSUM : 0;
		random_fill(model, 4 * MIB);
		memcpy(lab.a.bytes, model, 4 * MIB);
		for (uint32_t n = 0; n < COUNT; n++) {
			uint64_t size = 1 + random_below(n % 60 ? 8192 : 3 * MIB / 2);
			uint64_t from, to;

			do {
				from = random_below(4 * MIB - size + 1);
				to = random_below(4 * MIB - size + 1);
			} while ((from > to ? from - to : to - from) < size);
			segments[n] = (struct dma_shim_segment) { from, to, size };
		}
		copy_model(model, segments, COUNT);
		CHECK_EQ(submit(&lab, job, segments, COUNT), 0);
		done = next_done(&lab);
		CHECK_EQ(done.status, 0);
		CHECK(!memcmp(lab.a.bytes, model, 4 * MIB));
	}
	free(model);
	lab_close(&lab);
}

TEST(many_small_segments)
{
	enum { COUNT = DMA_SHIM_MAX_SEGMENTS };
	/* An emulated IOMMU takes milliseconds for each. */
	unsigned int jobs = shell("grep -q intel_iommu=on /proc/cmdline") ? 4 : 1;
	struct lab lab = lab_open();
	struct dma_shim_segment *segments = calloc(COUNT, sizeof(*segments));

	pattern(lab.a.bytes, COUNT * 8192, 8);
	memset(lab.b.bytes, 0, COUNT * 8192);
	for (uint32_t n = 0; n < COUNT; n++)
		segments[n] = (struct dma_shim_segment) { n * 8192, (COUNT - 1 - n) * 8192, 3000 };
	for (unsigned int n = 0; n < jobs; n++)
		CHECK_EQ(submit(&lab, dma_job(n, &lab.a, &lab.b), segments, COUNT), 0);
	for (unsigned int n = 0; n < jobs; n++) {
		struct dma_shim_completion done = next_done(&lab);

		CHECK_EQ(done.status, 0);
		CHECK_EQ(done.bytes_done, COUNT * 3000);
	}
	for (uint32_t n = 0; n < COUNT; n++) {
		CHECK(!memcmp(lab.b.bytes + segments[n].dst_offset,
			      lab.a.bytes + segments[n].src_offset, 3000));
		CHECK_EQ(lab.b.bytes[segments[n].dst_offset + 3000], 0);
	}
	free(segments);
	lab_close(&lab);
}

TEST(a_cancelled_job_ends_soon)
{
	struct lab lab = lab_open();
	struct dma_shim_completion done;

	fault("delay=20msx*");
	CHECK_EQ(submit_one(&lab, dma_job(1, &lab.a, &lab.b), 0, 0, lab.a.size), 0);
	CHECK_EQ(submit_one(&lab, dma_job(2, &lab.a, &lab.b), 0, 0, 4096), 0);
	await_work(&lab);
	CHECK_EQ(dma_shim_cancel(lab.shim, 1), 0);
	CHECK_EQ(dma_shim_device_close(lab.shim, lab.b.handle), -EBUSY);
	for (unsigned int n = 0; n < 2; n++) {
		done = next_done(&lab);
		CHECK_EQ(done.status, done.tag == 1 ? -ECANCELED : 0);
		CHECK(done.tag == 2 || done.bytes_done < lab.a.size);
	}
	fault("clear");
	await_channels(&lab, 4);
	lab_close(&lab);
}

/* Closing cancels what is in flight and waits for the hardware. */
TEST(closing_in_mid_stream)
{
	struct lab lab = lab_open();

	for (unsigned int n = 0; n < 8; n++)
		CHECK_EQ(submit_one(&lab, dma_job(n, &lab.a, &lab.b), 0, 0, lab.a.size), 0);
	dma_shim_close(lab.shim);
	for (unsigned int n = 0; n < 8; n++) {
		struct dma_shim_completion done = next_done(&lab);

		CHECK(done.status == -ECANCELED || done.status == 0);
	}
	CHECK_EQ(read(lab.socket, &lab, 1), 0);
}
