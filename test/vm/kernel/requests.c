// SPDX-License-Identifier: GPL-2.0-only
/* What becomes of a request, and what its completion says of it. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>

#include "harness.h"

TEST(request_is_copied)
{
	struct device from = device_map(DAX0), to = device_map(DAX1);
	int dma = dma_open();
	uint32_t src = region_of(dma, DAX0, 100, 4 * MIB), dst = region_of(dma, DAX1, 5, 8 * MIB);
	struct ioat_dma_segment segments[] = {
		{ 0, 10, 1000 },
		{ MIB, 3 * MIB + 1, 2 * MIB },
	};
	struct ioat_dma_submit submit = submission(src, dst, segments, 2);
	struct ioat_dma_completion done;
	struct pollfd ready = { .fd = dma, .events = POLLIN | POLLOUT };

	EXPECT_EQ(poll(&ready, 1, 0), 0);
	pattern(from.bytes + 100, 4 * MIB, 9);
	memset(to.bytes, POISON, 9 * MIB);
	submit.tag = 0x123456789abcdef0;
	DO(ioctl(dma, IOAT_DMA_SUBMIT, &submit));
	done = next_completion(dma);
	EXPECT_EQ(done.tag, 0x123456789abcdef0);
	EXPECT_EQ(done.status, IOAT_DMA_DONE);
	EXPECT_EQ(done.error, IOAT_DMA_ERROR_NONE);
	EXPECT_EQ(done.bytes_done, 1000 + 2 * MIB);
	EXPECT(done.channel < 2);
	EXPECT_EQ(done.flags, 0);
	EXPECT(!memcmp(to.bytes + 15, from.bytes + 100, 1000));
	EXPECT(!memcmp(to.bytes + 5 + 3 * MIB + 1, from.bytes + 100 + MIB, 2 * MIB));
	EXPECT(is_byte(to.bytes, 15, POISON));
	EXPECT(is_byte(to.bytes + 1015, 3 * MIB + 6 - 1015, POISON));
	EXPECT(is_byte(to.bytes + 5 * MIB + 6, MIB, POISON));
	EXPECT_EQ(poll(&ready, 1, 0), 0);
}

TEST(request_is_read)
{
	int dma = dma_open(), i;
	uint32_t src = region_of(dma, DAX0, 0, MIB), dst = region_of(dma, DAX1, 0, MIB);
	struct ioat_dma_completion three[4];
	uint8_t *page;

	EXPECT_ERRNO(EINVAL, read(dma, three, sizeof(three[0]) - 1));
	EXPECT_ERRNO(EINVAL, read(dma, three, 0));
	DO(fcntl(dma, F_SETFL, O_NONBLOCK));
	EXPECT_ERRNO(EAGAIN, read(dma, three, sizeof(three)));
	for (i = 0; i < 3; i++)
		DO(submit_one(dma, i, src, dst, (struct ioat_dma_segment){ 0, i * 4096, 4096 }));
	while (DO(ioctl(dma, IOAT_DMA_CHANNEL_INFO, &(struct ioat_dma_channel_info){
			.size = sizeof(struct ioat_dma_channel_info) })) == 0 &&
	       (channel_info(dma, 0).out_in_flight || channel_info(dma, 1).out_in_flight))
		;
	usleep(20000);
	/* a record that cannot be handed over is not lost */
	EXPECT_ERRNO(EFAULT, read(dma, (void *)-4096, sizeof(three)));
	page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	DO(munmap(page + 4096, 4096));
	EXPECT_EQ(read(dma, page + 4096 - sizeof(three[0]) - 8, sizeof(three)), sizeof(three[0]));
	memset(three, POISON, sizeof(three));
	EXPECT_EQ(read(dma, three, sizeof(three) - 1), 2 * sizeof(three[0]));
	EXPECT(is_byte((uint8_t *)&three[2], sizeof(three[2]), POISON));
	EXPECT_ERRNO(EAGAIN, read(dma, three, sizeof(three)));
}

static void on_alarm(int signal)
{
	(void)signal;
}

