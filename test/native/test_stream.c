// SPDX-License-Identifier: Apache-2.0
/* Bytes between a device and a socket: ends that stall, leave; descriptors that are closed. */
#include "fixture.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* More than any socket's buffers hold */
#define LARGE (16 * MIB)

struct ends {
	int ours;       /* does not block */
	int theirs;
};

static struct ends unix_ends(void)
{
	int pair[2];

	SYS(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	SYS(fcntl(pair[0], F_SETFL, O_NONBLOCK));
	return (struct ends) { pair[0], pair[1] };
}

static struct ends tcp_ends(void)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t size = sizeof(address);
	int listener = SYS(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	struct ends ends;

	SYS(bind(listener, (struct sockaddr *)&address, size));
	SYS(listen(listener, 1));
	SYS(getsockname(listener, (struct sockaddr *)&address, &size));
	ends.theirs = SYS(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	SYS(connect(ends.theirs, (struct sockaddr *)&address, size));
	ends.ours = SYS(accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
	SYS(close(listener));
	return ends;
}

static void close_ends(const struct ends *ends)
{
	close(ends->ours);
	close(ends->theirs);
}

static int send_to(struct context *context, uint64_t tag, uint32_t device, int socket,
		   uint64_t from, uint64_t size)
{
	struct dma_shim_job job = job_of(tag, device, DMA_SHIM_SOCKET);

	job.socket = socket;
	return submit_one(context, job, from, 0, size);
}

static int receive_with(struct context *context, uint64_t tag, uint32_t device, int socket,
			uint64_t to, uint64_t size, uint32_t flags, uint32_t seed)
{
	struct dma_shim_job job = job_of(tag, DMA_SHIM_SOCKET, device);

	job.socket = socket;
	job.flags = flags;
	job.crc_seed = seed;
	return submit_one(context, job, 0, to, size);
}

static int receive_from(struct context *context, uint64_t tag, uint32_t device, int socket,
			uint64_t to, uint64_t size)
{
	return receive_with(context, tag, device, socket, to, size, DMA_SHIM_JOB_CHECKSUM, 0);
}

static void write_all(int socket, const unsigned char *bytes, uint64_t size)
{
	while (size) {
		ssize_t put = SYS(write(socket, bytes, size));

		bytes += put;
		size -= (uint64_t)put;
	}
}

/* Read exactly that, and find it equal. */
static void expect_bytes(int socket, const unsigned char *bytes, uint64_t size)
{
	static unsigned char part[64 * KIB];

	while (size) {
		struct pollfd readable = { .fd = socket, .events = POLLIN };
		ssize_t got;

		CHECK_EQ(poll(&readable, 1, 20000), 1);
		got = read(socket, part, size < sizeof(part) ? size : sizeof(part));
		if (got <= 0)
			FAIL("%" PRIu64 " bytes are missing", size);
		CHECK_EQ(memcmp(part, bytes, (size_t)got), 0);
		bytes += got;
		size -= (uint64_t)got;
	}
}

/* Whatever there is to read, to the end; how much it was */
static uint64_t drain(int socket)
{
	static unsigned char part[64 * KIB];
	uint64_t total = 0;
	ssize_t got;

	while ((got = read(socket, part, sizeof(part))) > 0)
		total += (uint64_t)got;
	return total;
}

static unsigned int open_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	unsigned int count = 0;

	CHECK(directory);
	while (readdir(directory))
		count++;
	closedir(directory);
	return count;
}

/* Until the stream has nothing to do but to wait for its socket */
static void wait_until_full(struct context *context, uint64_t tag)
{
	struct pollfd full = { .events = POLLOUT };
	bool idle = false;

	while (!idle) {
		struct job *job;

		pthread_mutex_lock(&context->shim->lock);
		job = tag_find(context->shim, tag);
		CHECK(job);
		full.fd = job->socket;
		idle = !job->running && job->bytes_done && poll(&full, 1, 0) == 0;
		pthread_mutex_unlock(&context->shim->lock);
		usleep(1000);
	}
}

static struct file noisy_device(struct context *context, const char *name)
{
	struct file file = file_device(context, name, LARGE);

	random_fill(file.bytes, file.size);
	return file;
}

static void sends_all(struct ends (*make)(void))
{
	struct context context = context_open(2);
	struct file file = noisy_device(&context, "a");
	static const uint64_t sizes[] = { 1, 4095, 4096, MIB, MIB + 1, 5 * MIB + 77, LARGE };
	struct ends ends = make();

	for (size_t n = 0; n < sizeof(sizes) / sizeof(*sizes); n++) {
		uint64_t from = random_below(LARGE - sizes[n] + 1);
		struct dma_shim_completion done;

		CHECK_EQ(send_to(&context, n, file.handle, ends.ours, from, sizes[n]), 0);
		expect_bytes(ends.theirs, file.bytes + from, sizes[n]);
		done = done_of(&context, n);
		CHECK_EQ(done.status, 0);
		CHECK_EQ(done.bytes_done, sizes[n]);
	}
	close(ends.ours);
	CHECK_EQ(drain(ends.theirs), 0);
	close(ends.theirs);
	context_close(&context);
}

TEST(a_stream_sends_all_bytes_and_no_other_over_tcp)
{
	sends_all(tcp_ends);
}

TEST(a_stream_sends_all_bytes_and_no_other_over_a_unix_socket)
{
	sends_all(unix_ends);
}

static ssize_t fails_with(int error)
{
	errno = error;
	return -1;
}

static _Atomic int disk_error;

static ssize_t disk_fails(int file, void *bytes, size_t size, off_t offset)
{
	if (offset >= (off_t)MIB)
		return fails_with(disk_error);
	return __real_pread(file, bytes, size, offset);
}

/* What a client reads are the bytes of when they were sent, whatever is written afterwards. */
TEST(what_was_sent_does_not_change_any_more)
{
	struct context context = context_open(1);
	struct file file = noisy_device(&context, "a");
	struct ends ends = tcp_ends();
	static unsigned char before[256 * KIB];

	memcpy(before, file.bytes, sizeof(before));
	CHECK_EQ(send_to(&context, 1, file.handle, ends.ours, 0, sizeof(before)), 0);
	CHECK_EQ(done_of(&context, 1).status, 0);
	memset(file.bytes, 0, sizeof(before));
	SYS(ftruncate(file.descriptor, 1));
	expect_bytes(ends.theirs, before, sizeof(before));
	close_ends(&ends);
	context_close(&context);
}

static int socket_error;

static ssize_t socket_fails(int socket, const void *bytes, size_t size, int flags)
{
	return size > sizeof(struct dma_shim_completion) * BATCH_RECORDS ?
	       fails_with(socket_error) : __real_send(socket, bytes, size, flags);
}

TEST(the_errors_of_the_other_end_are_told_apart_from_others)
{
	static const struct { int error, status; } errors[] = {
		{ EPIPE, -ECONNRESET }, { ETIMEDOUT, -ECONNRESET },
		{ EHOSTUNREACH, -ECONNRESET }, { ENETDOWN, -ECONNRESET },
		{ EACCES, -EIO }, { ENOBUFS, -EIO }, { EPERM, -EIO },
	};
	struct context context = context_open(1);
	struct file file = noisy_device(&context, "a");
	struct ends ends = tcp_ends();

	hooks.send = socket_fails;
	for (uint64_t n = 0; n < sizeof(errors) / sizeof(*errors); n++) {
		socket_error = errors[n].error;
		CHECK_EQ(send_to(&context, n, file.handle, ends.ours, 0, MIB), 0);
		CHECK_EQ(done_of(&context, n).status, errors[n].status);
	}
	close_ends(&ends);
	context_close(&context);
}

TEST(a_socket_tells_whether_it_is_ready)
{
	struct ends ends = tcp_ends();
	static const char zeros[64 * KIB];

	CHECK_EQ(dma_shim_socket_ready(ends.ours, 0), 1);
	CHECK_EQ(dma_shim_socket_ready(ends.ours, 1), 0);
	SYS(write(ends.theirs, zeros, 1));
	CHECK_EQ(dma_shim_socket_ready(ends.ours, 1), 1);
	while (write(ends.ours, zeros, sizeof(zeros)) > 0)
		;
	CHECK_EQ(dma_shim_socket_ready(ends.ours, 0), 0);
	close(ends.theirs);
	CHECK_EQ(dma_shim_socket_ready(ends.ours, 0), 1);
	close(ends.ours);
	CHECK_EQ(dma_shim_socket_ready(-1, 0), -EBADF);
}

/* One that hangs on a disk holds up no other: there are more threads than one. */
static struct gate disk_gate = GATE;
static int slow_file;

static ssize_t disk_hangs(int file, void *bytes, size_t size, off_t offset)
{
	if (file == slow_file)
		gate_wait(&disk_gate);
	return __real_pread(file, bytes, size, offset);
}

TEST(a_device_that_hangs_holds_up_no_stream_of_another)
{
	struct context context = context_open(1);
	struct file slow = noisy_device(&context, "slow"), file = noisy_device(&context, "a");
	struct ends held = tcp_ends(), ends = tcp_ends();

	slow_file = context.shim->devices[slow.handle]->descriptor;
	hooks.pread = disk_hangs;
	CHECK_EQ(send_to(&context, 1, slow.handle, held.ours, 0, MIB), 0);
	gate_await(&disk_gate, 1);
	CHECK_EQ(send_to(&context, 2, file.handle, ends.ours, 0, LARGE), 0);
	expect_bytes(ends.theirs, file.bytes, LARGE);
	CHECK_EQ(done_of(&context, 2).status, 0);
	gate_let(&disk_gate, GATE_OPEN);
	expect_bytes(held.theirs, slow.bytes, MIB);
	CHECK_EQ(done_of(&context, 1).status, 0);
	close_ends(&held);
	close_ends(&ends);
	context_close(&context);
}

TEST(a_disk_that_fails_ends_its_stream)
{
	struct context context = context_open(1);
	struct file file = noisy_device(&context, "a");
	struct ends ends = tcp_ends();
	static const int errors[] = { EIO, ESTALE, ENODATA, ECONNRESET, ENOMEM };

	hooks.pread = disk_fails;
	for (uint64_t n = 0; n < sizeof(errors) / sizeof(*errors); n++) {
		struct dma_shim_completion done;

		disk_error = errors[n];
		CHECK_EQ(send_to(&context, n, file.handle, ends.ours, 0, LARGE), 0);
		expect_bytes(ends.theirs, file.bytes, MIB);
		done = done_of(&context, n);
		CHECK_EQ(done.status, -EIO);
		CHECK_EQ(done.bytes_done, MIB);
	}
	close_ends(&ends);
	context_close(&context);
}

TEST(a_stream_of_device_dax_is_sent_from_its_mapping)
{
	struct context context = context_open(1);
	struct dma_shim_device_info info;
	uint32_t dax = fake_dax(&context, "dax", DMA_SHIM_VOLATILE, &info);
	struct ends ends = tcp_ends();
	unsigned char *base = context.shim->devices[dax]->base;

	random_fill(base, DAX_SIZE);
	CHECK_EQ(send_to(&context, 1, dax, ends.ours, 3, DAX_SIZE - 3), 0);
	expect_bytes(ends.theirs, base + 3, DAX_SIZE - 3);
	CHECK_EQ(done_of(&context, 1).status, 0);
	close_ends(&ends);
	context_close(&context);
}

TEST(streams_that_stall_hold_up_no_other)
{
	struct context context = context_open(1);
	struct file file = noisy_device(&context, "a");
	struct ends stalled[8];
	struct ends ends = tcp_ends();

	for (uint64_t n = 0; n < 8; n++) {
		stalled[n] = n % 2 ? tcp_ends() : unix_ends();
		CHECK_EQ(send_to(&context, n, file.handle, stalled[n].ours, 0, LARGE), 0);
	}
	for (uint64_t n = 8; n < 16; n++) {
		struct dma_shim_completion record;

		CHECK_EQ(send_to(&context, n, file.handle, ends.ours, 0, 4 * MIB), 0);
		expect_bytes(ends.theirs, file.bytes, 4 * MIB);
		do
			CHECK(next_record(&context, &record));
		while (record.tag != n || record.kind != DMA_SHIM_DONE);
		CHECK_EQ(record.status, 0);
	}
	for (uint64_t n = 0; n < 8; n++)
		expect_bytes(stalled[n].theirs, file.bytes, LARGE);
	for (uint64_t n = 0; n < 8; n++) {
		CHECK_EQ(next_done(&context).status, 0);
		close_ends(&stalled[n]);
	}
	close_ends(&ends);
	context_close(&context);
}

TEST(a_stream_ends_when_it_is_cancelled_and_tells_what_it_sent)
{
	struct context context = context_open(1);
	struct file file = noisy_device(&context, "a");
	unsigned int before = open_descriptors();
	struct ends ends = tcp_ends();
	struct dma_shim_completion done;

	CHECK_EQ(send_to(&context, 1, file.handle, ends.ours, 0, LARGE), 0);
	wait_until_full(&context, 1);
	CHECK_EQ(dma_shim_cancel(context.shim, 1), 0);
	done = done_of(&context, 1);
	CHECK_EQ(done.status, -ECANCELED);
	CHECK(done.bytes_done && done.bytes_done < LARGE);
	close(ends.ours);
	CHECK_EQ(drain(ends.theirs), done.bytes_done);
	close(ends.theirs);
	CHECK_EQ(open_descriptors(), before);
	CHECK_EQ(dma_shim_device_close(context.shim, file.handle), 0);
	context_close(&context);
}

TEST(a_stream_whose_other_end_leaves_ends_without_a_signal)
{
	struct ends (*const makes[])(void) = { tcp_ends, unix_ends };
	struct context context = context_open(1);
	struct file file = noisy_device(&context, "a");

	for (uint64_t n = 0; n < 4; n++) {
		struct ends ends = makes[n % 2]();

		CHECK_EQ(send_to(&context, n, file.handle, ends.ours, 0, LARGE), 0);
		if (n < 2)
			wait_until_full(&context, n);
		close(ends.theirs);
		CHECK_EQ(done_of(&context, n).status, -ECONNRESET);
		close(ends.ours);
	}
	context_close(&context);
}

TEST(a_stream_that_was_shut_down_ends)
{
	struct context context = context_open(1);
	struct file file = noisy_device(&context, "a");
	struct ends ends = tcp_ends();

	CHECK_EQ(send_to(&context, 1, file.handle, ends.ours, 0, LARGE), 0);
	wait_until_full(&context, 1);
	SYS(shutdown(ends.ours, SHUT_WR));
	CHECK_EQ(done_of(&context, 1).status, -ECONNRESET);
	CHECK(drain(ends.theirs) < LARGE);
	close_ends(&ends);
	context_close(&context);
}

/* What a caller does who knows nothing of the library's duplicate */
TEST(a_descriptor_that_is_closed_and_used_again_meets_no_stream)
{
	struct context context = context_open(1);
	struct file file = noisy_device(&context, "a");
	struct ends ends = tcp_ends();
	struct ends other = unix_ends();
	int number = ends.ours;

	CHECK_EQ(send_to(&context, 1, file.handle, ends.ours, 0, LARGE), 0);
	SYS(dup3(other.ours, number, O_CLOEXEC));
	expect_bytes(ends.theirs, file.bytes, LARGE);
	CHECK_EQ(done_of(&context, 1).status, 0);
	/* The last descriptor of the connection was the library's. */
	CHECK_EQ(drain(ends.theirs), 0);
	close(other.ours);
	close(number);
	CHECK_EQ(drain(other.theirs), 0);
	context_close(&context);
}

TEST(a_context_closes_though_streams_wait)
{
	struct context context = context_open(2);
	struct file file = noisy_device(&context, "a");
	unsigned int before = open_descriptors();
	struct ends ends[4];
	uint64_t began;

	for (uint64_t n = 0; n < 4; n++) {
		ends[n] = tcp_ends();
		CHECK_EQ(send_to(&context, n, file.handle, ends[n].ours, 0, LARGE), 0);
	}
	wait_until_full(&context, 3);
	began = now_ns();
	dma_shim_close(context.shim);
	CHECK(now_ns() - began < SLOWNESS * UINT64_C(2000000000));
	for (uint64_t n = 0; n < 4; n++) {
		CHECK_EQ(next_done(&context).status, -ECANCELED);
		close_ends(&ends[n]);
	}
	close(context.socket);
	CHECK(open_descriptors() < before);
}

TEST(a_file_that_becomes_shorter_ends_its_stream)
{
	struct context context = context_open(1);
	struct file file = noisy_device(&context, "a");
	struct ends ends = tcp_ends();
	struct dma_shim_completion done;

	SYS(ftruncate(file.descriptor, (off_t)(2 * MIB)));
	CHECK_EQ(send_to(&context, 1, file.handle, ends.ours, MIB, LARGE - MIB), 0);
	expect_bytes(ends.theirs, file.bytes + MIB, MIB);
	done = done_of(&context, 1);
	CHECK_EQ(done.status, -ENXIO);
	CHECK_EQ(done.bytes_done, MIB);
	close_ends(&ends);
	context_close(&context);
}

/* Memory that cannot be read: the kernel only says EFAULT. */
TEST(memory_that_faults_ends_its_stream)
{
	struct context context = context_open(1);
	struct dma_shim_device_info info;
	uint32_t dax = fake_dax(&context, "dax", DMA_SHIM_VOLATILE, &info);
	unsigned char *base = context.shim->devices[dax]->base;
	struct file gone = file_make(scratch(), "gone", DAX_SIZE);
	struct ends ends = tcp_ends();
	struct dma_shim_completion done;

	/* The device's memory from 1 MiB on is that of a file that has lost it. */
	CHECK(mmap(base + MIB, DAX_SIZE - MIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		   gone.descriptor, 0) != MAP_FAILED);
	SYS(ftruncate(gone.descriptor, 0));
	CHECK_EQ(send_to(&context, 1, dax, ends.ours, 0, DAX_SIZE), 0);
	expect_bytes(ends.theirs, base, MIB);
	done = done_of(&context, 1);
	CHECK_EQ(done.status, -ENXIO);
	CHECK_EQ(done.bytes_done, MIB);
	close_ends(&ends);
	context_close(&context);
}

TEST(what_is_no_stream_is_refused)
{
	struct context context = context_open(1);
	struct file file = file_device(&context, "a", MIB);
	unsigned int before = open_descriptors();
	struct ends ends = tcp_ends();
	int datagrams = SYS(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
	struct dma_shim_segment two[2] = { { 0, 0, 1 }, { 1, 0, 1 } };
	struct dma_shim_job job = job_of(1, file.handle, DMA_SHIM_SOCKET);
	char byte;

	CHECK_EQ(send_to(&context, 1, file.handle, -1, 0, 1), -ENOTCONN);
	CHECK_EQ(send_to(&context, 1, file.handle, file.descriptor, 0, 1), -ENOTSOCK);
	CHECK_EQ(send_to(&context, 1, file.handle, datagrams, 0, 1), -EINVAL);
	CHECK_EQ(send_to(&context, 1, file.handle, ends.theirs, 0, 1), -EINVAL);
	CHECK_EQ(send_to(&context, 1, file.handle, ends.ours, 1, MIB), -ERANGE);
	CHECK_EQ(send_to(&context, 1, file.handle, ends.ours, 0, 0), -EINVAL);
	CHECK_EQ(send_to(&context, 1, 77, ends.ours, 0, 1), -EBADF);
	CHECK_EQ(send_to(&context, 1, DMA_SHIM_MEMORY, ends.ours, 0, 1), -EINVAL);
	CHECK_EQ(send_to(&context, 1, DMA_SHIM_SOCKET, ends.ours, 0, 1), -EINVAL);
	/* Memory that is not there, or too small, or to be flushed */
	CHECK_EQ(receive_from(&context, 1, DMA_SHIM_MEMORY, ends.ours, 0, 1), -EINVAL);
	job.source = DMA_SHIM_SOCKET;
	job.destination = DMA_SHIM_MEMORY;
	job.socket = ends.ours;
	job.memory_size = sizeof(byte);
	CHECK_EQ(dma_shim_submit(context.shim, &job, &(struct dma_shim_segment) { 0, 0, 2 },
				 &byte, NULL), -ERANGE);
	job.flags = DMA_SHIM_JOB_FLUSH;
	CHECK_EQ(dma_shim_submit(context.shim, &job, &(struct dma_shim_segment) { 0, 0, 1 },
				 &byte, NULL), -EINVAL);
	job = job_of(1, file.handle, DMA_SHIM_SOCKET);
	CHECK_EQ(receive_from(&context, 1, DMA_SHIM_NOWHERE, ends.ours, 0, 1), -EINVAL);
	CHECK_EQ(receive_from(&context, 1, file.handle, ends.ours, 1, MIB), -ERANGE);
	CHECK_EQ(receive_from(&context, 1, file.handle, -1, 0, 1), -ENOTCONN);
	CHECK_EQ(send_to(&context, 1, DMA_SHIM_NOWHERE, ends.ours, 0, 1), -EINVAL);
	job.socket = ends.ours;
	CHECK_EQ(submit(&context, job, two, 2), -EINVAL);
	CHECK_EQ(submit_one(&context, job, 0, 1, 1), -EINVAL);
	job.reserved = 1;
	CHECK_EQ(submit_one(&context, job, 0, 0, 1), -EINVAL);
	job.reserved = 0;
	for (uint32_t flag = 1; flag <= 4; flag *= 2) {
		job.flags = flag;
		CHECK_EQ(submit_one(&context, job, 0, 0, 1), -EINVAL);
	}
	job.flags = 0;
	job.engine = DMA_SHIM_ENGINE_DMA;
	CHECK_EQ(submit_one(&context, job, 0, 0, 1), -EINVAL);
	job = job_of(1, DMA_SHIM_SOCKET, file.handle);
	job.socket = ends.ours;
	CHECK_EQ(submit_one(&context, job, 1, 0, 1), -EINVAL);
	job.flags = DMA_SHIM_JOB_VERIFY;
	CHECK_EQ(submit_one(&context, job, 0, 0, 1), -EINVAL);
	job = job_of(1, file.handle, file.handle);
	job.socket = ends.ours;
	CHECK_EQ(submit_one(&context, job, 0, MIB / 2, 1), -EINVAL);
	no_more_records(&context);
	SYS(fcntl(ends.theirs, F_SETFL, O_NONBLOCK));
	CHECK(read(ends.theirs, &byte, 1) < 0 && errno == EAGAIN);
	close_ends(&ends);
	close(datagrams);
	CHECK_EQ(open_descriptors(), before);
	CHECK_EQ(dma_shim_device_close(context.shim, file.handle), 0);
	context_close(&context);
}

TEST(a_tag_in_flight_is_refused_and_leaks_no_descriptor)
{
	struct context context = context_open(1);
	struct file file = noisy_device(&context, "a");
	struct ends ends = tcp_ends(), other = tcp_ends();
	unsigned int before;

	CHECK_EQ(send_to(&context, 1, file.handle, ends.ours, 0, LARGE), 0);
	before = open_descriptors();
	CHECK_EQ(send_to(&context, 1, file.handle, other.ours, 0, 1), -EEXIST);
	CHECK_EQ(open_descriptors(), before);
	expect_bytes(ends.theirs, file.bytes, LARGE);
	CHECK_EQ(done_of(&context, 1).status, 0);
	close_ends(&ends);
	close_ends(&other);
	context_close(&context);
}

/* Many that are cut at random moments, by either side: each ends once, and nothing leaks. */
TEST(streams_that_are_cut_at_random_all_end)
{
	struct context context = context_open(2);
	struct file file = noisy_device(&context, "a");
	unsigned int before = open_descriptors();

	for (unsigned int round = 0; round < rounds(400); round++) {
		struct ends ends = round % 2 ? tcp_ends() : unix_ends();
		uint64_t size = 1 + random_below(round % 3 ? 4 * MIB : 64 * KIB);
		uint64_t read_size = random_below(size + 1);
		unsigned int how = (unsigned int)random_below(4);
		struct dma_shim_completion done;

		CHECK_EQ(send_to(&context, round, file.handle, ends.ours, 0, size), 0);
		if (how != 3)
			expect_bytes(ends.theirs, file.bytes, read_size);
		switch (how) {
		case 0:
			dma_shim_cancel(context.shim, round);
			break;
		case 1:
			close(ends.theirs);
			ends.theirs = -1;
			break;
		case 2:
			shutdown(ends.ours, SHUT_RDWR);
			break;
		case 3:
			close(ends.ours);
			ends.ours = -1;
			expect_bytes(ends.theirs, file.bytes, size);
			break;
		}
		done = done_of(&context, round);
		if (!done.status)
			CHECK_EQ(done.bytes_done, size);
		else
			CHECK(done.status == -ECANCELED || done.status == -ECONNRESET);
		if (ends.ours >= 0)
			close(ends.ours);
		if (ends.theirs >= 0)
			close(ends.theirs);
	}
	CHECK_EQ(open_descriptors(), before);
	no_more_records(&context);
	context_close(&context);
}

TEST(a_context_that_gets_no_thread_for_streams_leaves_nothing)
{
	struct dma_shim_options options = { .cpu_threads = 1 };
	unsigned int before = open_descriptors();
	struct dma_shim *shim;

	/* The deliverer's, the pool's, four that sync, and then the stream's */
	hooks.threads = 7;
	CHECK_EQ(dma_shim_open(&options, &shim), -EAGAIN);
	hooks.threads = 0;
	CHECK_EQ(open_descriptors(), before);
}

static unsigned char noise[LARGE];

static const unsigned char *make_noise(void)
{
	random_fill(noise, sizeof(noise));
	return noise;
}

/* A piece at a time, each behind the one before; what comes behind the last stays unread. */
static void receives_all(struct ends (*make)(void))
{
	struct context context = context_open(2);
	struct file file = file_device(&context, "a", LARGE);
	static const uint64_t sizes[] = { 1, 4095, 4096, MIB + 1, 5 * MIB + 77 };
	const unsigned char *bytes = make_noise();
	struct ends ends = make();
	uint32_t crc = 0;
	char byte;

	for (size_t n = 0; n < sizeof(sizes) / sizeof(*sizes); n++) {
		uint64_t to = random_below(LARGE - sizes[n] + 1);
		struct dma_shim_completion done;

		CHECK_EQ(receive_with(&context, n, file.handle, ends.ours, to, sizes[n],
				      DMA_SHIM_JOB_CHECKSUM, crc), 0);
		write_all(ends.theirs, bytes, sizes[n]);
		write_all(ends.theirs, (const unsigned char *)"x", 1);
		done = done_of(&context, n);
		CHECK_EQ(done.status, 0);
		CHECK_EQ(done.bytes_done, sizes[n]);
		CHECK_EQ(done.received, sizes[n]);
		crc = crc32c(crc, bytes, sizes[n]);
		CHECK_EQ(done.source_crc, crc);
		CHECK_EQ(memcmp(file.bytes + to, bytes, sizes[n]), 0);
		CHECK_EQ(read(ends.ours, &byte, 1), 1);
		CHECK_EQ(byte, 'x');
		bytes += 4096;
	}
	close_ends(&ends);
	context_close(&context);
}

TEST(a_stream_receives_all_bytes_and_no_other_over_tcp)
{
	receives_all(tcp_ends);
}

TEST(a_stream_receives_all_bytes_and_no_other_over_a_unix_socket)
{
	receives_all(unix_ends);
}

static int receive_into(struct context *context, uint64_t tag, unsigned char *memory, int socket,
			uint64_t size)
{
	struct dma_shim_job job = job_of(tag, DMA_SHIM_SOCKET, DMA_SHIM_MEMORY);
	struct dma_shim_segment segment = { 0, 0, size };

	job.socket = socket;
	job.memory_size = size;
	return dma_shim_submit(context->shim, &job, &segment, memory, NULL);
}

TEST(memory_receives_all_bytes_and_no_other)
{
	static unsigned char memory[LARGE];
	static const uint64_t sizes[] = { 1, 4095, MIB + 1, 5 * MIB + 77 };
	const unsigned char *bytes = make_noise();
	struct context context = context_open(2);
	struct ends ends = tcp_ends();
	char byte;

	for (size_t n = 0; n < sizeof(sizes) / sizeof(*sizes); n++) {
		struct dma_shim_completion done;

		memory[sizes[n]] = 0x5a;
		CHECK_EQ(receive_into(&context, n, memory, ends.ours, sizes[n]), 0);
		write_all(ends.theirs, bytes, sizes[n]);
		write_all(ends.theirs, (const unsigned char *)"x", 1);
		done = done_of(&context, n);
		CHECK_EQ(done.status, 0);
		CHECK_EQ(done.bytes_done, sizes[n]);
		CHECK_EQ(done.received, sizes[n]);
		CHECK_EQ(memcmp(memory, bytes, sizes[n]), 0);
		CHECK_EQ(memory[sizes[n]], 0x5a);
		CHECK_EQ(read(ends.ours, &byte, 1), 1);
		CHECK_EQ(byte, 'x');
		bytes += 4096;
	}
	close_ends(&ends);
	context_close(&context);
}

TEST(memory_keeps_what_it_received_before_an_early_end)
{
	static unsigned char memory[LARGE];
	const unsigned char *bytes = make_noise();
	struct context context = context_open(1);
	struct ends cancelled = tcp_ends(), cut = tcp_ends();
	struct dma_shim_completion record;

	CHECK_EQ(receive_into(&context, 1, memory, cut.ours, LARGE), 0);
	write_all(cut.theirs, bytes, 100 * KIB);
	SYS(close(cut.theirs));
	record = done_of(&context, 1);
	CHECK_EQ(record.status, -ECONNRESET);
	CHECK_EQ(record.bytes_done, 100 * KIB);
	CHECK_EQ(memcmp(memory, bytes, 100 * KIB), 0);

	CHECK_EQ(receive_into(&context, 2, memory, cancelled.ours, LARGE), 0);
	write_all(cancelled.theirs, bytes + 1, 1);
	CHECK(next_record(&context, &record));
	CHECK_EQ(record.kind, DMA_SHIM_PROGRESS);
	CHECK_EQ(dma_shim_cancel(context.shim, 2), 0);
	record = done_of(&context, 2);
	CHECK_EQ(record.status, -ECANCELED);
	CHECK_EQ(record.bytes_done, 1);
	CHECK_EQ(memory[0], bytes[1]);
	SYS(close(cut.ours));
	close_ends(&cancelled);
	context_close(&context);
}

static _Atomic uint64_t written_back;

static void count_write_back(const unsigned char *start, size_t size)
{
	atomic_fetch_add(&written_back, size);
	__real_write_back(start, size);
}

TEST(what_device_dax_receives_is_written_back)
{
	struct context context = context_open(1);
	struct dma_shim_device_info info;
	uint32_t dax = fake_dax(&context, "dax", DMA_SHIM_MEMORY_CONTROLLER, &info);
	const unsigned char *bytes = make_noise();
	struct ends ends = tcp_ends();
	struct dma_shim_completion done;

	hooks.write_back = count_write_back;
	CHECK_EQ(receive_with(&context, 1, dax, ends.ours, 5, DAX_SIZE - 5,
			      DMA_SHIM_JOB_CHECKSUM | DMA_SHIM_JOB_FLUSH, 0), 0);
	write_all(ends.theirs, bytes, DAX_SIZE - 5);
	done = done_of(&context, 1);
	CHECK_EQ(done.status, 0);
	CHECK_EQ(done.source_crc, crc32c(0, bytes, DAX_SIZE - 5));
	CHECK_EQ(memcmp(context.shim->devices[dax]->base + 5, bytes, DAX_SIZE - 5), 0);
	CHECK(written_back >= DAX_SIZE - 5);
	close_ends(&ends);
	context_close(&context);
}

static struct gate sync_gate = GATE;

static int sync_waits(void *start, size_t size, int flags)
{
	gate_wait(&sync_gate);
	return __real_msync(start, size, flags);
}

TEST(a_slow_sync_is_not_taken_for_a_client_that_sends_nothing)
{
	struct context context = context_open(1);
	struct file file = disk_device(&context, "a", 2 * MIB);
	const unsigned char *bytes = make_noise();
	struct ends ends = tcp_ends();
	struct dma_shim_completion record;

	hooks.msync = sync_waits;
	CHECK_EQ(receive_with(&context, 1, file.handle, ends.ours, 0, MIB,
			      DMA_SHIM_JOB_FLUSH, 0), 0);
	write_all(ends.theirs, bytes, MIB);
	do
		CHECK(next_record(&context, &record));
	while (record.bytes_done < MIB);
	CHECK_EQ(record.kind, DMA_SHIM_PROGRESS);
	gate_let(&sync_gate, GATE_OPEN);
	CHECK_EQ(done_of(&context, 1).status, 0);
	close_ends(&ends);
	context_close(&context);
}

TEST(the_first_bytes_are_reported_though_none_follow)
{
	struct context context = context_open(1);
	struct file file = file_device(&context, "a", 2 * MIB);
	const unsigned char *bytes = make_noise();
	struct ends ends = tcp_ends();
	struct dma_shim_completion record;

	CHECK_EQ(receive_from(&context, 1, file.handle, ends.ours, 0, MIB), 0);
	usleep(150000);
	write_all(ends.theirs, bytes, 10);
	CHECK(next_record(&context, &record));
	CHECK_EQ(record.kind, DMA_SHIM_PROGRESS);
	CHECK_EQ(record.bytes_done, 10);
	CHECK_EQ(dma_shim_cancel(context.shim, 1), 0);
	CHECK_EQ(done_of(&context, 1).bytes_done, 10);
	close_ends(&ends);
	context_close(&context);
}

static _Atomic int syncs;

static int sync_fails(void *start, size_t size, int flags)
{
	(void)start, (void)size, (void)flags;
	atomic_fetch_add(&syncs, 1);
	errno = EIO;
	return -1;
}

TEST(what_is_received_counts_as_durable_only_if_its_sync_succeeds)
{
	struct context context = context_open(1);
	struct file file = disk_device(&context, "a", 2 * MIB);
	const unsigned char *bytes = make_noise();
	uint32_t flags = DMA_SHIM_JOB_CHECKSUM | DMA_SHIM_JOB_FLUSH;
	struct ends ends = tcp_ends();

	CHECK_EQ(receive_with(&context, 1, file.handle, ends.ours, 0, MIB, flags, 0), 0);
	write_all(ends.theirs, bytes, MIB);
	CHECK_EQ(done_of(&context, 1).status, 0);
	hooks.msync = sync_fails;
	CHECK_EQ(receive_with(&context, 2, file.handle, ends.ours, 0, MIB, flags, 0), 0);
	write_all(ends.theirs, bytes, MIB);
	CHECK_EQ(done_of(&context, 2).status, -EIO);
	CHECK_EQ(syncs, 1);
	close_ends(&ends);
	context_close(&context);
}

/* Wait until this many bytes have arrived and the stream waits for more. */
static void wait_until_received(struct context *context, uint64_t tag, uint64_t size)
{
	bool idle = false;

	while (!idle) {
		struct job *job;

		pthread_mutex_lock(&context->shim->lock);
		job = tag_find(context->shim, tag);
		CHECK(job);
		idle = !job->running && job->bytes_done == size;
		pthread_mutex_unlock(&context->shim->lock);
		usleep(1000);
	}
}

enum early_end { CANCELLED, SHUT_DOWN, CANCELLED_AT_ONCE, EARLY_ENDS };

/* End a stream before its last byte. Return: what it is to say of that. */
static int end_early(struct context *context, const struct ends *ends, enum early_end how)
{
	if (how == SHUT_DOWN) {
		SYS(shutdown(ends->theirs, SHUT_WR));
		return -ECONNRESET;
	}
	CHECK_EQ(dma_shim_cancel(context->shim, 1), 0);
	return -ECANCELED;
}

TEST(what_device_dax_received_before_an_early_end_is_written_back)
{
	const unsigned char *bytes = make_noise();

	for (enum early_end how = 0; how < EARLY_ENDS; how++) {
		struct context context = context_open(1);
		struct dma_shim_device_info info;
		uint32_t dax = fake_dax(&context, how == CANCELLED ? "a" : how == SHUT_DOWN ?
					"b" : "c", DMA_SHIM_MEMORY_CONTROLLER, &info);
		struct ends ends = tcp_ends();
		struct dma_shim_completion done;
		int status;

		hooks.write_back = count_write_back;
		written_back = 0;
		CHECK_EQ(receive_with(&context, 1, dax, ends.ours, 5, DAX_SIZE - 5,
				      DMA_SHIM_JOB_CHECKSUM | DMA_SHIM_JOB_FLUSH, 0), 0);
		write_all(ends.theirs, bytes, MIB + 77);
		if (how != CANCELLED_AT_ONCE)
			wait_until_received(&context, 1, MIB + 77);
		status = end_early(&context, &ends, how);
		done = done_of(&context, 1);
		CHECK_EQ(done.status, status);
		CHECK_EQ(done.bytes_done, done.received);
		CHECK(done.bytes_done == MIB + 77 || how == CANCELLED_AT_ONCE);
		CHECK_EQ(done.source_crc, crc32c(0, bytes, done.bytes_done));
		CHECK(written_back >= done.bytes_done);
		CHECK(written_back < done.bytes_done + 4096);
		close_ends(&ends);
		context_close(&context);
	}
}

TEST(what_a_disk_received_before_an_early_end_is_synced_and_says_so_if_not)
{
	struct context context = context_open(1);
	struct file file = disk_device(&context, "a", 2 * MIB);
	const unsigned char *bytes = make_noise();

	for (enum early_end how = 0; how < CANCELLED_AT_ONCE; how++) {
		struct ends ends = tcp_ends();
		int status;

		sync_gate = (struct gate) GATE;
		hooks.msync = sync_waits;
		CHECK_EQ(receive_with(&context, 1, file.handle, ends.ours, 0, 2 * MIB,
				      DMA_SHIM_JOB_FLUSH, 0), 0);
		write_all(ends.theirs, bytes, MIB);
		wait_until_received(&context, 1, MIB);
		status = end_early(&context, &ends, how);
		gate_await(&sync_gate, 1);
		/* The flush goes on all the same. */
		CHECK_EQ(dma_shim_cancel(context.shim, 1), 0);
		gate_let(&sync_gate, GATE_OPEN);
		CHECK_EQ(done_of(&context, 1).status, status);

		hooks.msync = sync_fails;
		CHECK_EQ(receive_with(&context, 1, file.handle, ends.ours, 0, 2 * MIB,
				      DMA_SHIM_JOB_FLUSH, 0), 0);
		if (how == CANCELLED) {
			write_all(ends.theirs, bytes, MIB);
			wait_until_received(&context, 1, MIB);
			end_early(&context, &ends, how);
			CHECK_EQ(done_of(&context, 1).status, -EIO);
		} else {
			/* Nothing came: there is nothing to sync. */
			CHECK_EQ(done_of(&context, 1).status, -ECONNRESET);
		}
		close_ends(&ends);
	}
	CHECK_EQ(syncs, 1);
	context_close(&context);
}

TEST(an_end_that_comes_too_soon_tells_how_far_it_came)
{
	struct ends (*const makes[])(void) = { tcp_ends, unix_ends };
	struct context context = context_open(1);
	struct file file = file_device(&context, "a", LARGE);
	const unsigned char *bytes = make_noise();

	for (uint64_t n = 0; n < 40; n++) {
		struct ends ends = makes[n % 2]();
		uint64_t size = n < 4 ? n : random_below(2 * MIB);
		struct dma_shim_completion done;

		CHECK_EQ(receive_from(&context, n, file.handle, ends.ours, 0, 2 * MIB), 0);
		write_all(ends.theirs, bytes, size);
		SYS(shutdown(ends.theirs, SHUT_WR));
		done = done_of(&context, n);
		CHECK_EQ(done.status, -ECONNRESET);
		CHECK_EQ(done.bytes_done, size);
		CHECK_EQ(done.received, size);
		CHECK_EQ(memcmp(file.bytes, bytes, size), 0);
		/* The next reader sees the end, too. */
		CHECK_EQ(read(ends.ours, noise, 1), 0);
		close_ends(&ends);
	}
	context_close(&context);
}

TEST(a_cancelled_stream_leaves_unread_what_it_did_not_count)
{
	struct context context = context_open(1);
	struct file file = file_device(&context, "a", LARGE);
	const unsigned char *bytes = make_noise();
	unsigned int before = open_descriptors();

	for (uint64_t n = 0; n < 50; n++) {
		struct ends ends = tcp_ends();
		uint64_t size = 1 + random_below(300 * KIB);
		struct dma_shim_completion done;

		CHECK_EQ(receive_from(&context, n, file.handle, ends.ours, 0, LARGE), 0);
		write_all(ends.theirs, bytes, size);
		CHECK_EQ(dma_shim_cancel(context.shim, n), 0);
		done = done_of(&context, n);
		CHECK_EQ(done.status, -ECANCELED);
		CHECK(done.received <= size);
		CHECK_EQ(done.bytes_done, done.received);
		CHECK_EQ(memcmp(file.bytes, bytes, done.bytes_done), 0);
		SYS(shutdown(ends.theirs, SHUT_WR));
		SYS(fcntl(ends.ours, F_SETFL, 0));
		expect_bytes(ends.ours, bytes + done.received, size - done.received);
		CHECK_EQ(drain(ends.ours), 0);
		close_ends(&ends);
	}
	CHECK_EQ(open_descriptors(), before);
	context_close(&context);
}

static ssize_t full_disk(int file, const void *bytes, size_t size, off_t offset)
{
	if (offset >= (off_t)MIB) {
		errno = ENOSPC;
		return -1;
	}
	if (size > MIB - (uint64_t)offset)
		size = MIB - (uint64_t)offset;
	return __real_pwrite(file, bytes, size, offset);
}

static struct gate write_gate = GATE;

static ssize_t write_waits(int file, const void *bytes, size_t size, off_t offset)
{
	gate_wait(&write_gate);
	return __real_pwrite(file, bytes, size, offset);
}

TEST(a_device_that_is_slow_can_be_told_from_an_end_that_is_and_holds_up_no_cancel)
{
	struct context context = context_open(1);
	struct file file = file_device(&context, "a", 2 * MIB);
	const unsigned char *bytes = make_noise();
	struct ends ends = tcp_ends();
	struct dma_shim_completion done;

	CHECK_EQ(dma_shim_is_running(NULL, 1), 0);
	CHECK_EQ(dma_shim_is_running(context.shim, 1), 0);
	hooks.pwrite = write_waits;
	CHECK_EQ(receive_from(&context, 1, file.handle, ends.ours, 0, MIB), 0);
	usleep(20000);
	CHECK_EQ(dma_shim_is_running(context.shim, 1), 0);
	write_all(ends.theirs, bytes, MIB / 2);
	gate_await(&write_gate, 1);
	CHECK_EQ(dma_shim_is_running(context.shim, 1), 1);
	CHECK_EQ(dma_shim_cancel(context.shim, 1), 0);
	gate_let(&write_gate, GATE_OPEN);
	done = done_of(&context, 1);
	CHECK_EQ(done.status, -ECANCELED);
	/* No other part */
	CHECK(done.bytes_done <= 256 * KIB);
	CHECK_EQ(done.bytes_done, done.received);
	close_ends(&ends);
	context_close(&context);
}

TEST(a_device_that_cannot_be_written_ends_its_stream)
{
	struct context context = context_open(1);
	struct file file = file_device(&context, "a", 4 * MIB);
	const unsigned char *bytes = make_noise();
	struct ends ends = tcp_ends();
	struct dma_shim_completion done;

	hooks.pwrite = full_disk;
	CHECK_EQ(receive_from(&context, 1, file.handle, ends.ours, 0, 2 * MIB), 0);
	write_all(ends.theirs, bytes, MIB + 1);
	done = done_of(&context, 1);
	CHECK_EQ(done.status, -ENOSPC);
	CHECK(done.bytes_done <= MIB && done.received > done.bytes_done);
	CHECK_EQ(memcmp(file.bytes, bytes, done.bytes_done), 0);
	CHECK_EQ(done.source_crc, __real_crc32c(0, bytes, done.bytes_done));
	hooks.pwrite = NULL;
	SYS(ftruncate(file.descriptor, (off_t)MIB));
	CHECK_EQ(receive_from(&context, 2, file.handle, ends.ours, 2 * MIB, MIB), 0);
	write_all(ends.theirs, bytes, 1);
	CHECK_EQ(done_of(&context, 2).status, -ENXIO);
	close_ends(&ends);
	context_close(&context);
}

TEST(memory_that_faults_ends_what_it_receives)
{
	struct context context = context_open(1);
	struct dma_shim_device_info info;
	uint32_t dax = fake_dax(&context, "dax", DMA_SHIM_VOLATILE, &info);
	unsigned char *base = context.shim->devices[dax]->base;
	struct file gone = file_make(scratch(), "gone", DAX_SIZE);
	const unsigned char *bytes = make_noise();
	struct ends ends = tcp_ends();
	struct dma_shim_completion done;

	CHECK(mmap(base + MIB, DAX_SIZE - MIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		   gone.descriptor, 0) != MAP_FAILED);
	SYS(ftruncate(gone.descriptor, 0));
	CHECK_EQ(receive_from(&context, 1, dax, ends.ours, 0, 2 * MIB), 0);
	write_all(ends.theirs, bytes, MIB + 4096);
	done = done_of(&context, 1);
	CHECK_EQ(done.status, -ENXIO);
	CHECK(done.bytes_done <= MIB);
	CHECK_EQ(memcmp(base, bytes, done.bytes_done), 0);
	close_ends(&ends);
	context_close(&context);
}

/* Both ways at once over one connection each, by one thread */
TEST(streams_go_both_ways)
{
	struct context context = context_open(1);
	struct file from = noisy_device(&context, "from");
	struct file to = file_device(&context, "to", LARGE);
	struct ends ends = tcp_ends();

	SYS(fcntl(ends.theirs, F_SETFL, O_NONBLOCK));
	CHECK_EQ(receive_from(&context, 1, to.handle, ends.theirs, 0, LARGE), 0);
	CHECK_EQ(send_to(&context, 2, from.handle, ends.ours, 0, LARGE), 0);
	for (unsigned int n = 0; n < 2; n++)
		CHECK_EQ(next_done(&context).status, 0);
	CHECK_EQ(memcmp(from.bytes, to.bytes, LARGE), 0);
	close_ends(&ends);
	context_close(&context);
}
