// SPDX-License-Identifier: Apache-2.0
/*
 * How a thread runs the piece that it took: the only place where bytes of devices are
 * touched. Runs without the lock and under a guard against faults.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "../internal.h"

#define PAGE_SIZE UINT64_C(4096)

/* On the stack of whichever thread; two of them are in its caches. */
#define READ_SIZE (UINT64_C(32) << 10)

/*
 * Bytes that pass through a file once, on their way to or from memory, go by
 * read and write: faulting its pages in costs several times what copying them
 * does, and mapped they count as this process's memory.
 *
 * Return: 0, -EIO, -ENXIO or -ENOSPC.
 */
static int copy(const struct job *job, const struct dma_shim_segment *segment,
		uint64_t offset, uint64_t size)
{
	const struct device *source = job->source_device;
	const struct device *destination = job->destination_device;
	uint64_t from_offset = segment->src_offset + offset;
	uint64_t to_offset = segment->dst_offset + offset;
	const unsigned char *from = job->source + from_offset;
	unsigned char *to = job->destination + to_offset;

	if (!source && destination && destination->plain_io)
		return file_write(destination, from, to_offset, size);
	if (!destination && source && source->plain_io)
		return file_read(source, to, from_offset, size);
	if (job->kernel && size >= STREAM_SEGMENT_MIN)
		copy_streaming(job->kernel, to, from, size);
	else
		memcpy(to, from, size);
	return 0;
}

/*
 * What the job is for, with a part of a segment. A fault leaves piece->bytes as it was
 * before that.
 */
static void operate(struct piece *piece, const struct dma_shim_segment *segment,
		    uint64_t offset, uint64_t size)
{
	const struct job *job = piece->job;
	uint64_t equal;

	switch (job->operation) {
	case DMA_SHIM_COPY:
		piece->status = copy(job, segment, offset, size);
		if (piece->status)
			return;
		break;
	case DMA_SHIM_FILL:
		pattern_fill(&job->pattern, size >= STREAM_SEGMENT_MIN ? job->kernel : NULL,
			     job->destination + segment->dst_offset + offset, offset, size);
		break;
	case DMA_SHIM_COMPARE:
		equal = equal_bytes(job->source + segment->src_offset + offset,
				    job->destination + segment->dst_offset + offset, size);
		if (equal < size) {
			piece->difference = offset + equal;
			size = equal + 1;
		}
		break;
	}
	piece->bytes += size;
}

/*
 * Of bytes that are only read. In memory a hole is given a page when it is read
 * through a mapping, but not when it is read by read(2).
 */
static int checksum_source(struct piece *piece, uint64_t offset, uint64_t size)
{
	const struct job *job = piece->job;
	const struct device *source = job->source_device;
	unsigned char bytes[READ_SIZE];

	if (job->destination || !source || source->kind != DMA_SHIM_FILE ||
	    !source->in_memory) {
		piece->source_crc = crc32c(piece->source_crc, job->source + offset, size);
		return 0;
	}
	while (size) {
		size_t part = size < sizeof(bytes) ? size : sizeof(bytes);
		int error = file_read(source, bytes, offset, part);

		if (error)
			return error;
		piece->source_crc = crc32c(piece->source_crc, bytes, part);
		offset += part;
		size -= part;
	}
	return 0;
}

/* Continue the piece's checksums; false if they differ and must not. */
static bool check(struct piece *piece, const struct dma_shim_segment *segment,
		  uint64_t offset, uint64_t size)
{
	const struct job *job = piece->job;

	if (job->operation == DMA_SHIM_FILL)
		piece->source_crc = pattern_crc32c(&job->pattern, piece->source_crc,
						   offset, size);
	else
		piece->status = checksum_source(piece, segment->src_offset + offset, size);
	if (!(job->flags & DMA_SHIM_JOB_VERIFY))
		return true;
	piece->destination_crc = crc32c(piece->destination_crc,
					job->destination + segment->dst_offset + offset,
					size);
	return piece->source_crc == piece->destination_crc;
}

