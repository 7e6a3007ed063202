// SPDX-License-Identifier: Apache-2.0
/* Records on their way: never lost, doubled, torn, or in anybody's way. */
#include "fixture.h"

#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct file small_device(struct context *context)
{
	return file_device(context, "small", 2 * MIB);
}

/* No two of up to 20,000 at once write the same bytes. */
static void submit_small(struct context *context, const struct file *file, uint64_t tag)
{
	CHECK_EQ(submit_one(context, job_of(tag, file->handle, file->handle),
			    0, 4096 + 64 * tag, 64), 0);
}

/* Wait until no job is in flight, without reading the socket. */
static void wait_drained(struct context *context)
{
	pthread_mutex_lock(&context->shim->lock);
	while (context->shim->jobs)
		pthread_cond_wait(&context->shim->drained, &context->shim->lock);
	pthread_mutex_unlock(&context->shim->lock);
}

static void expect_each_once(struct context *context, uint64_t count)
{
	unsigned char *seen = calloc(count, 1);

	for (uint64_t n = 0; n < count; n++) {
		struct dma_shim_completion record = next_done(context);

		CHECK_EQ(record.status, 0);
		CHECK(record.tag < count && !seen[record.tag]);
		seen[record.tag] = 1;
	}
	no_more_records(context);
	free(seen);
}

TEST(the_socket_is_handed_out_once)
{
	struct context context = context_open(1);

	CHECK_EQ(dma_shim_completion_fd(context.shim), -EBUSY);
	context_close(&context);
}

TEST(ten_thousand_records_wait_for_a_reader)
{
	struct context context = context_open(2);
	struct file file = small_device(&context);

	for (uint64_t n = 0; n < 10000; n++)
		submit_small(&context, &file, n);
	wait_drained(&context);
	expect_each_once(&context, 10000);
	/* And it goes on as if nothing had been. */
	submit_small(&context, &file, 5);
	CHECK_EQ(done_of(&context, 5).status, 0);
	context_close(&context);
}

TEST(a_slow_reader_gets_every_record)
{
	struct context context = context_open(2);
	struct file file = small_device(&context);
	unsigned char *seen = calloc(20000, 1);
	uint64_t submitted = 0;

	for (uint64_t read = 0; read < 20000; read++) {
		struct dma_shim_completion record;

		while (submitted < 20000 && submitted < 3 * (read + 1))
			submit_small(&context, &file, submitted++);
		record = next_done(&context);
		CHECK(record.tag < submitted && !seen[record.tag]);
		seen[record.tag] = 1;
	}
	no_more_records(&context);
	free(seen);
	context_close(&context);
}

/* What a socket may do, and more often than it would */
static ssize_t unwilling_send(int socket, const void *bytes, size_t size, int flags)
{
	static _Atomic unsigned int calls;
	unsigned int call = calls++;

	CHECK(flags & MSG_DONTWAIT);
	CHECK(flags & MSG_NOSIGNAL);
	switch (call * 2654435761u >> 29) {
	case 0:
		errno = EINTR;
		return -1;
	case 1:
		errno = EAGAIN;
		return -1;
	case 2:
		errno = call % 16 ? EAGAIN : ENOBUFS;
		return -1;
	case 3:
		return __real_send(socket, bytes, 1, flags);
	case 4:
	case 5:
		return __real_send(socket, bytes, 1 + call % size, flags);
	default:
		return __real_send(socket, bytes, size, flags);
	}
}

TEST(records_survive_partial_and_refused_sends)
{
	struct context context = context_open(2);
	struct file file = small_device(&context);

	hooks.send = unwilling_send;
	for (uint64_t n = 0; n < 3000; n++)
		submit_small(&context, &file, n);
	expect_each_once(&context, 3000);
	context_close(&context);
}

static struct gate gate = GATE;

static void copy_at_gate(const struct stream_kernel *kernel, unsigned char *to,
			 const unsigned char *from, size_t size)
{
	gate_wait(&gate);
	__real_copy_streaming(kernel, to, from, size);
}

static _Atomic unsigned int sends;

static ssize_t count_send(int socket, const void *bytes, size_t size, int flags)
{
	sends++;
	return __real_send(socket, bytes, size, flags);
}

TEST(records_go_out_in_batches_under_load)
{
	struct context context = context_open(1);
	struct file file = file_device(&context, "a", 2 * MIB);

	hooks.copy_streaming = copy_at_gate;
	hooks.send = count_send;
	CHECK_EQ(submit_one(&context, job_of(0, file.handle, file.handle), 0, MIB, MIB), 0);
	gate_await(&gate, 1);
	for (uint64_t n = 1; n < 1000; n++)
		submit_small(&context, &file, n);
	gate_let(&gate, GATE_OPEN);
	expect_each_once(&context, 1000);
	CHECK(sends <= 1000 / 20);
	context_close(&context);
}

TEST(a_reader_that_has_gone_stops_nothing)
{
	struct context context = context_open(2);
	struct file file = small_device(&context);

	for (uint64_t n = 0; n < 500; n++)
		submit_small(&context, &file, n);
	close(context.socket);
	for (uint64_t n = 500; n < 5000; n++)
		submit_small(&context, &file, n);
	wait_drained(&context);
	dma_shim_close(context.shim);
}