TEST(request_is_waited_for)
{
	int dma = dma_open();
	uint32_t src = region_of(dma, DAX0, 0, MIB), dst = region_of(dma, DAX1, 0, MIB);
	struct ioat_dma_completion done;
	struct sigaction action = { .sa_handler = on_alarm };

	sigaction(SIGALRM, &action, NULL);
	alarm(1);
	EXPECT_ERRNO(EINTR, read(dma, &done, sizeof(done)));
	shell("fault delay=60ms");
	DO(submit_one(dma, 5, src, dst, (struct ioat_dma_segment){ 0, 0, 4096 }));
	EXPECT_EQ(read(dma, &done, sizeof(done)), sizeof(done));
	EXPECT_EQ(done.tag, 5);
	EXPECT(done.completed_ns - done.submitted_ns >= 40000000);
}

/* In flight and unread together are bounded, and reading makes room again. */
TEST(request_has_limits)
{
	int dma = dma_open();
	uint32_t src = region_of(dma, DAX0, 0, MIB), dst = region_of(dma, DAX1, 0, 8 * MIB);
	struct ioat_dma_segment segment = { 0, 0, 64 };
	struct ioat_dma_segment *many = calloc(4096, sizeof(*many));
	struct ioat_dma_submit submit;
	struct ioat_dma_info info = { .size = sizeof(info) };
	uint32_t made = 0, i;

	if (iommu_is_emulated())
		test_skip("65,536 mappings take longer than a request may");
	DO(ioctl(dma, IOAT_DMA_INFO, &info));
	while (!submit_one(dma, made, src, dst, segment)) {
		made++;
		segment.dst_offset += 64;
	}
	EXPECT_EQ(errno, EAGAIN);
	EXPECT_EQ(made, info.out_max_requests);
	for (i = 0; i < made; i++)
		EXPECT_EQ(next_completion(dma).status, IOAT_DMA_DONE);
	DO(submit_one(dma, 0, src, dst, segment));
	next_completion(dma);
	/* likewise the segments of all of them */
	submit = submission(src, dst, many, 4096);
	for (made = 0;; made++) {
		for (i = 0; i < 4096; i++)
			many[i] = (struct ioat_dma_segment){ 0, (made * 4096 + i) * 64, 64 };
		if (ioctl(dma, IOAT_DMA_SUBMIT, &submit))
			break;
	}
	EXPECT_EQ(errno, EAGAIN);
	EXPECT_EQ(made, info.out_max_queued / 4096);
	for (i = 0; i < made; i++) {
		struct ioat_dma_completion done = next_completion(dma);

		EXPECT_EQ(done.status, IOAT_DMA_DONE);
		EXPECT_EQ(done.bytes_done, 4096 * 64);
	}
}

TEST(request_has_a_channel_of_its_own_choice)
{
	int dma = dma_open();
	uint32_t src = region_of(dma, DAX0, 0, MIB), dst = region_of(dma, DAX1, 0, MIB), i;
	struct ioat_dma_segment segment = { 0, 0, 4096 };
	struct ioat_dma_completion done;

	for (i = 0; i < 20; i++) {
		struct ioat_dma_submit submit = submission(src, dst, &segment, 1);
		struct ioat_dma_channel_info before[2] = { channel_info(dma, 0), channel_info(dma, 1) };

		submit.channel = i & 1;
		DO(ioctl(dma, IOAT_DMA_SUBMIT, &submit));
		done = next_completion(dma);
		EXPECT_EQ(done.channel, i & 1);
		EXPECT_EQ(done.channels, 1 << (i & 1));
		EXPECT_EQ(channel_info(dma, i & 1).out_operations, before[i & 1].out_operations + 1);
		EXPECT_EQ(channel_info(dma, i & 1).out_bytes, before[i & 1].out_bytes + 4096);
		EXPECT_EQ(channel_info(dma, !(i & 1)).out_operations, before[!(i & 1)].out_operations);
	}
}

