// SPDX-License-Identifier: Apache-2.0
/*
 * Completion records on their way to the socket.
 *
 * Records wait in a ring that is grown at submission, so that finishing a job
 * never allocates. The thread that has put records there sends them; if another
 * thread is sending already, they go with its next batch. A full socket blocks no
 * thread that copies: the batch stays where it is, and the delivery thread, which
 * sleeps at all other times, waits until the socket takes more.
 *
 * Records are numbered from zero. A job remembers the number of its last
 * PROGRESS record, plus one, in job->progress_record: while that record is
 * still in the ring, what is newer takes its place.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../internal.h"

#define RING_MIN UINT64_C(256)

/* How long closing waits for a reader that is behind */
#define LINGER_MS 500

/* When to retry if the kernel had no memory for a message */
#define NO_MEMORY_MS 10

static struct dma_shim_completion *slot(const struct outbox *outbox, uint64_t number)
{
	return &outbox->ring[number & (outbox->ring_size - 1)];
}

/**
 * outbox_reserve() - make room for all that @jobs jobs in flight may have to say
 *
 * That is one record each, since a newer one takes an older one's place, beside
 * those that are there already.
 *
 * Return: 0 or -ENOMEM.
 */
int outbox_reserve(struct outbox *outbox, uint64_t jobs)
{
	struct dma_shim_completion *ring;
	uint64_t size;
	uint64_t need;
	int error = 0;

	pthread_mutex_lock(&outbox->lock);
	need = outbox->tail - outbox->head + jobs;
	size = outbox->ring_size ? outbox->ring_size : RING_MIN;
	while (size < need)
		size *= 2;
	if (size == outbox->ring_size)
		goto out;

	ring = malloc(size * sizeof(*ring));
	if (!ring) {
		error = -ENOMEM;
		goto out;
	}
	for (uint64_t n = outbox->head; n != outbox->tail; n++)
		ring[n & (size - 1)] = *slot(outbox, n);
	free(outbox->ring);
	outbox->ring = ring;
	outbox->ring_size = size;
out:
	pthread_mutex_unlock(&outbox->lock);
	return error;
}

/* With outbox->lock held. Return: the number of the record, plus one. */
static uint64_t put(struct outbox *outbox, const struct job *job,
		    const struct dma_shim_completion *record)
{
	uint64_t number = job->progress_record - 1;

	if (outbox->state == OUTBOX_CLOSED)
		return 0;
	if (!job->progress_record || number < outbox->head)
		number = outbox->tail++;
	*slot(outbox, number) = *record;
	return number + 1;
}

static struct dma_shim_completion describe(const struct job *job)
{
	return (struct dma_shim_completion) {
		.tag = job->tag,
		.bytes_done = job->bytes_done,
		.started_ns = job->started_ns,
		.copy_ns = job->copy_ns,
		.flush_ns = job->flush_ns,
		.verify_ns = job->verify_ns,
		.kind = DMA_SHIM_PROGRESS,
		.dma_channels = job->dma_channels,
		.dma_channel = job->dma_channel,
		.dma_retries = job->dma_retries,
		.difference = job->difference,
		.received = job->received,
	};
}

/* With the lock held; outbox_send() is to follow without it. */
void outbox_progress(struct outbox *outbox, struct job *job)
{
	struct dma_shim_completion record = describe(job);

	pthread_mutex_lock(&outbox->lock);
	job->progress_record = put(outbox, job, &record);
	pthread_mutex_unlock(&outbox->lock);
}

/* With the lock held; outbox_send() is to follow without it. */
void outbox_done(struct outbox *outbox, const struct job *job)
{
	struct dma_shim_completion record = describe(job);

	record.kind = DMA_SHIM_DONE;
	record.status = job->status;
	record.segment = job->failed_segment;
	record.dma_error = job->dma_error;
	record.finished_ns = now_ns();
	if (!record.started_ns)
		record.started_ns = record.finished_ns;
	if (job->flags & (DMA_SHIM_JOB_CHECKSUM | DMA_SHIM_JOB_VERIFY))
		record.source_crc = job->source_crc;
	if (job->flags & DMA_SHIM_JOB_VERIFY)
		record.destination_crc = job->destination_crc;

	if (job->over) {
		*job->over = record;
		return;
	}
	pthread_mutex_lock(&outbox->lock);
	put(outbox, job, &record);
	pthread_mutex_unlock(&outbox->lock);
}

/* Move records from the ring to the batch, which is empty. */
static bool refill(struct outbox *outbox)
{
	size_t count = 0;

	while (count < BATCH_RECORDS && outbox->head != outbox->tail)
		outbox->batch[count++] = *slot(outbox, outbox->head++);
	outbox->batch_size = count * sizeof(*outbox->batch);
	outbox->batch_sent = 0;
	return count;
}

/*
 * Send until there is nothing left or the socket takes no more. With
 * outbox->lock held, which is let go while sending.
 */