/*
 * How many segments from @first on, none from @end on, can be copied as one: they lie one
 * behind the other, and none reads what another writes, so they can also be copied again.
 */
static uint32_t join(const struct job *job, uint32_t first, uint32_t end, uint64_t *size)
{
	const struct dma_shim_segment *segment = &job->segments[first];
	uintptr_t from = (uintptr_t)job->source + segment->src_offset;
	uintptr_t to = (uintptr_t)job->destination + segment->dst_offset;
	uint64_t apart = from < to ? to - from : from - to;
	uint32_t next = first + 1;

	*size = segment->size;
	for (; next < end; next++) {
		const struct dma_shim_segment *other = &job->segments[next];

		if (other->src_offset != segment->src_offset + *size ||
		    other->dst_offset != segment->dst_offset + *size ||
		    *size + other->size > apart)
			break;
		*size += other->size;
	}
	return next - first;
}

/*
 * Copy segments, those that lie one behind the other as one: for each of 4096 of 4 KiB by
 * itself a copy takes 1.5 to 3 times as long. If that fails, nobody knows how far it came,
 * so they are copied again one by one.
 */
static void copy_run(struct piece *piece)
{
	const struct job *job = piece->job;
	uint32_t end = piece->segment + piece->run_length;
	uint32_t count;

	for (uint32_t n = piece->at; n < end; n += count) {
		uint64_t size = job->segments[n].size;

		count = piece->singly ? 1 : join(job, n, end, &size);
		piece->at = n;
		piece->joined = count > 1;
		operate(piece, &job->segments[n], 0, size);
		if (!piece->status)
			continue;
		if (count == 1)
			return;
		piece->status = 0;
		piece->singly = true;
		count = 0;
	}
	piece->joined = false;
}

/*
 * Both checksums of a job begin with the same seed, and appending is
 * invertible: they are equal after a segment if and only if that segment is.
 */
static void run_segments(struct piece *piece)
{
	const struct job *job = piece->job;
	bool checks = job->flags & (DMA_SHIM_JOB_CHECKSUM | DMA_SHIM_JOB_VERIFY);
	uint32_t end = piece->segment + piece->run_length;

	if (piece->step == STEP_RUN && job->operation == DMA_SHIM_COPY && !checks) {
		copy_run(piece);
		return;
	}
	for (uint32_t n = piece->segment; n < end; n++) {
		const struct dma_shim_segment *segment = &job->segments[n];
		uint64_t began;
		bool same;

		piece->at = n;
		if (piece->step == STEP_RUN) {
			operate(piece, segment, 0, segment->size);
			if (piece->status || piece->difference != DMA_SHIM_NO_DIFFERENCE)
				return;
		}
		if (!checks)
			continue;
		began = now_ns();
		same = check(piece, segment, 0, segment->size);
		piece->check_ns += now_ns() - began;
		if (piece->status)
			return;
		if (!job->destination)
			piece->bytes += segment->size;
		if (!same) {
			piece->status = -EBADMSG;
			return;
		}
	}
}

/*
 * Leaves the checksums shifted to their place in the segment's. They are
 * compared when the segment's are whole, so that a difference is reported with
 * checksums that show it.
 */
static void check_part(struct piece *piece)
{
	const struct job *job = piece->job;
	const struct dma_shim_segment *segment = &job->segments[piece->segment];
	uint64_t after = segment->size - piece->offset - piece->size;

	piece->source_crc = 0;
	piece->destination_crc = 0;
	check(piece, segment, piece->offset, piece->size);
	if (piece->status)
		return;
	if (!job->destination)
		piece->bytes = piece->size;
	piece->source_crc = crc32c_shift(piece->source_crc, after);
	piece->destination_crc = crc32c_shift(piece->destination_crc, after);
}

/*
 * Write back a piece's worth of what may be dirty in caches. Segments are cut
 * as they were for copying, so that the ends of pieces that passed the caches
 * by are where they were then.
 */
