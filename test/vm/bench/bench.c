// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the module's own interface costs, against the original's in the same run. Rounds
 * of all the measurements take turns.
 *
 * Prints a table, and writes the same as JSON to the file that it is given.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <linux/ioat_dma.h>

#include "polled.h"
#include "rows.h"

#define DEPTH 32
#define PIECE 4096
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

/* Operations of a round: enough for some 100 ms even under emulation. */
#define SYNC_OPERATIONS 256
#define ASYNC_OPERATIONS 2048
#define SUBMISSIONS 64
#define LARGE 64 /* MiB */

static int dma;
/* regions: of a gigabyte each, and of so little */
static uint32_t src, dst, small_src, small_dst;

static void die(const char *what)
{
	fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * UINT64_C(1000000000) + now.tv_nsec;
}

static uint32_t region_of(const char *path, uint64_t length)
{
	struct ioat_dma_region_create create = { .size = sizeof(create), .length = length };

	create.fd = open(path, O_RDWR);
	if (create.fd < 0 || ioctl(dma, IOAT_DMA_REGION_CREATE, &create))
		die(path);
	close(create.fd);
	return create.out_region;
}

static void submit(uint32_t from, uint32_t to, const struct ioat_dma_segment *segments, uint32_t count)
{
	struct ioat_dma_submit submit = {
		.size = sizeof(submit), .src_region = from, .dst_region = to,
		.channel = 0, .segments = (uintptr_t)segments,
		.segment_count = count,
	};

	if (ioctl(dma, IOAT_DMA_SUBMIT, &submit))
		die("submit");
}

/* How many were there. All have to be of @status. */
static int collect(uint32_t status)
{
	struct ioat_dma_completion done[DEPTH];
	ssize_t got = read(dma, done, sizeof(done)), i;

	if (got < 0)
		die("read");
	got /= sizeof(done[0]);
	for (i = 0; i < got; i++)
		if (done[i].status != status) {
			fprintf(stderr, "bench: a copy ended with status %u\n", done[i].status);
			exit(1);
		}
	return got;
}

/* Operations a second, as are the next three. */
static double sync_copies(void)
{
	struct ioat_dma_legacy_copy copy = { .device_name = "/dev/dax0.0", .size = PIECE };
	uint64_t start = now_ns();
	int i;

	for (i = 0; i < SYNC_OPERATIONS; i++) {
		copy.src_offset = i % DEPTH * PIECE;
		copy.dst_offset = MIB + i % DEPTH * PIECE;
		if (ioctl(dma, IOAT_DMA_LEGACY_COPY, &copy))
			die("the original's copy");
	}
	return SYNC_OPERATIONS * 1e9 / (now_ns() - start);
}

/* @depth requests of one piece each, a new one for each that ended. */
static double requests(int depth, int operations)
{
	uint64_t start = now_ns();
	int submitted = 0, done = 0;

	while (done < operations) {
		while (submitted < operations && submitted - done < depth) {
			uint64_t at = submitted++ % DEPTH * PIECE;
			struct ioat_dma_segment segment = { at, at, PIECE };

			submit(src, dst, &segment, 1);
		}
		done += collect(IOAT_DMA_DONE);
	}
	return operations * 1e9 / (now_ns() - start);
}

static double requests_one_by_one(void)
{
	return requests(1, SYNC_OPERATIONS);
}

static double requests_at_depth(void)
{
	return requests(DEPTH, ASYNC_OPERATIONS);
}

/* Requests of DEPTH pieces, one after the other. */
static double segments_of_one_request(void)
{
	struct ioat_dma_segment segments[DEPTH];
	uint64_t start;
	int i;

	for (i = 0; i < DEPTH; i++)
		segments[i] = (struct ioat_dma_segment){ i * PIECE, i * PIECE, PIECE };
	start = now_ns();
	for (i = 0; i < ASYNC_OPERATIONS / DEPTH; i++) {
		submit(src, dst, segments, DEPTH);
		collect(IOAT_DMA_DONE);
	}
	return ASYNC_OPERATIONS * 1e9 / (now_ns() - start);
}

/* Operations a second of a driver in user space, on a channel of its own. */
static double polled(int depth, int operations)
{
	uint64_t start = now_ns();

	polled_copies(depth, operations, PIECE);
	return operations * 1e9 / (now_ns() - start);
}

static double polled_one_by_one(void)
{
	return polled(1, SYNC_OPERATIONS);
}

static double polled_at_depth(void)
{
	return polled(DEPTH, ASYNC_OPERATIONS);
}