TEST(request_uses_all_channels)
{
	int dma = dma_open();
	uint32_t src = region_of(dma, DAX0, 0, 128 * MIB), dst = region_of(dma, DAX1, 0, 128 * MIB);
	uint64_t before[2] = { channel_info(dma, 0).out_bytes, channel_info(dma, 1).out_bytes };
	struct ioat_dma_completion done;

	shell("fault delay=2msx40");
	DO(submit_one(dma, 1, src, dst, (struct ioat_dma_segment){ 0, 0, 128 * MIB }));
	done = next_completion(dma);
	EXPECT_EQ(done.bytes_done, 128 * MIB);
	EXPECT_EQ(done.channels, 3);
	shell("fault clear");
	EXPECT(channel_info(dma, 0).out_bytes - before[0] >= 8 * MIB);
	EXPECT(channel_info(dma, 1).out_bytes - before[1] >= 8 * MIB);
}

/* Each segment reads what the one before wrote. */
TEST(request_has_ordered_segments)
{
	struct device dax = device_map(DAX0);
	int dma = dma_open(), round, i;
	uint32_t region = region_of(dma, DAX0, 0, 128 * MIB);
	struct ioat_dma_segment segments[16];
	struct ioat_dma_submit submit = submission(region, region, segments, 16);

	for (i = 0; i < 16; i++)
		segments[i] = (struct ioat_dma_segment){ i * 3 * MIB, (i + 1) * 3 * MIB, 3 * MIB };
	submit.flags = IOAT_DMA_SUBMIT_ORDERED;
	for (round = 0; round < 3; round++) {
		pattern(dax.bytes, 3 * MIB, 40 + round);
		memset(dax.bytes + 3 * MIB, POISON, 48 * MIB);
		DO(ioctl(dma, IOAT_DMA_SUBMIT, &submit));
		EXPECT_EQ(next_completion(dma).status, IOAT_DMA_DONE);
		EXPECT(is_pattern(dax.bytes + 48 * MIB, 3 * MIB, 40 + round));
	}
}

TEST(request_is_canceled)
{
	int dma = dma_open(), other = dma_open(), i, canceled = 0;
	uint32_t src = region_of(dma, DAX0, 0, 128 * MIB), dst = region_of(dma, DAX1, 0, 128 * MIB);
	struct ioat_dma_cancel cancel = { .size = sizeof(cancel), .tag = 77, .out_canceled = 0x5c };
	struct ioat_dma_completion done;

	EXPECT_IOCTL_ERRNO(ENOENT, dma, IOAT_DMA_CANCEL, &cancel);
	shell("fault delay=20msx*");
	for (i = 0; i < 4; i++)
		DO(submit_one(dma, i ? 77 : 76, src, dst, (struct ioat_dma_segment){ 0, 0, 128 * MIB }));
	EXPECT_IOCTL_ERRNO(ENOENT, other, IOAT_DMA_CANCEL, &cancel);
	DO(ioctl(dma, IOAT_DMA_CANCEL, &cancel));
	EXPECT_EQ(cancel.out_canceled, 3);
	cancel.tag = 76;
	DO(ioctl(dma, IOAT_DMA_CANCEL, &cancel));
	EXPECT_EQ(cancel.out_canceled, 1);
	for (i = 0; i < 4; i++) {
		done = next_completion(dma);
		EXPECT_EQ(done.status, IOAT_DMA_CANCELED);
		EXPECT(done.bytes_done < 128 * MIB);
		EXPECT_EQ(done.flags, 0);
		canceled += done.tag == 77;
	}
	shell("fault clear");
	EXPECT_EQ(canceled, 3);
	EXPECT_IOCTL_ERRNO(ENOENT, dma, IOAT_DMA_CANCEL, &cancel);
}