static void write_back_segments(struct piece *piece)
{
	const struct job *job = piece->job;
	uint64_t left = piece->size;

	while (piece->at < job->segment_count && left) {
		const struct dma_shim_segment *segment = &job->segments[piece->at];
		const unsigned char *start;
		uint64_t size = segment->size - piece->offset;
		uint64_t cost = 2 * CACHE_LINE;

		if (size > PIECE_SIZE)
			size = PIECE_SIZE;
		start = job->destination + segment->dst_offset + piece->offset;
		if (job->engine->uncached(job, size)) {
			write_back(start, 1);
			write_back(start + size - 1, 1);
		} else {
			write_back(start, size);
			cost += size;
		}
		left -= cost < left ? cost : left;

		piece->offset += size;
		if (piece->offset == segment->size) {
			piece->offset = 0;
			piece->at++;
		}
	}
}

/*
 * If checksums read a file through its mapping, once, its pages would stay
 * mapped, and so count as this process's memory for as long as it lives. The
 * page cache keeps the bytes.
 */
static void unmap_passed(const struct device *device, uint64_t offset, uint64_t size)
{
	uint64_t first = (offset + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
	uint64_t end = (offset + size) & ~(PAGE_SIZE - 1);

	if (first < end)
		madvise(device->base + first, end - first, MADV_DONTNEED);
}

static void unmap_piece(const struct piece *piece)
{
	const struct job *job = piece->job;
	bool reads = job->source_device;
	uint32_t mapped = DMA_SHIM_JOB_VERIFY | (reads ? DMA_SHIM_JOB_CHECKSUM : 0);
	const struct device *device = reads ? job->source_device :
					      job->destination_device;
	const struct dma_shim_segment *segment = &job->segments[piece->segment];

	if (!(job->flags & mapped) || !device || device->kind != DMA_SHIM_FILE ||
	    (reads && job->destination_device))
		return;
	if (piece->step == STEP_RUN || piece->step == STEP_CHECK_RUN) {
		for (uint32_t n = 0; n < piece->run_length; n++, segment++)
			unmap_passed(device, reads ? segment->src_offset :
						     segment->dst_offset, segment->size);
	} else if (piece->step == STEP_CHECK) {
		unmap_passed(device, (reads ? segment->src_offset : segment->dst_offset) +
				     piece->offset, piece->size);
	}
}

static void execute(void *argument)
{
	struct piece *piece = argument;
	const struct job *job = piece->job;

	switch (piece->step) {
	case STEP_COPY:
		operate(piece, &job->segments[piece->segment], piece->offset, piece->size);
		break;
	case STEP_CHECK:
		check_part(piece);
		break;
	case STEP_RUN:
	case STEP_CHECK_RUN:
		run_segments(piece);
		break;
	case STEP_STREAM:
		if (job->destination)
			socket_receive(piece);
		else
			socket_send(piece);
		break;
	case STEP_WRITEBACK:
		write_back_segments(piece);
		break;
	case STEP_SYNC:
	case STEP_END:
		break;
	}
	/*
	 * Ends the write-backs; and if caches are persistent, this is what
	 * makes the stores so, by the thread that made them.
	 */
	store_fence();
}

static int fault_status(const struct job *job, const struct fault *fault)
{
	const struct device *devices[] = {
		job->destination_device, job->source_device,
	};

	for (size_t n = 0; n < sizeof(devices) / sizeof(*devices); n++) {
		const struct device *device = devices[n];

		if (device && (uintptr_t)fault->address - (uintptr_t)device->base <
			      device->size)
			return device_fault_status(device, fault);
	}
	/* In the caller's memory, which may be a mapping too */
	return -EIO;
}

void piece_run(struct piece *piece)
{
	struct fault fault;
	bool whole;

	piece->began = now_ns();
	whole = sigbus_guard(execute, piece, &fault);
	if (!whole && piece->joined) {
		piece->singly = true;
		whole = sigbus_guard(execute, piece, &fault);
	}
	if (!whole)
		piece->status = fault_status(piece->job, &fault);
	else
		unmap_piece(piece);
	piece->ended = now_ns();
}
