// SPDX-License-Identifier: Apache-2.0
/*
 * The sequence of a job's steps.
 *
 *   for each segment, or run of some:         copy, fill or compare, then checksums
 *   once, if the destination needs it:        write back, or sync
 *
 * A step begins when all pieces of the one before have ended, so a segment sees
 * what earlier ones wrote. Each phase has its own wall time: from the moment a
 * step's first piece begins to the moment its last one ends.
 *
 * Everything here runs with the lock held.
 */
#include <errno.h>

#include "../internal.h"

#define PROGRESS_INTERVAL_NS UINT64_C(100000000)

static bool has_checks(const struct job *job)
{
	return job->flags & (DMA_SHIM_JOB_CHECKSUM | DMA_SHIM_JOB_VERIFY);
}

static enum step flush_step(const struct job *job)
{
	if (!(job->flags & DMA_SHIM_JOB_FLUSH))
		return STEP_END;
	switch (job->destination_device->flush_basis) {
	case DMA_SHIM_FLUSH_MSYNC:
		return STEP_SYNC;
	case DMA_SHIM_FLUSH_CLWB:
	case DMA_SHIM_FLUSH_CLFLUSHOPT:
	case DMA_SHIM_FLUSH_CLFLUSH:
		return STEP_WRITEBACK;
	default:
		/* Volatile, or done by the fence that ends every piece. */
		return STEP_END;
	}
}

/* The step that begins with job->segment, or comes after the last one */
static enum step segment_step(struct job *job)
{
	if (job->segment == job->segment_count) {
		job->segment = 0;
		job->position = 0;
		return flush_step(job);
	}
	if (job->segment == job->copied)
		return STEP_COPY;
	return job->segments[job->segment].size > PIECE_SIZE ? STEP_CHECK : STEP_CHECK_RUN;
}

/* What comes after the step that is over */
static enum step step_after(struct job *job)
{
	switch (job->step) {
	case STEP_COPY:
		job->copied = job->segment + job->run_length;
		if (!has_checks(job))
			job->segment = job->copied;
		return segment_step(job);
	case STEP_RUN:
	case STEP_STREAM:
		job->segment += job->run_length;
		job->copied = job->segment;
		return segment_step(job);
	case STEP_CHECK:
	case STEP_CHECK_RUN:
		job->segment += job->run_length;
		return segment_step(job);
	default:
		return job->segment < job->segment_count ? job->step : STEP_END;
	}
}

/*
 * Queue a job that has pieces for the threads of the pool. Wakes nobody: a
 * thread of the pool that goes on to a job's next step takes it up itself.
 */
void step_queue(struct job *job)
{
	turns_add(&job->shim->pool.turns, job);
}

static void step_begin(struct job *job, enum step step)
{
	job->step = step;
	job->step_began = 0;
	job->step_ended = 0;
	job->next = job->segment;

	switch (step) {
	case STEP_COPY:
	case STEP_RUN:
	case STEP_STREAM:
		job->position = 0;
		job->engine->begin(job);
		break;
	case STEP_CHECK:
		job->run_length = 1;
		job->position = 0;
		job->segment_source_crc = 0;
		job->segment_destination_crc = 0;
		step_queue(job);
		break;
	case STEP_CHECK_RUN:
		job_plan_run(job, job->copied);
		step_queue(job);
		break;
	case STEP_WRITEBACK:
		step_queue(job);
		break;
	case STEP_SYNC:
		job->shim->syncer.add(job);
		break;
	case STEP_END:
		break;
	}
}

static uint64_t cost_of(uint64_t size)
{
	return size > SEGMENT_COST ? size : SEGMENT_COST;
}

/*
 * Make job->segment and the small ones after it, a piece's worth and none from
 * @end on, the job's run; false if it is too large for that.
 */
bool job_plan_run(struct job *job, uint32_t end)
{
	const struct dma_shim_segment *segments = job->segments;
	uint32_t next = job->segment;
	uint64_t cost = 0;

	job->run_size = 0;
	for (; next < end; next++) {
		uint64_t size = segments[next].size;

		cost += cost_of(size);
		if (cost > PIECE_SIZE)
			break;
		job->run_size += size;
	}
	job->run_length = next - job->segment;
	return job->run_length;
}

void job_begin(struct job *job)
{
	job->segment = 0;
	job->copied = job->destination || job->socket >= 0 ? 0 : job->segment_count;
	step_begin(job, segment_step(job));
}

/* Take into account that a thread worked on the current step in that time. */
void job_took(struct job *job, uint64_t began, uint64_t ended)
{
	if (!job->started_ns || began < job->started_ns)
		job->started_ns = began;
	if (!job->step_began || began < job->step_began)
		job->step_began = began;
	if (ended > job->step_ended)
		job->step_ended = ended;
}

