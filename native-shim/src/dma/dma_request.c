// SPDX-License-Identifier: Apache-2.0
/*
 * A piece of a job as a request to the kernel, and what its end means.
 *
 * To copy a piece again is safe if the hardware is done with it, and no
 * later segment has overwritten what it reads. Segments of a request that is
 * not ordered are independent of each other. One that is ordered goes on with
 * the first segment that was not copied whole: none after it was begun.
 */
#include <errno.h>

#include "dma.h"

/* The timeout that the kernel uses by default */
#define TIMEOUT_MS 10000u

/* How often a piece may be thrown out, and a pause that is twice as long each time */
#define MAX_TRIES 8u
#define PAUSE_NS UINT64_C(1000000)

/* When to retry if the kernel had no room, or no memory */
#define STALL_NS UINT64_C(10000000)

bool job_is_ending(const struct job *job)
{
	return job->status || job->cancelled;
}

/* Note why the job is to end, unless there was a reason already. */
void job_fail_dma(struct job *job, int status, uint32_t segment, uint32_t error,
		  uint32_t channel)
{
	if (job->status)
		return;
	job->dma_error = error;
	if (channel != IOAT_DMA_ANY_CHANNEL)
		job->dma_channel = channel;
	job_fail(job, status, segment);
}

static bool is_ordered(const struct piece *piece)
{
	return !piece->job->independent && piece->run_length > 1;
}

/* Of the piece's segment @n, the part that is in it */
static struct ioat_dma_segment part(const struct piece *piece, uint32_t n, uint64_t left)
{
	const struct dma_shim_segment *segment = &piece->job->segments[piece->segment + n];
	uint64_t skip = n ? 0 : piece->offset;
	uint64_t size = segment->size - skip;

	return (struct ioat_dma_segment) {
		.src_offset = segment->src_offset + skip,
		.dst_offset = segment->dst_offset + skip,
		.length = size < left ? size : left,
	};
}

static void enter_window(struct dma *dma, struct request *request)
{
	uint64_t least = request->piece.run_length * SEGMENT_COST;

	request->cost = request->piece.size > least ? request->piece.size : least;
	dma->window += request->cost;
}

static void leave_window(struct dma *dma, struct request *request)
{
	dma->window -= request->cost;
	request->cost = 0;
}

static void make_ready(struct request *request)
{
	request->state = REQUEST_READY;
	request->deadline = request->piece.job->deadline;
}

/* Take the piece whose turn it is; false if there is none, or no room. */
bool request_take(struct dma *dma)
{
	struct request *request;

	if (list_empty(&dma->free))
		return false;
	request = list_entry(dma->free.next, struct request, node);
	if (!step_take(&dma->turns, &request->piece))
		return false;
	request->piece.began = now_ns();
	request->tries = 0;
	request->canceled = false;
	make_ready(request);
	enter_window(dma, request);
	list_remove(&request->node);
	list_add_tail(&request->node, &dma->ready);
	return true;
}

/* What is left of its time, and no more than the kernel's own limit */
static uint32_t timeout_ms(const struct request *request)
{
	uint64_t now = now_ns();
	uint64_t left;

	if (request->deadline <= now)
		return 1;
	left = (request->deadline - now) / 1000000 + 1;
	return left < TIMEOUT_MS ? (uint32_t)left : TIMEOUT_MS;
}

/* Without the lock. */
void request_submit(struct dma *dma, struct request *request)
{
	const struct piece *piece = &request->piece;
	const struct job *job = piece->job;
	struct ioat_dma_submit submit = {
		.size = sizeof(submit),
		.flags = is_ordered(piece) ? IOAT_DMA_SUBMIT_ORDERED : 0,
		.src_region = job->source_device->dma_region,
		.dst_region = job->destination_device->dma_region,
		.channel = IOAT_DMA_ANY_CHANNEL,
		.timeout_ms = timeout_ms(request),
		.segments = (uintptr_t)dma->segments,
		.segment_count = piece->run_length,
	};
	uint64_t left = piece->size;

	for (uint32_t n = 0; n < piece->run_length; n++) {
		dma->segments[n] = part(piece, n, left);
		left -= dma->segments[n].length;
	}
	request->tag = dma->sequence++ * DMA_REQUESTS + (uint64_t)(request - dma->requests);
	submit.tag = request->tag;
	request->error = module_submit(dma->module, &submit);
	switch (request->error) {
	case 0:
		request->state = REQUEST_SENT;
		list_remove(&request->node);
		break;
	case -EAGAIN:
	case -ENOMEM:
		dma->stalled = now_ns() + STALL_NS;
		break;
	default:
		request->state = REQUEST_REFUSED;
		list_remove(&request->node);
		list_add_tail(&request->node, &dma->refused);
		break;
	}
}

