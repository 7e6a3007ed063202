// SPDX-License-Identifier: Apache-2.0
/* A writer's descriptor may take nothing: full, stalled, without a reader. */
#include "fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CAPACITY 8192u

static struct dma_shim_writer *writer_on(int fd)
{
	struct dma_shim_writer *writer;

	signal(SIGPIPE, SIG_IGN);
	CHECK_EQ(dma_shim_writer_open(fd, CAPACITY, &writer), 0);
	return writer;
}

static int put(struct dma_shim_writer *writer, const char *text)
{
	return dma_shim_writer_put(writer, text, (uint32_t)strlen(text), CAPACITY);
}

static struct dma_shim_writer_state state_of(struct dma_shim_writer *writer)
{
	struct dma_shim_writer_state state;

	dma_shim_writer_state(writer, &state);
	return state;
}

/* Reads until the text is complete, or for ten seconds. */
static void expect(int fd, const char *text)
{
	size_t size = strlen(text), got = 0;
	char buffer[2 * CAPACITY];

	while (got < size) {
		struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
		ssize_t more;

		CHECK_EQ(poll(&poll_fd, 1, 10000), 1);
		more = read(fd, buffer + got, size - got);
		CHECK(more > 0);
		got += (size_t)more;
	}
	CHECK_EQ(memcmp(buffer, text, size), 0);
}

TEST(a_writer_writes_in_order_and_drains)
{
	int ends[2];
	struct dma_shim_writer *writer;

	SYS(pipe(ends));
	writer = writer_on(ends[1]);
	CHECK_EQ(put(writer, "first\n"), 0);
	CHECK_EQ(put(writer, "second\n"), 0);
	CHECK_EQ(dma_shim_writer_drain(writer, 10000), 0);
	expect(ends[0], "first\nsecond\n");
	CHECK_EQ(state_of(writer).waiting, 0);
	CHECK_EQ(state_of(writer).stalled_ns, 0);
}

TEST(a_writer_goes_round_its_ring)
{
	int ends[2];
	struct dma_shim_writer *writer;
	char line[1001];

	SYS(pipe(ends));
	writer = writer_on(ends[1]);
	for (unsigned n = 0; n < 200; n++) {
		size_t size = 1 + random_below(999);

		memset(line, 'a' + (int)(n % 26), size);
		line[size - 1] = '\n';
		line[size] = 0;
		while (put(writer, line) == -ENOBUFS)
			usleep(100);
		expect(ends[0], line);
	}
}

TEST(a_stalled_reader_keeps_nobody_waiting_and_loses_nothing_that_was_taken)
{
	int ends[2];
	struct dma_shim_writer *writer;
	unsigned taken = 0;
	char line[101];

	SYS(pipe(ends));
	writer = writer_on(ends[1]);
	memset(line, 'x', 99);
	strcpy(line + 99, "\n");
	/* What the pipe holds, and then what the ring holds */
	for (unsigned tries = 0; tries < 2000; tries++) {
		if (put(writer, line) == 0)
			taken++;
		else
			usleep(100);
	}
	CHECK(taken < 1000);
	CHECK_EQ(put(writer, line), -ENOBUFS);
	CHECK_EQ(dma_shim_writer_put(writer, "urgent\n", 7, CAPACITY), 0);
	CHECK_EQ(dma_shim_writer_put(writer, "not so\n", 7, CAPACITY / 2), -ENOBUFS);
	CHECK(state_of(writer).waiting > CAPACITY - 100);
	CHECK(state_of(writer).stalled_ns > 0);
	CHECK_EQ(state_of(writer).error, 0);
	CHECK_EQ(dma_shim_writer_drain(writer, 20), -ETIMEDOUT);
	for (unsigned n = 0; n < taken; n++)
		expect(ends[0], line);
	expect(ends[0], "urgent\n");
	CHECK_EQ(dma_shim_writer_drain(writer, 10000), 0);
}

TEST(a_descriptor_that_somebody_made_non_blocking_is_waited_for)
{
	int ends[2];
	struct dma_shim_writer *writer;

	SYS(pipe(ends));
	SYS(fcntl(ends[1], F_SETFL, O_NONBLOCK));
	while (write(ends[1], "-", 1) == 1)
		;
	writer = writer_on(ends[1]);
	CHECK_EQ(put(writer, "late\n"), 0);
	CHECK_EQ(dma_shim_writer_drain(writer, 20), -ETIMEDOUT);
	for (unsigned n = 0; n < 65536; n++)
		expect(ends[0], "-");
	expect(ends[0], "late\n");
}

TEST(a_full_device_costs_nothing_but_the_lines)
{
	int fd = SYS(open("/dev/full", O_WRONLY));
	struct dma_shim_writer *writer = writer_on(fd);

	CHECK_EQ(put(writer, "lost\n"), 0);
	CHECK_EQ(dma_shim_writer_drain(writer, 10000), -ENOSPC);
	CHECK_EQ(state_of(writer).error, -ENOSPC);
	CHECK_EQ(state_of(writer).waiting, 5);
}

TEST(the_next_reader_of_a_fifo_begins_with_a_whole_line)
{
	char path[256], line[1002], rest[3000];
	struct dma_shim_writer *writer;
	int fd, reader;

	snprintf(path, sizeof(path), "%s/fifo", scratch());
	SYS(mkfifo(path, 0600));
	reader = SYS(open(path, O_RDONLY | O_NONBLOCK));
	fd = SYS(open(path, O_WRONLY));
	SYS(fcntl(fd, F_SETPIPE_SZ, 4096));
	writer = writer_on(fd);

	/* Four and some hundred bytes of a fifth would fit. */
	memset(line, 'a', 1000);
	strcpy(line + 1000, "\n");
	for (unsigned n = 0; n < 6; n++)
		CHECK_EQ(put(writer, line), 0);
	expect(reader, line);
	close(reader);
	CHECK_EQ(dma_shim_writer_drain(writer, 10000), -EPIPE);

	reader = SYS(open(path, O_RDONLY | O_NONBLOCK));
	CHECK_EQ(put(writer, "and on\n"), 0);
	for (unsigned n = 0; n < 5; n++)
		expect(reader, line);
	expect(reader, "and on\n");
	CHECK_EQ(dma_shim_writer_drain(writer, 10000), 0);
	CHECK_EQ(state_of(writer).error, 0);
	CHECK_EQ(read(reader, rest, sizeof(rest)), -1);
}