static void pump(struct outbox *outbox)
{
	outbox->state = OUTBOX_SENDING;
	while (outbox->batch_sent < outbox->batch_size || refill(outbox)) {
		const char *next = (const char *)outbox->batch + outbox->batch_sent;
		size_t size = outbox->batch_size - outbox->batch_sent;
		ssize_t sent;
		int error;

		pthread_mutex_unlock(&outbox->lock);
		sent = send(outbox->writer, next, size, MSG_DONTWAIT | MSG_NOSIGNAL);
		error = errno;
		pthread_mutex_lock(&outbox->lock);

		if (sent >= 0) {
			outbox->batch_sent += (size_t)sent;
		} else if (error == EAGAIN || error == ENOBUFS || error == ENOMEM) {
			outbox->state = OUTBOX_BLOCKED;
			outbox->no_memory = error != EAGAIN;
			pthread_cond_signal(&outbox->blocked);
			return;
		} else if (error != EINTR) {
			/* EPIPE: the reader has gone for good. */
			outbox->state = OUTBOX_CLOSED;
			outbox->head = outbox->tail;
			outbox->batch_sent = outbox->batch_size;
			return;
		}
	}
	outbox->state = OUTBOX_IDLE;
}

/* Send what waits, unless another thread is sending. Never blocks. */
void outbox_send(struct outbox *outbox)
{
	pthread_mutex_lock(&outbox->lock);
	if (outbox->state == OUTBOX_IDLE)
		pump(outbox);
	pthread_mutex_unlock(&outbox->lock);
}

static void *deliver(void *argument)
{
	struct outbox *outbox = argument;

	pthread_mutex_lock(&outbox->lock);
	while (!outbox->stop) {
		struct pollfd ready[] = {
			{ .fd = outbox->writer, .events = POLLOUT },
			{ .fd = outbox->wake, .events = POLLIN },
		};

		if (outbox->state != OUTBOX_BLOCKED) {
			pthread_cond_wait(&outbox->blocked, &outbox->lock);
			continue;
		}
		/* Out of memory, the socket may be writable: do not spin. */
		if (outbox->no_memory)
			ready[0].fd = -1;
		pthread_mutex_unlock(&outbox->lock);
		poll(ready, 2, ready[0].fd < 0 ? NO_MEMORY_MS : -1);
		pthread_mutex_lock(&outbox->lock);
		if (!outbox->stop)
			pump(outbox);
	}
	pthread_mutex_unlock(&outbox->lock);
	return NULL;
}

/* Return: 0 or a negative errno, and then nothing is left behind. */
int outbox_start(struct outbox *outbox)
{
	int pair[2];
	int error;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return -errno;
	outbox->reader = pair[0];
	outbox->writer = pair[1];
	outbox->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (outbox->wake < 0 || fcntl(outbox->reader, F_SETFL, O_NONBLOCK)) {
		error = -errno;
		goto fail;
	}
	pthread_mutex_init(&outbox->lock, NULL);
	pthread_cond_init(&outbox->blocked, NULL);
	error = thread_start(&outbox->thread, "dma-deliver", deliver, outbox);
	if (!error)
		return 0;

	pthread_cond_destroy(&outbox->blocked);
	pthread_mutex_destroy(&outbox->lock);
fail:
	if (outbox->wake >= 0)
		close(outbox->wake);
	close(outbox->reader);
	close(outbox->writer);
	return error;
}

/* Send the last records; the reader may be the very thread that closes. */
static void linger(struct outbox *outbox)
{
	struct pollfd writable = { .fd = outbox->writer, .events = POLLOUT };
	uint64_t end = now_ns() + LINGER_MS * UINT64_C(1000000);

	if (outbox->state == OUTBOX_CLOSED || !outbox->reader_taken)
		return;
	pump(outbox);
	while (outbox->state == OUTBOX_BLOCKED && now_ns() < end) {
		poll(&writable, 1, NO_MEMORY_MS);
		pump(outbox);
	}
}

/* No job may be in flight, nor any other thread at the outbox. */
void outbox_stop(struct outbox *outbox)
{
	uint64_t one = 1;

	pthread_mutex_lock(&outbox->lock);
	outbox->stop = true;
	pthread_cond_signal(&outbox->blocked);
	pthread_mutex_unlock(&outbox->lock);
	while (write(outbox->wake, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	pthread_join(outbox->thread, NULL);

	pthread_mutex_lock(&outbox->lock);
	linger(outbox);
	pthread_mutex_unlock(&outbox->lock);

	close(outbox->writer);
	close(outbox->wake);
	if (!outbox->reader_taken)
		close(outbox->reader);
	free(outbox->ring);
	pthread_cond_destroy(&outbox->blocked);
	pthread_mutex_destroy(&outbox->lock);
}

/* The reader's end, once. Return: it, or -EBUSY. */
int outbox_take_reader(struct outbox *outbox)
{
	int reader = -EBUSY;

	pthread_mutex_lock(&outbox->lock);
	if (!outbox->reader_taken)
		reader = outbox->reader;
	outbox->reader_taken = true;
	pthread_mutex_unlock(&outbox->lock);
	return reader;
}