/* The piece has ended. The job may be freed by this. */
static void finish(struct dma *dma, struct request *request)
{
	leave_window(dma, request);
	request->state = REQUEST_FREE;
	list_remove(&request->node);
	list_add_tail(&request->node, &dma->free);
	step_piece_done(&request->piece);
}

static void fail(struct request *request, int status, uint32_t segment, uint32_t error,
		 uint32_t channel)
{
	request->piece.status = status;
	request->piece.at = segment;
	/* The job's other pieces are to stop now, not when this one is settled. */
	job_fail_dma(request->piece.job, status, segment, error, channel);
}

/* The kernel did not take it: nothing was copied. */
void request_refused(struct dma *dma, struct request *request)
{
	struct piece *piece = &request->piece;

	piece->ended = now_ns();
	switch (request->error) {
	case -ENXIO:
		fail(request, -ENXIO, piece->segment, DMA_SHIM_DMA_ERROR_DEVICE,
		     IOAT_DMA_ANY_CHANNEL);
		break;
	case -ENODEV:
		fail(request, -ENODEV, piece->segment, DMA_SHIM_DMA_ERROR_CHANNEL,
		     IOAT_DMA_ANY_CHANNEL);
		break;
	default:
		fail(request, -EIO, piece->segment, DMA_SHIM_DMA_ERROR_NONE,
		     IOAT_DMA_ANY_CHANNEL);
		break;
	}
	finish(dma, request);
}

/* A pause is over. */
void request_resume(struct dma *dma, struct request *request)
{
	make_ready(request);
	list_remove(&request->node);
	list_add_tail(&request->node, &dma->ready);
}

/* End a request that is not with the kernel, if its job is to end. */
bool request_drop(struct dma *dma, struct request *request, uint64_t now)
{
	struct piece *piece = &request->piece;
	const struct job *job = piece->job;

	if (!job_is_ending(job) && now < job->deadline)
		return false;
	piece->ended = now;
	if (job_is_ending(job))
		piece->status = -ECANCELED;
	else
		fail(request, -ETIMEDOUT, piece->segment, DMA_SHIM_DMA_ERROR_TIMEOUT,
		     IOAT_DMA_ANY_CHANNEL);
	finish(dma, request);
	return true;
}

/*
 * Leave out the segments that an ordered request has copied. Return: how many
 * bytes it has copied of the one that is then the first.
 */
static uint64_t skip_copied(struct piece *piece, uint64_t bytes_done)
{
	while (piece->run_length > 1) {
		uint64_t size = part(piece, 0, piece->size).length;

		if (size > bytes_done)
			break;
		bytes_done -= size;
		piece->bytes += size;
		piece->size -= size;
		piece->segment++;
		piece->run_length--;
		piece->offset = 0;
	}
	return bytes_done;
}

/* The kernel timed it out by the deadline that its job had then; the job has a later one since. */
static bool gave_up_early(const struct request *request)
{
	return request->outcome.status == IOAT_DMA_TIMED_OUT &&
	       request->outcome.ended >= request->deadline &&
	       request->deadline < request->piece.job->deadline;
}

static bool may_be_copied_again(const struct request *request)
{
	const struct outcome *outcome = &request->outcome;

	return outcome->status == IOAT_DMA_ABORTED ||
	       (outcome->status == IOAT_DMA_GONE && outcome->error != IOAT_DMA_ERROR_DEVICE) ||
	       gave_up_early(request);
}

/*
 * It is copied again: thrown out with another's fault, its channel removed, or
 * given up early.
 */