TEST(request_times_out)
{
	int dma = dma_open();
	uint32_t src = region_of(dma, DAX0, 0, 128 * MIB), dst = region_of(dma, DAX1, 0, 128 * MIB);
	struct ioat_dma_segment segment = { 0, 0, 128 * MIB };
	struct ioat_dma_submit submit = submission(src, dst, &segment, 1);
	struct ioat_dma_completion done, settled;
	uint64_t start = now_ms();

	shell("fault delay=20msx*");
	submit.timeout_ms = 200;
	DO(ioctl(dma, IOAT_DMA_SUBMIT, &submit));
	done = next_completion(dma);
	EXPECT_EQ(done.status, IOAT_DMA_TIMED_OUT);
	EXPECT(done.bytes_done < 128 * MIB);
	EXPECT(done.completed_ns - done.submitted_ns >= 200000000);
	EXPECT(done.completed_ns - done.submitted_ns < patience(2000) * 1000000ULL);
	EXPECT(now_ms() - start < (uint64_t)patience(5000));
	EXPECT_EQ(done.flags, IOAT_DMA_COMPLETION_UNSETTLED);
	settled = next_record(dma);
	EXPECT_EQ(settled.flags, IOAT_DMA_COMPLETION_SETTLED);
	settled.flags = done.flags;
	settled.channels = done.channels;
	EXPECT(!memcmp(&settled, &done, sizeof(done)));
	shell("fault clear");
	wait_for_channels(dma, IOAT_DMA_CHANNEL_READY, 2, 10000);
}

/*
 * Who reads of a timeout only when the hardware is through reads of it once, and to have
 * failed to read before does not count.
 */
TEST(request_timeout_is_read_late)
{
	int dma = dma_open();
	uint32_t src = region_of(dma, DAX0, 0, 128 * MIB), dst = region_of(dma, DAX1, 0, 128 * MIB);
	struct ioat_dma_segment segment = { 0, 0, 128 * MIB };
	struct ioat_dma_submit submit = submission(src, dst, &segment, 1);
	struct ioat_dma_completion done;
	struct pollfd ready = { .fd = dma, .events = POLLIN };
	int i;

	shell("fault delay=20msx*");
	submit.timeout_ms = 200;
	DO(ioctl(dma, IOAT_DMA_SUBMIT, &submit));
	EXPECT_EQ(poll(&ready, 1, patience(30000)), 1);
	EXPECT_ERRNO(EFAULT, read(dma, (void *)-4096, sizeof(done)));
	shell("fault clear");
	for (i = 0; i < 2; i++)
		while (channel_info(dma, i).out_in_flight)
			usleep(5000);
	wait_for_channels(dma, IOAT_DMA_CHANNEL_READY, 2, 10000);
	/* a channel that has done this one is through with what it had before */
	segment.length = 1;
	submit.timeout_ms = 0;
	for (i = 0; i < 2; i++) {
		uint64_t before = channel_info(dma, i).out_operations;

		submit.channel = i;
		DO(ioctl(dma, IOAT_DMA_SUBMIT, &submit));
		while (channel_info(dma, i).out_operations == before)
			usleep(1000);
	}
	done = next_record(dma);
	EXPECT_EQ(done.status, IOAT_DMA_TIMED_OUT);
	EXPECT_EQ(done.flags, 0);
	for (i = 0; i < 2; i++)
		EXPECT_EQ(next_record(dma).status, IOAT_DMA_DONE);
	EXPECT_EQ(poll(&ready, 1, 200), 0);
}

/* A stream of large requests of one file does not keep a small one of another waiting. */
TEST(request_waits_its_turn_only)
{
	int greedy = dma_open(), modest = dma_open(), passed = 0, i;
	uint32_t src = region_of(greedy, DAX0, 0, 128 * MIB), dst = region_of(greedy, DAX1, 0, 128 * MIB);
	uint32_t from = region_of(modest, DAX0, 0, MIB), to = region_of(modest, DAX1, 200 * MIB, MIB);
	struct ioat_dma_completion done, other;

	shell("fault delay=5msx*");
	for (i = 0; i < 8; i++)
		DO(submit_one(greedy, i, src, dst, (struct ioat_dma_segment){ 0, 0, 32 * MIB }));
	DO(submit_one(modest, 1, from, to, (struct ioat_dma_segment){ 0, 0, 4096 }));
	done = next_completion(modest);
	shell("fault clear");
	EXPECT_EQ(done.status, IOAT_DMA_DONE);
	/* a piece each by turns, so a request of 32 pieces that began meanwhile did not end */
	for (i = 0; i < 8; i++) {
		other = next_completion(greedy);
		EXPECT_EQ(other.status, IOAT_DMA_DONE);
		passed += other.completed_ns > done.submitted_ns &&
			  other.completed_ns < done.completed_ns;
	}
	EXPECT(passed <= 1);
}

