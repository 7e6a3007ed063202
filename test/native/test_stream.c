// SPDX-License-Identifier: Apache-2.0
/* Bytes of a device to a socket: ends that read, stall, leave; descriptors that are closed. */
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

static ssize_t cannot_send_files(int socket, int file, off_t *offset, size_t size)
{
	(void)socket, (void)file, (void)offset, (void)size;
	return fails_with(EINVAL);
}

TEST(a_file_that_cannot_be_spliced_is_sent_from_its_mapping)
{
	hooks.sendfile = cannot_send_files;
	sends_all(tcp_ends);
}

static _Atomic int interruptions;

static ssize_t disk_fails(int socket, int file, off_t *offset, size_t size)
{
	if (atomic_fetch_add(&interruptions, 1) % 2 == 0)
		return fails_with(EINTR);
	if (*offset >= (off_t)MIB)
		return fails_with(EIO);
	return __real_sendfile(socket, file, offset, MIB - (uint64_t)*offset < size ?
						     MIB - (uint64_t)*offset : size);
}

TEST(a_disk_that_fails_ends_its_stream)
{
	struct context context = context_open(1);
	struct file file = noisy_device(&context, "a");
	struct ends ends = tcp_ends();
	struct dma_shim_completion done;

	hooks.sendfile = disk_fails;
	CHECK_EQ(send_to(&context, 1, file.handle, ends.ours, 0, LARGE), 0);
	expect_bytes(ends.theirs, file.bytes, MIB);
	done = done_of(&context, 1);
	CHECK_EQ(done.status, -EIO);
	CHECK_EQ(done.bytes_done, MIB);
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

	CHECK_EQ(send_to(&context, 1, file.handle, -1, 0, 1), -EBADF);
	CHECK_EQ(send_to(&context, 1, file.handle, file.descriptor, 0, 1), -ENOTSOCK);
	CHECK_EQ(send_to(&context, 1, file.handle, datagrams, 0, 1), -EINVAL);
	CHECK_EQ(send_to(&context, 1, file.handle, ends.theirs, 0, 1), -EINVAL);
	CHECK_EQ(send_to(&context, 1, file.handle, ends.ours, 1, MIB), -ERANGE);
	CHECK_EQ(send_to(&context, 1, file.handle, ends.ours, 0, 0), -EINVAL);
	CHECK_EQ(send_to(&context, 1, 77, ends.ours, 0, 1), -EBADF);
	CHECK_EQ(send_to(&context, 1, DMA_SHIM_MEMORY, ends.ours, 0, 1), -EINVAL);
	CHECK_EQ(send_to(&context, 1, DMA_SHIM_SOCKET, ends.ours, 0, 1), -EINVAL);
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

/* Many that are cut at random moments, by either side: each ends once, and nothing is left. */
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