static bool try_again(struct dma *dma, struct request *request)
{
	struct job *job = request->piece.job;

	if (!may_be_copied_again(request))
		return false;
	if (job_is_ending(job) || request->tries == MAX_TRIES)
		return false;
	if (!request->cost)
		enter_window(dma, request);
	request->resume = now_ns() + (PAUSE_NS << request->tries);
	request->tries++;
	job->dma_retries++;
	request->state = REQUEST_PAUSED;
	list_add_tail(&request->node, &dma->paused);
	return true;
}

static uint32_t failure_of(uint32_t error)
{
	switch (error) {
	case IOAT_DMA_ERROR_READ:
		return DMA_SHIM_DMA_ERROR_READ;
	case IOAT_DMA_ERROR_WRITE:
		return DMA_SHIM_DMA_ERROR_WRITE;
	case IOAT_DMA_ERROR_MAP:
		return DMA_SHIM_DMA_ERROR_MAP;
	default:
		return DMA_SHIM_DMA_ERROR_LOST;
	}
}

/* The piece failed, if it did; the job's other pieces are to stop. */
static void judge(struct request *request)
{
	const struct outcome *outcome = &request->outcome;
	uint32_t segment = outcome->segment, channel = outcome->channel;

	switch (outcome->status) {
	case IOAT_DMA_DONE:
		break;
	case IOAT_DMA_CANCELED:
		fail(request, -ECANCELED, segment, DMA_SHIM_DMA_ERROR_NONE,
		     IOAT_DMA_ANY_CHANNEL);
		break;
	case IOAT_DMA_TIMED_OUT:
		fail(request, -ETIMEDOUT, segment, DMA_SHIM_DMA_ERROR_TIMEOUT, channel);
		break;
	case IOAT_DMA_ABORTED:
		fail(request, -EIO, segment, DMA_SHIM_DMA_ERROR_ABORTED, channel);
		break;
	case IOAT_DMA_GONE:
		if (outcome->error == IOAT_DMA_ERROR_DEVICE)
			fail(request, -ENXIO, segment, DMA_SHIM_DMA_ERROR_DEVICE,
			     IOAT_DMA_ANY_CHANNEL);
		else
			fail(request, -ENODEV, segment, DMA_SHIM_DMA_ERROR_CHANNEL, channel);
		break;
	default:
		fail(request, -EIO, segment, failure_of(outcome->error), channel);
		break;
	}
}

static void note_outcome(struct request *request, const struct ioat_dma_completion *completion)
{
	struct piece *piece = &request->piece;
	struct outcome *outcome = &request->outcome;

	*outcome = (struct outcome) {
		.status = completion->status,
		.error = completion->error,
		.channel = completion->channel,
		.segment = piece->segment + completion->segment,
		.bytes = completion->bytes_done,
		.ended = completion->completed_ns,
	};
	piece->job->dma_channels |= completion->channels;
	if (is_ordered(piece) && completion->status != IOAT_DMA_DONE) {
		outcome->bytes = skip_copied(piece, outcome->bytes);
		outcome->segment = piece->segment;
	}
}

/* The hardware is done with it: retry it, or end it. */
static void settled(struct dma *dma, struct request *request)
{
	if (try_again(dma, request))
		return;
	judge(request);
	request->piece.bytes += request->outcome.bytes;
	request->piece.ended = request->outcome.ended;
	finish(dma, request);
}

/*
 * Take in a completion. While the hardware may still write, nothing follows from
 * it but that a timeout stops the job's other pieces.
 */
void request_completed(struct dma *dma, const struct ioat_dma_completion *completion)
{
	struct request *request = &dma->requests[completion->tag % DMA_REQUESTS];

	if (request->tag != completion->tag)
		return;
	if (request->state == REQUEST_SENT) {
		note_outcome(request, completion);
		if (completion->flags & IOAT_DMA_COMPLETION_UNSETTLED) {
			leave_window(dma, request);
			request->state = REQUEST_SETTLING;
			if (completion->status == IOAT_DMA_TIMED_OUT && !gave_up_early(request))
				judge(request);
			return;
		}
	} else if (request->state != REQUEST_SETTLING ||
		   !(completion->flags & IOAT_DMA_COMPLETION_SETTLED)) {
		return;
	}
	settled(dma, request);
}