/* The name is taken away, not the memory. */
TEST(request_outlives_its_regions)
{
	struct device from = device_map(DAX0), to = device_map(DAX1);
	int dma = dma_open();
	struct ioat_dma_region_destroy destroy = { .size = sizeof(destroy) };
	uint32_t src = region_of(dma, DAX0, 0, 16 * MIB), dst = region_of(dma, DAX1, 0, 16 * MIB);
	struct ioat_dma_completion done;

	pattern(from.bytes, 16 * MIB, 12);
	memset(to.bytes, POISON, 16 * MIB);
	shell("fault delay=50ms");
	DO(submit_one(dma, 1, src, dst, (struct ioat_dma_segment){ 0, 0, 16 * MIB }));
	destroy.region = src;
	DO(ioctl(dma, IOAT_DMA_REGION_DESTROY, &destroy));
	destroy.region = dst;
	DO(ioctl(dma, IOAT_DMA_REGION_DESTROY, &destroy));
	done = next_completion(dma);
	EXPECT_EQ(done.status, IOAT_DMA_DONE);
	EXPECT_EQ(done.bytes_done, 16 * MIB);
	EXPECT(!memcmp(from.bytes, to.bytes, 16 * MIB));
}

/* All of it was with a channel: it ends as it ends. */
TEST(request_canceled_too_late)
{
	int dma = dma_open();
	uint32_t src = region_of(dma, DAX0, 0, MIB), dst = region_of(dma, DAX1, 0, MIB);
	struct ioat_dma_cancel cancel = { .size = sizeof(cancel), .tag = 3 };
	struct ioat_dma_completion done;

	shell("fault delay=60ms");
	DO(submit_one(dma, 3, src, dst, (struct ioat_dma_segment){ 0, 0, 4096 }));
	while (!channel_info(dma, 0).out_in_flight && !channel_info(dma, 1).out_in_flight)
		;
	if (!ioctl(dma, IOAT_DMA_CANCEL, &cancel))
		EXPECT_EQ(cancel.out_canceled, 1);
	else
		EXPECT_EQ(errno, ENOENT); /* a slow machine, and it was done before */
	done = next_completion(dma);
	EXPECT_EQ(done.status, IOAT_DMA_DONE);
	EXPECT_EQ(done.bytes_done, 4096);
}

/* Zero is 10 s, and the longest that there is can be asked for. */
TEST(request_has_a_timeout_of_its_own)
{
	int dma = dma_open(), i;
	uint32_t src = region_of(dma, DAX0, 0, 128 * MIB), dst = region_of(dma, DAX1, 0, 128 * MIB);
	struct ioat_dma_segment segments[32];
	struct ioat_dma_submit submit = submission(src, dst, segments, 32);
	struct ioat_dma_completion done;

	for (i = 0; i < 32; i++)
		segments[i] = (struct ioat_dma_segment){ 0, 0, 128 * MIB };
	/* 4 GiB in pieces of 1 MiB, 20 ms each, on two channels take 41 s */
	submit.flags = IOAT_DMA_SUBMIT_ORDERED;
	submit.timeout_ms = 0;
	shell("fault delay=20msx*");
	DO(ioctl(dma, IOAT_DMA_SUBMIT, &submit));
	done = next_completion(dma);
	shell("fault clear");
	EXPECT_EQ(done.status, IOAT_DMA_TIMED_OUT);
	EXPECT(done.completed_ns - done.submitted_ns >= 10000000000);
	EXPECT(done.bytes_done < 4096 * MIB);
	wait_for_channels(dma, IOAT_DMA_CHANNEL_READY, 2, 10000);
	submit.segment_count = 1;
	submit.timeout_ms = 3600000;
	DO(ioctl(dma, IOAT_DMA_SUBMIT, &submit));
	EXPECT_EQ(next_completion(dma).status, IOAT_DMA_DONE);
}