static void account_phase(struct job *job)
{
	uint64_t time = job->step_ended - job->step_began;

	switch (job->step) {
	case STEP_COPY:
	case STEP_STREAM:
	case STEP_RUN:  /* step_piece_done() takes off the time of its checksums */
		job->copy_ns += time;
		break;
	case STEP_CHECK:
	case STEP_CHECK_RUN:
		job->verify_ns += time;
		break;
	case STEP_WRITEBACK:
	case STEP_SYNC:
		job->flush_ns += time;
		break;
	case STEP_END:
		break;
	}
}

/* The checksums of a large segment are whole: append them to the job's. */
static void finish_check(struct job *job)
{
	uint64_t size = job->segments[job->segment].size;

	job->source_crc = crc32c_shift(job->source_crc, size) ^
			  job->segment_source_crc;
	if (!(job->flags & DMA_SHIM_JOB_VERIFY))
		return;
	job->destination_crc = crc32c_shift(job->destination_crc, size) ^
			       job->segment_destination_crc;
	if (job->source_crc != job->destination_crc)
		job_fail(job, -EBADMSG, job->segment);
}

static bool all_handed_out(const struct job *job)
{
	if (job->step == STEP_COPY || job->step == STEP_CHECK)
		return job->next == job->segment + job->run_length;
	if (job->step == STEP_STREAM)
		return job->position == job->segments[job->segment].size;
	return true;
}

/*
 * Have a stream that ended early flush what it received. This job does it and no later one: if
 * the kernel cannot write what it has, it says so to the next sync, and only jobs that are in
 * flight then learn of it. False if there is nothing to flush.
 */
static bool flush_received(struct job *job)
{
	enum step flush = flush_step(job);

	if (flush == STEP_END || !job->position)
		return false;
	job->stream_status = job->status;
	job->status = 0;
	job->segments[0].size = job->position;
	job->position = 0;
	step_begin(job, flush);
	return true;
}

/**
 * job_advance() - go on after a step, or after what was left of it
 *
 * To be called when nothing of the step runs or waits any more. A cancelled
 * job with nothing left to do has succeeded, as has one that found a difference.
 *
 * Return: whether the job goes on; if not, it has been freed.
 */
bool job_advance(struct job *job)
{
	enum step next;

	account_phase(job);
	if (job->difference != DMA_SHIM_NO_DIFFERENCE) {
		job_retire(job);
		return false;
	}
	if (!job->status && !all_handed_out(job))
		job_fail(job, -ECANCELED, job_at(job));
	if (job->step == STEP_STREAM) {
		/* The cancel has ended the stream; the flush of what it received goes on. */
		job->cancelled = false;
		if (job->status && flush_received(job))
			return true;
	}
	if (!job->status && job->step == STEP_CHECK)
		finish_check(job);
	if (!job->status) {
		next = step_after(job);
		if (next != STEP_END && !job->cancelled) {
			step_begin(job, next);
			return true;
		}
		if (next != STEP_END)
			job_fail(job, -ECANCELED, job_at(job));
	}
	if (!job->status)
		job->status = job->stream_status;
	job_retire(job);
	return false;
}

/* Takes the job out of the engine's, or the step's, queue: no more pieces of it are handed out. */
static void withdraw(struct job *job)
{
	if (job->step == STEP_COPY || job->step == STEP_RUN || job->step == STEP_STREAM)
		job->engine->withdraw(job);
	else
		list_remove(&job->queue);
}

/* The segment that the job is at, as the caller counts them */
uint32_t job_at(const struct job *job)
{
	if (job->step == STEP_SYNC && job->sorted)
		return (uint32_t)job->segments[job->segment].src_offset;
	return job->segment;
}

/* Note why the job is to end, unless there was a reason already. */
void job_fail(struct job *job, int status, uint32_t segment)
{
	if (job->status)
		return;
	job->status = status;
	job->failed_segment = segment;
	withdraw(job);
}

/*
 * A piece of a comparison ended early, by a difference or a failure. Pieces that were
 * handed out before it may yet end so too, and the first in the job's order counts:
 * it is where one thread alone would have ended.
 */
static void end_comparison(struct job *job, const struct piece *piece)
{
	bool ended = job->status || job->difference != DMA_SHIM_NO_DIFFERENCE;

	if (ended && (piece->at > job->failed_segment ||
		      (piece->at == job->failed_segment &&
		       piece->offset > job->failed_offset)))
		return;
	job->status = piece->status;
	job->difference = piece->status ? DMA_SHIM_NO_DIFFERENCE : piece->difference;
	job->failed_segment = piece->at;
	job->failed_offset = piece->offset;
	withdraw(job);
}