TEST(a_reader_that_goes_while_records_are_stuck_stops_nothing)
{
	struct context context = context_open(2);
	struct file file = small_device(&context);

	for (uint64_t n = 0; n < 20000; n++)
		submit_small(&context, &file, n);
	wait_drained(&context);
	close(context.socket);
	submit_small(&context, &file, 1);
	wait_drained(&context);
	dma_shim_close(context.shim);
}

TEST(closing_sends_the_last_records_then_end_of_file)
{
	struct context context = context_open(1);
	struct file file = small_device(&context);
	struct dma_shim_completion record;

	for (uint64_t n = 0; n < 100; n++)
		submit_small(&context, &file, n);
	dma_shim_close(context.shim);
	for (uint64_t n = 0; n < 100; n++) {
		CHECK(next_record(&context, &record));
		CHECK(record.status == 0 || record.status == -ECANCELED);
	}
	CHECK(!next_record(&context, &record));
	close(context.socket);
}

TEST(closing_does_not_wait_for_a_reader_for_ever)
{
	struct context context = context_open(1);
	struct file file = small_device(&context);
	struct dma_shim_completion record;
	unsigned int got = 0;

	for (uint64_t n = 0; n < 20000; n++)
		submit_small(&context, &file, n);
	dma_shim_close(context.shim);
	/* As much as the socket held, and no half record */
	while (next_record(&context, &record))
		got++;
	CHECK(got > 0 && got < 20000);
	close(context.socket);
}

static void *read_all(void *argument)
{
	struct context *context = argument;
	struct dma_shim_completion record;
	uintptr_t got = 0;

	while (next_record(context, &record))
		got++;
	return (void *)got;
}

TEST(closing_gives_a_reader_that_reads_everything)
{
	struct context context = context_open(1);
	struct file file = small_device(&context);
	pthread_t reader;
	void *got;

	for (uint64_t n = 0; n < 3000; n++)
		submit_small(&context, &file, n);
	CHECK_EQ(pthread_create(&reader, NULL, read_all, &context), 0);
	dma_shim_close(context.shim);
	pthread_join(reader, &got);
	CHECK_EQ((uintptr_t)got, 3000);
	close(context.socket);
}

TEST(closing_without_a_reader)
{
	struct dma_shim_options options = { .cpu_threads = 1 };
	struct context context = { .socket = -1 };
	struct file file;

	CHECK_EQ(dma_shim_open(&options, &context.shim), 0);
	file = small_device(&context);
	for (uint64_t n = 0; n < 5000; n++)
		submit_small(&context, &file, n);
	dma_shim_close(context.shim);
}

/* Let the library's threads go on only after what makes a record due. */
static void wait_interval(void)
{
	struct timespec time = { .tv_nsec = 110000000 };

	while (nanosleep(&time, &time) && errno == EINTR)
		;
}

TEST(progress_is_reported_when_bytes_have_moved)
{
	struct context context = context_open(1);
	struct file a = file_device(&context, "a", 16 * MIB);
	struct dma_shim_completion record;
	uint64_t bytes = 0;

	hooks.copy_streaming = copy_at_gate;
	CHECK_EQ(submit_one(&context, job_of(1, a.handle, a.handle), 0, 8 * MIB, 8 * MIB), 0);
	for (unsigned int n = 1; n <= 3; n++) {
		gate_await(&gate, n);
		no_more_records(&context);
		wait_interval();
		gate_let(&gate, 1);
		CHECK(next_record(&context, &record));
		CHECK_EQ(record.kind, DMA_SHIM_PROGRESS);
		CHECK_EQ(record.tag, 1);
		CHECK(record.bytes_done > bytes && record.bytes_done < 8 * MIB);
		CHECK_EQ(record.bytes_done, n * MIB);
		bytes = record.bytes_done;
	}
	gate_let(&gate, GATE_OPEN);
	CHECK_EQ(next_done(&context).bytes_done, 8 * MIB);
	context_close(&context);
}

/* Nobody reads, the socket is full: one record of the job waits, the newest. */
static _Atomic bool refuse;

static ssize_t refusing_send(int socket, const void *bytes, size_t size, int flags)
{
	if (refuse) {
		errno = ENOBUFS;
		return -1;
	}
	return __real_send(socket, bytes, size, flags);
}

TEST(newer_records_replace_progress_that_nobody_has_read)
{
	struct context context = context_open(1);
	struct file a = file_device(&context, "a", 16 * MIB);
	struct dma_shim_completion record;
	unsigned int records = 0;

	hooks.copy_streaming = copy_at_gate;
	hooks.send = refusing_send;
	refuse = true;
	CHECK_EQ(submit_one(&context, job_of(1, a.handle, a.handle), 0, 8 * MIB, 8 * MIB), 0);
	for (unsigned int n = 1; n <= 5; n++) {
		gate_await(&gate, n);
		wait_interval();
		gate_let(&gate, 1);
	}
	gate_let(&gate, GATE_OPEN);
	wait_drained(&context);
	refuse = false;
	do {
		CHECK(next_record(&context, &record));
		records++;
	} while (record.kind != DMA_SHIM_DONE);
	CHECK_EQ(record.bytes_done, 8 * MIB);
	/* One was being sent when the socket filled up, one took all others' place. */
	CHECK_EQ(records, 2);
	no_more_records(&context);
	context_close(&context);
}
