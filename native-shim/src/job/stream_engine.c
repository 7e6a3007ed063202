// SPDX-License-Identifier: Apache-2.0
/*
 * The engine that moves bytes between devices and sockets, and its threads.
 *
 * The other end of a socket decides how long its job takes, so no thread waits for one socket. A
 * thread works on a job until the socket would block, or until it has moved one piece. All
 * threads wait for all sockets in one epoll set, so that the sockets that are ready take turns.
 *
 * A socket is in the set one-shot, and armed again after each piece: two threads are never at
 * one job. An event carries the job's tag and not its address: the job may have ended
 * since, and if another one has its tag, that one has a turn for nothing.
 *
 * Each job has a duplicate of the caller's descriptor. The caller may close the original, and the
 * kernel may give its number to another file, while the job still runs. The caller's own
 * epoll set is not affected by the duplicate.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../internal.h"

/* A slow disk blocks a thread for each piece: with a few more, other devices' jobs still go on. */
#define STREAM_THREADS_MIN 4u

static bool reaches(const struct device *source, const struct device *destination)
{
	(void)source;
	(void)destination;
	return true;
}

/* Wait until the socket takes bytes, or has some; an end that has gone counts as that. */
static void arm(const struct job *job)
{
	struct epoll_event event = {
		.events = (job->destination ? EPOLLIN : EPOLLOUT) | EPOLLONESHOT,
		.data.u64 = job->tag,
	};

	epoll_ctl(job->shim->streams.epoll, EPOLL_CTL_MOD, job->socket, &event);
}

static void begin(struct job *job)
{
	job->step = STEP_STREAM;
	job->run_length = 1;
	list_add_tail(&job->queue, &job->shim->streams.jobs);
	arm(job);
}

/* What is armed still finds no job to have a turn. */
static void withdraw(struct job *job)
{
	list_remove(&job->queue);
}

static bool uncached(const struct job *job, uint64_t size)
{
	(void)job;
	(void)size;
	return false;
}

const struct engine_ops stream_engine = {
	.reaches = reaches,
	.begin = begin,
	.withdraw = withdraw,
	.uncached = uncached,
};

/**
 * stream_take_socket() - give a job that is not in flight yet its own descriptor
 *
 * Return: 0, -ENOTCONN (no such descriptor), -ENOTSOCK, -EINVAL (not a stream, or one that
 * blocks), -EMFILE or -ENOMEM.
 */
int stream_take_socket(struct job *job, int socket)
{
	struct epoll_event none = { .events = EPOLLONESHOT, .data.u64 = job->tag };
	int type;
	socklen_t size = sizeof(type);
	int flags;

	if (getsockopt(socket, SOL_SOCKET, SO_TYPE, &type, &size))
		return errno == EBADF ? -ENOTCONN : -errno;
	flags = fcntl(socket, F_GETFL);
	if (type != SOCK_STREAM || flags < 0 || !(flags & O_NONBLOCK))
		return -EINVAL;
	job->socket = fcntl(socket, F_DUPFD_CLOEXEC, 0);
	if (job->socket < 0)
		return -errno;
	/* Here, where it may fail; it is armed when the job begins. */
	if (epoll_ctl(job->shim->streams.epoll, EPOLL_CTL_ADD, job->socket, &none))
		return errno == ENOSPC ? -ENOMEM : -errno;
	return 0;
}

/* Run one piece of the job. The caller holds the lock, which is released while the piece runs. */
static void take_turn(struct job *job)
{
	struct dma_shim *shim = job->shim;
	struct piece piece;

	step_hand_out(job, &piece);
	pthread_mutex_unlock(&shim->lock);
	piece_run(&piece);
	pthread_mutex_lock(&shim->lock);

	if (piece.status || job->position + piece.bytes == job->segments[piece.segment].size)
		list_remove(&job->queue);
	/* Unless it was cancelled meanwhile */
	else if (!list_empty(&job->queue))
		arm(job);
	step_piece_done(&piece);
	/* What was received may have to be written back. */
	pool_wake(&shim->pool);
}

/* Find the job of an event; NULL if that job has ended, or another thread works on it. */
static struct job *find_ready(const struct dma_shim *shim, uint64_t tag)
{
	struct job *job = tag_find(shim, tag);

	if (!job || job->engine != &stream_engine || job->step != STEP_STREAM ||
	    job->running || list_empty(&job->queue))
		return NULL;
	return job;
}

static void *stream_worker(void *argument)
{
	struct dma_shim *shim = argument;
	bool stop = false;

	/* At the caller's priority: it would do this itself otherwise. */
	while (!stop) {
		struct epoll_event event;
		struct job *job;

		if (epoll_wait(shim->streams.epoll, &event, 1, -1) < 1)
			continue;
		pthread_mutex_lock(&shim->lock);
		stop = shim->streams.stop;
		job = find_ready(shim, event.data.u64);
		if (job)
			take_turn(job);
		pthread_mutex_unlock(&shim->lock);
		outbox_send(&shim->outbox);
	}
	return NULL;
}

/* Return: 0 or a negative errno; what was started is stopped by streams_stop(). */
int streams_start(struct dma_shim *shim, uint32_t threads)
{
	struct streams *streams = &shim->streams;
	struct epoll_event event = { .events = EPOLLIN };

	if (threads < STREAM_THREADS_MIN)
		threads = STREAM_THREADS_MIN;
	list_init(&streams->jobs);
	streams->stopped = -1;
	streams->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (streams->epoll < 0)
		return -errno;
	streams->stopped = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (streams->stopped < 0 ||
	    epoll_ctl(streams->epoll, EPOLL_CTL_ADD, streams->stopped, &event))
		return -errno;
	while (streams->thread_count < threads) {
		char name[24];
		int error;

		snprintf(name, sizeof(name), "dma-stream-%u", streams->thread_count);
		error = thread_start(&streams->threads[streams->thread_count], name,
				     stream_worker, shim);
		if (error)
			return error;
		streams->thread_count++;
	}
	return 0;
}

/* Wait for the threads to end; no job may be in flight. */
void streams_stop(struct dma_shim *shim)
{
	struct streams *streams = &shim->streams;
	uint64_t one = 1;

	pthread_mutex_lock(&shim->lock);
	streams->stop = true;
	pthread_mutex_unlock(&shim->lock);
	if (streams->stopped >= 0) {
		while (write(streams->stopped, &one, sizeof(one)) < 0 && errno == EINTR)
			;
	}
	for (uint32_t n = 0; n < streams->thread_count; n++)
		pthread_join(streams->threads[n], NULL);
	if (streams->stopped >= 0)
		close(streams->stopped);
	if (streams->epoll >= 0)
		close(streams->epoll);
}

PUBLIC int dma_shim_socket_ready(int fd, uint32_t receives)
{
	struct pollfd ready = { .fd = fd, .events = receives ? POLLIN : POLLOUT };

	if (fd < 0)
		return -EBADF;
	return poll(&ready, 1, 0) != 0;
}