/*
 * If a thread runs a piece of the job, that thread retires it; else it is retired here. A stream
 * flushes what it has received first.
 */
void job_cancel(struct job *job)
{
	struct pool *pool = &job->shim->pool;

	if (job->socket >= 0 && job->step != STEP_STREAM)
		return;
	job->cancelled = true;
	withdraw(job);
	if (job->running)
		return;
	if (job->step == STEP_STREAM) {
		job_advance(job);
		pool_wake(pool);
		return;
	}
	account_phase(job);
	job_fail(job, -ECANCELED, job_at(job));
	job_retire(job);
}

/* A piece's worth of the run, from where the last one ended; whether there is more */
static bool cut(struct job *job, struct piece *piece)
{
	uint32_t end = job->segment + job->run_length;
	uint64_t room = PIECE_SIZE;

	piece->segment = job->next;
	piece->at = job->next;
	piece->offset = job->position;
	while (room && job->next < end) {
		uint64_t left = job->segments[job->next].size - job->position;
		uint64_t size = left < room ? left : room;

		piece->run_length++;
		piece->size += size;
		room -= cost_of(size) < room ? cost_of(size) : room;
		job->position += size;
		if (size == left) {
			job->position = 0;
			job->next++;
		}
	}
	return job->next < end;
}

/* Hand out a piece of a job that has one; whether it has another after that */
bool step_hand_out(struct job *job, struct piece *piece)
{
	*piece = (struct piece) {
		.job = job,
		.step = job->step,
		.segment = job->segment,
		.at = job->segment,
		.source_crc = job->source_crc,
		.destination_crc = job->destination_crc,
		.difference = DMA_SHIM_NO_DIFFERENCE,
	};
	job->running++;

	switch (job->step) {
	case STEP_COPY:
	case STEP_CHECK:
		return cut(job, piece);
	case STEP_RUN:
	case STEP_CHECK_RUN:
		piece->run_length = job->run_length;
		piece->size = job->run_size;
		return false;
	case STEP_STREAM:
		piece->run_length = 1;
		piece->offset = job->position;
		piece->size = job->segments[job->segment].size - job->position;
		if (piece->size > PIECE_SIZE)
			piece->size = PIECE_SIZE;
		return false;
	default:
		piece->offset = job->position;
		piece->size = PIECE_SIZE;
		return false;
	}
}

/* Take the piece whose turn it is; false if there is none. */
bool step_take(struct turns *turns, struct piece *piece)
{
	struct job *job = turns_next(turns);
	bool more;

	if (!job)
		return false;
	more = step_hand_out(job, piece);
	turns_took(turns, job, piece->size, more);
	return true;
}

static void report_progress(struct job *job, uint64_t now, bool at_once)
{
	uint64_t since = job->reported_ns ? job->reported_ns : job->started_ns;

	if (job->over || job->bytes_done == job->bytes_reported ||
	    (!at_once && now < since + PROGRESS_INTERVAL_NS))
		return;
	job->bytes_reported = job->bytes_done;
	job->reported_ns = now;
	outbox_progress(&job->shim->outbox, job);
}

/* Take in a piece that has been run. The job may be gone afterwards. */
void step_piece_done(const struct piece *piece)
{
	struct job *job = piece->job;
	uint64_t ended = piece->ended;

	job->running--;
	job_took(job, piece->began, ended);
	job->bytes_done += piece->bytes;

	switch (piece->step) {
	case STEP_CHECK:
		job->segment_source_crc ^= piece->source_crc;
		job->segment_destination_crc ^= piece->destination_crc;
		break;
	case STEP_RUN:
		job->verify_ns += piece->check_ns;
		job->copy_ns -= piece->check_ns;
		/* fallthrough */
	case STEP_CHECK_RUN:
		job->source_crc = piece->source_crc;
		job->destination_crc = piece->destination_crc;
		break;
	case STEP_STREAM:
		job->position += piece->bytes;
		job->received += piece->received;
		job->source_crc = piece->source_crc;
		break;
	case STEP_WRITEBACK:
		job->segment = piece->at;
		job->position = piece->offset;
		break;
	default:
		break;
	}
	if (job->operation == DMA_SHIM_COMPARE) {
		if (piece->status || piece->difference != DMA_SHIM_NO_DIFFERENCE)
			end_comparison(job, piece);
	} else if (piece->status) {
		job_fail(job, piece->status, piece->at);
	}

	if (!job->running && list_empty(&job->queue) && !job_advance(job))
		return;
	/*
	 * The caller limits how long a socket's other end may do nothing: it has to know when
	 * that has begun, though it had done nothing for long, and when it has done its part.
	 */
	report_progress(job, ended, piece->step == STEP_STREAM &&
				    (job->step != STEP_STREAM || !job->reported_ns));
}
