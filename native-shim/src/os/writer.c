// SPDX-License-Identifier: Apache-2.0
/*
 * Lines on their way to a descriptor that may take none of them: a full disk, a
 * pipe that nobody reads, a terminal that is stopped or closed.
 *
 * write(2) on such a descriptor can block for ever. O_NONBLOCK is no way out: it
 * belongs to the open file, which other processes share, and it does nothing for
 * a regular file. So a thread writes, and nobody waits for it: at the end of the
 * process it may still be inside write(2).
 *
 * Positions count bytes; the ring holds [written, tail).
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "os.h"

/* How long to wait before trying again what failed */
#define RETRY_NS UINT64_C(250000000)

struct dma_shim_writer {
	pthread_mutex_t lock;
	/* The thread waits for bytes, or for the time to try again */
	pthread_cond_t wake;
	/* dma_shim_writer_drain() waits for a change */
	pthread_cond_t change;
	int descriptor;
	char *ring;
	uint64_t capacity;
	uint64_t written;
	uint64_t tail;
	uint64_t progress_ns;	/* when bytes were written last, or came to an empty ring */
	uint64_t failures;
	int error;		/* of the last attempt, or zero */
	bool hurry;		/* a caller drains: do not wait before the next attempt */
};

static struct timespec at_ns(uint64_t ns)
{
	return (struct timespec) {
		.tv_sec = (time_t)(ns / 1000000000),
		.tv_nsec = (long)(ns % 1000000000),
	};
}

/*
 * With the lock held. Return: how many bytes to write next: whole lines of up to
 * PIPE_BUF bytes together, which a pipe takes all or none, so that its next reader
 * begins with a whole line; less where the ring's memory ends; a longer line by
 * itself.
 */
static size_t next_slice(const struct dma_shim_writer *writer, const char **from)
{
	uint64_t at = writer->written % writer->capacity;
	uint64_t size = writer->tail - writer->written;
	const char *end;

	if (size > writer->capacity - at)
		size = writer->capacity - at;
	*from = writer->ring + at;
	if (size <= PIPE_BUF)
		return size;
	end = memrchr(*from, '\n', PIPE_BUF);
	if (!end)
		end = memchr(*from + PIPE_BUF, '\n', size - PIPE_BUF);
	return end ? (size_t)(end + 1 - *from) : size;
}

/* With the lock held: notes why nothing was written, and waits a while. */
static void back_off(struct dma_shim_writer *writer, int error)
{
	struct timespec until = at_ns(now_ns() + RETRY_NS);

	writer->error = error;
	writer->failures++;
	pthread_cond_broadcast(&writer->change);
	while (!writer->hurry &&
	       pthread_cond_timedwait(&writer->wake, &writer->lock, &until) != ETIMEDOUT)
		;
	writer->hurry = false;
}

/* Another process may have made the descriptor non-blocking: a full one is no error. */
static void await_room(int descriptor)
{
	struct pollfd poll_fd = { .fd = descriptor, .events = POLLOUT };

	poll(&poll_fd, 1, (int)(RETRY_NS / 1000000));
}

static void *write_lines(void *argument)
{
	struct dma_shim_writer *writer = argument;

	pthread_mutex_lock(&writer->lock);
	for (;;) {
		const char *from;
		size_t size;
		ssize_t put;
		int error;

		while (writer->written == writer->tail)
			pthread_cond_wait(&writer->wake, &writer->lock);
		size = next_slice(writer, &from);

		pthread_mutex_unlock(&writer->lock);
		put = write(writer->descriptor, from, size);
		error = put < 0 ? errno : 0;
		if (error == EAGAIN)
			await_room(writer->descriptor);
		pthread_mutex_lock(&writer->lock);

		if (put > 0) {
			writer->written += (uint64_t)put;
			writer->progress_ns = now_ns();
			writer->error = 0;
			if (writer->written == writer->tail)
				pthread_cond_broadcast(&writer->change);
		} else if (error != EAGAIN && error != EINTR) {
			back_off(writer, error ? error : EIO);
		}
	}
	return NULL;
}

PUBLIC int dma_shim_writer_open(int fd, uint32_t capacity, struct dma_shim_writer **out)
{
	struct dma_shim_writer *writer = calloc(1, sizeof(*writer));
	pthread_condattr_t monotonic;
	pthread_t thread;
	int error;

	if (!writer)
		return -ENOMEM;
	/* Pages that were never needed cost nothing. */
	writer->ring = mmap(NULL, capacity, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (writer->ring == MAP_FAILED) {
		error = -errno;
		free(writer);
		return error;
	}
	writer->capacity = capacity;
	writer->descriptor = fd;
	pthread_mutex_init(&writer->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&writer->wake, &monotonic);
	pthread_cond_init(&writer->change, &monotonic);
	pthread_condattr_destroy(&monotonic);

	error = thread_start(&thread, "dmad-log", write_lines, writer);
	if (error) {
		munmap(writer->ring, capacity);
		free(writer);
		return error;
	}
	pthread_detach(thread);
	*out = writer;
	return 0;
}

PUBLIC int dma_shim_writer_put(struct dma_shim_writer *writer, const void *bytes,
			       uint32_t size, uint32_t limit)
{
	uint64_t waiting, at, first;
	bool wakes = false;
	int error = 0;

	pthread_mutex_lock(&writer->lock);
	waiting = writer->tail - writer->written;
	if (waiting + size > limit || waiting + size > writer->capacity) {
		error = -ENOBUFS;
		goto out;
	}
	/* Begin at the ring's start if it is empty, to touch few of its pages. */
	if (!waiting)
		writer->written = writer->tail = 0;
	at = writer->tail % writer->capacity;
	first = writer->capacity - at < size ? writer->capacity - at : size;
	memcpy(writer->ring + at, bytes, first);
	memcpy(writer->ring, (const char *)bytes + first, size - first);
	if (!waiting) {
		writer->progress_ns = now_ns();
		wakes = true;
	}
	writer->tail += size;
out:
	pthread_mutex_unlock(&writer->lock);
	/* With the lock held, the thread would wake only to wait for that. */
	if (wakes)
		pthread_cond_signal(&writer->wake);
	return error;
}

PUBLIC void dma_shim_writer_state(struct dma_shim_writer *writer,
				  struct dma_shim_writer_state *out)
{
	pthread_mutex_lock(&writer->lock);
	*out = (struct dma_shim_writer_state) {
		.waiting = writer->tail - writer->written,
		.error = -writer->error,
	};
	if (writer->written != writer->tail)
		out->stalled_ns = now_ns() - writer->progress_ns;
	pthread_mutex_unlock(&writer->lock);
}

PUBLIC int dma_shim_writer_drain(struct dma_shim_writer *writer, uint32_t timeout_ms)
{
	struct timespec until = at_ns(now_ns() + timeout_ms * UINT64_C(1000000));
	int status = 0;
	uint64_t failures;

	pthread_mutex_lock(&writer->lock);
	failures = writer->failures;
	if (writer->error) {
		writer->hurry = true;
		pthread_cond_signal(&writer->wake);
	}
	while (!status && writer->written != writer->tail) {
		if (writer->failures != failures)
			status = -writer->error;
		else if (pthread_cond_timedwait(&writer->change, &writer->lock, &until) == ETIMEDOUT)
			status = -ETIMEDOUT;
	}
	pthread_mutex_unlock(&writer->lock);
	return status;
}