/* MiB a second, as is the next. */
static double large_request(void)
{
	struct ioat_dma_segment segment = { 0, 0, LARGE * MIB };
	uint64_t start = now_ns();

	submit(src, dst, &segment, 1);
	collect(IOAT_DMA_DONE);
	return LARGE * 1e9 / (now_ns() - start);
}

/* By the CPU, its start included, as a script has it */
static double large_daxio(void)
{
	char command[100];
	uint64_t start = now_ns();

	snprintf(command, sizeof(command), "daxio -i /dev/dax0.0 -o /dev/dax1.0 -l %dM >/dev/null 2>&1", LARGE);
	if (system(command)) {
		fprintf(stderr, "bench: failed: %s\n", command);
		exit(1);
	}
	return LARGE * 1e9 / (now_ns() - start);
}

/* Microseconds from a submission's entry to its return, nothing else being in flight. */
static double submission(uint32_t from, uint32_t to, uint64_t length)
{
	struct ioat_dma_segment segment = { 0, 0, length };
	struct ioat_dma_cancel cancel = { .size = sizeof(cancel) };
	uint64_t took = 0, start;
	int i;

	for (i = 0; i < SUBMISSIONS; i++) {
		start = now_ns();
		submit(from, to, &segment, 1);
		took += now_ns() - start;
		if (length == PIECE) {
			collect(IOAT_DMA_DONE);
			continue;
		}
		/* what it has to copy is nobody's interest here */
		if (ioctl(dma, IOAT_DMA_CANCEL, &cancel))
			die("cancel");
		collect(IOAT_DMA_CANCELED);
	}
	return took / 1e3 / SUBMISSIONS;
}

static double submission_of_4_kib(void)
{
	return submission(src, dst, PIECE);
}

static double submission_in_2_mib(void)
{
	return submission(small_src, small_dst, PIECE);
}

static double submission_of_1_gib(void)
{
	return submission(src, dst, GIB);
}

static struct row rows[] = {
	{ .name = "original_sync_4KiB", .unit = "1/s", .measure = sync_copies },
	{ .name = "requests_depth1_4KiB", .unit = "1/s", .peer = "original_sync_4KiB", .measure = requests_one_by_one },
	{ .name = "requests_depth32_4KiB", .unit = "1/s", .peer = "original_sync_4KiB", .measure = requests_at_depth },
	{ .name = "segments_depth32_4KiB", .unit = "1/s", .peer = "original_sync_4KiB", .measure = segments_of_one_request },
	{ .name = "polled_depth1_4KiB", .unit = "1/s", .peer = "requests_depth1_4KiB", .measure = polled_one_by_one },
	{ .name = "polled_depth32_4KiB", .unit = "1/s", .peer = "requests_depth32_4KiB", .measure = polled_at_depth },
	{ .name = "daxio_64MiB", .unit = "MiB/s", .measure = large_daxio },
	{ .name = "request_64MiB", .unit = "MiB/s", .peer = "daxio_64MiB", .measure = large_request },
	{ .name = "submit_4KiB_region_2MiB", .unit = "us", .measure = submission_in_2_mib },
	{ .name = "submit_4KiB_region_1GiB", .unit = "us", .peer = "submit_4KiB_region_2MiB", .measure = submission_of_4_kib },
	{ .name = "submit_1GiB", .unit = "us", .peer = "submit_4KiB_region_1GiB", .measure = submission_of_1_gib },
};

#define ROWS (sizeof(rows) / sizeof(rows[0]))

/* SLOT: of a DMA device without a driver; JSON: the file to write */
int main(int argc, char **argv)
{
	int round;
	size_t i;

	if (argc != 3) {
		fprintf(stderr, "usage: bench SLOT JSON\n");
		return 1;
	}
	polled_open(argv[1]);
	dma = open("/dev/ioat-dma", O_RDWR);
	if (dma < 0)
		die("/dev/ioat-dma");
	src = region_of("/dev/dax0.0", GIB);
	dst = region_of("/dev/dax1.0", GIB);
	small_src = region_of("/dev/dax0.0", 2 * MIB);
	small_dst = region_of("/dev/dax1.0", 2 * MIB);
	for (i = 0; i < ROWS; i++)
		rows[i].measure(); /* its code and memory are warm then */
	for (round = 0; round < ROUNDS; round++)
		for (i = 0; i < ROWS; i++)
			rows[i].rounds[round] = rows[i].measure();
	if (!rows_report(rows, ROWS, argv[2]))
		die(argv[2]);
	return 0;
}
