/* SPDX-License-Identifier: Apache-2.0 */
/**
 * DOC: dma_shim - copies between byte-addressable devices, without blocking
 *
 * The daemon's only way to move bytes. A context owns the devices it has
 * opened, the engines that copy between them and one socket on which completions
 * arrive. A job is submitted in one call that does not wait for the copy, unless
 * that is a matter of microseconds; progress and the end come back as fixed-size
 * records, many to a read, or from the call.
 *
 * Conventions, which hold for every function here:
 *
 *  - A function that can fail returns a negative errno; nothing is written to
 *    an output and nothing is kept on failure.
 *  - Sizes, offsets and positions are bytes. Times are nanoseconds of
 *    CLOCK_MONOTONIC.
 *  - Any function may be called from any thread, except that
 *    dma_shim_close() must be the last call on its context.
 *  - Structs have a fixed layout, the same on every platform that this
 *    library builds for (64-bit, little-endian), with no implicit padding:
 *    callers in other languages fill them as plain bytes. Fields named
 *    "reserved" must be zero.
 *  - The ABI number changes with any change to a layout, a constant or a
 *    meaning.
 */
#ifndef DMA_SHIM_H
#define DMA_SHIM_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DMA_SHIM_ABI 16

#define DMA_SHIM_MAX_SEGMENTS 4096u
#define DMA_SHIM_MAX_DEVICES 256u

/**
 * DMA_SHIM_SUBMIT_COMPLETED - already complete: the calling thread ran it; see
 * dma_shim_submit()
 */
#define DMA_SHIM_SUBMIT_COMPLETED 1

/**
 * DMA_SHIM_MEMORY - names the memory passed to dma_shim_submit() where a
 * device handle is expected.
 */
#define DMA_SHIM_MEMORY UINT32_C(0xfffffffe)
/**
 * DMA_SHIM_NOWHERE - as a destination: nothing is written, the source is only
 * read (for its checksum). As a source: nothing is read (FILL).
 */
#define DMA_SHIM_NOWHERE UINT32_C(0xffffffff)
/** DMA_SHIM_SOCKET - as a source or a destination: the job's socket. */
#define DMA_SHIM_SOCKET UINT32_C(0xfffffffd)

struct dma_shim;

/**
 * struct dma_shim_options - what a context is made with
 * @cpu_threads: threads that copy, 1 to 64; 0 chooses: as many as memory keeps
 *               busy, but one fewer than the CPUs this process may use (by its
 *               affinity and its control groups' quotas), so that the caller's
 *               event loop keeps one; at least one
 * @reserved:    zero
 */
struct dma_shim_options {
	uint32_t cpu_threads;
	uint32_t reserved;
};

/** enum dma_shim_device_kind - how a device is opened and flushed */
enum dma_shim_device_kind {
	/** a device-dax character device, mapped whole, flushed by the CPU */
	DMA_SHIM_DEVDAX = 1,
	/** a regular file standing in for one, mapped whole, flushed by msync */
	DMA_SHIM_FILE = 2,
};

/** enum dma_shim_persistence - what a store must reach to survive power loss */
enum dma_shim_persistence {
	/** nothing survives: DRAM, or a file system that lives in it */
	DMA_SHIM_VOLATILE = 0,
	/** the memory controller: CPU caches have to be written back */
	DMA_SHIM_MEMORY_CONTROLLER = 1,
	/** CPU caches are inside the persistence domain (eADR) */
	DMA_SHIM_CPU_CACHE = 2,
	/** the file system's backing store */
	DMA_SHIM_BACKING_STORE = 3,
	/** a file system of which it is not known whether it keeps what is synced */
	DMA_SHIM_UNKNOWN = 4,
};

/** enum dma_shim_flush_basis - by what a flush makes bytes persistent */
enum dma_shim_flush_basis {
	DMA_SHIM_FLUSH_NONE = 0,       /* it cannot, or it is not known to */
	DMA_SHIM_FLUSH_CLWB = 1,
	DMA_SHIM_FLUSH_CLFLUSHOPT = 2,
	DMA_SHIM_FLUSH_CLFLUSH = 3,
	DMA_SHIM_FLUSH_MSYNC = 4,
	DMA_SHIM_FLUSH_CPU_CACHE = 5,  /* a store fence is enough */
};

/**
 * struct dma_shim_device_spec - a device to open
 * @size:        for DEVDAX its size (a character device does not tell);
 *               for FILE zero or the size that the file must have
 * @align:       for DEVDAX its mapping alignment; for FILE zero
 * @kind:        enum dma_shim_device_kind
 * @persistence: for DEVDAX, what the platform says; ignored for FILE, where
 *               the file system decides: see dma_shim_storage()
 */
struct dma_shim_device_spec {
	uint64_t size;
	uint64_t align;
	uint32_t kind;
	uint32_t persistence;
};

/**
 * struct dma_shim_device_info - a device that was opened
 * @size:        bytes that can be addressed
 * @persistence: enum dma_shim_persistence
 * @flush_basis: enum dma_shim_flush_basis
 */
struct dma_shim_device_info {
	uint64_t size;
	uint32_t persistence;
	uint32_t flush_basis;
};

/** enum dma_shim_engine - who moves the bytes of a job */
enum dma_shim_engine {
	DMA_SHIM_ENGINE_CPU = 1,
	DMA_SHIM_ENGINE_DMA = 2,
};

/** enum dma_shim_priority - a job's share if engines are contended */
enum dma_shim_priority {
	DMA_SHIM_HIGH = 0,
	DMA_SHIM_NORMAL = 1,
	DMA_SHIM_LOW = 2,
};

/**
 * enum dma_shim_operation - what a job does with its segments
 *
 * FILL writes the pattern over each, beginning with the pattern's first byte; a
 * last part of it is cut. Its source is DMA_SHIM_NOWHERE, and each src_offset zero.
 *
 * COMPARE reads both ranges of each and ends at the first byte that differs; so it
 * takes no flags, and its ranges may overlap. Its source may be DMA_SHIM_MEMORY.
 *
 * Only the CPU engine fills and compares.
 *
 * A COPY between a device and DMA_SHIM_SOCKET sends or receives one segment, as fast as the
 * other end takes it or sends it; what is received may also go to DMA_SHIM_MEMORY. The socket
 * has no offset but zero; CHECKSUM and FLUSH are for what is received. It may last for as long as the other end does nothing:
 * dma_shim_cancel() is its time limit.
 */
enum dma_shim_operation {
	DMA_SHIM_COPY = 0,
	DMA_SHIM_FILL = 1,
	DMA_SHIM_COMPARE = 2,
};

#define DMA_SHIM_MAX_PATTERN 64u

/**
 * DOC: job flags
 *
 * FLUSH     - after all segments, make the destination as persistent as its
 *             device can be. A job whose flush failed has failed. What is received from a
 *             socket is flushed also if that ends early or is cancelled: -ECONNRESET and
 *             -ECANCELED say that all of @bytes_done is.
 * VERIFY    - after each segment, compare the CRC-32C of its source and its
 *             destination; a difference ends the job with -EBADMSG. Reports
 *             both CRCs over all segments in order. A FILL's source is the
 *             pattern, as it should lie there.
 * CHECKSUM  - report the CRC-32C of the source over all segments in order,
 *             continued from crc_seed. Implied by VERIFY.
 */
#define DMA_SHIM_JOB_FLUSH    UINT32_C(1)
#define DMA_SHIM_JOB_VERIFY   UINT32_C(2)
#define DMA_SHIM_JOB_CHECKSUM UINT32_C(4)

/** struct dma_shim_segment - one contiguous piece of a job */
struct dma_shim_segment {
	uint64_t src_offset;
	uint64_t dst_offset;
	uint64_t size;
};

/**
 * struct dma_shim_job - a unit of work
 * @tag:           the caller's name for it, given back in its completions;
 *                 unique among the jobs in flight
 * @memory_size:   size of the memory passed to dma_shim_submit(); zero if none
 * @source:        device handle, DMA_SHIM_MEMORY or DMA_SHIM_SOCKET
 * @destination:   device handle, DMA_SHIM_MEMORY, DMA_SHIM_NOWHERE or DMA_SHIM_SOCKET
 * @engine:        enum dma_shim_engine
 * @priority:      enum dma_shim_priority
 * @flags:         DMA_SHIM_JOB_*
 * @crc_seed:      CRC-32C of what came before; zero to begin
 * @segment_count: 1 to DMA_SHIM_MAX_SEGMENTS
 * @timeout_ms:    from now on, for what a DMA channel may hang on; 0 is none of
 *                 the caller's own: then each piece has 10 s. What hangs may
 *                 yet write, so the DONE record comes once it cannot, some
 *                 seconds later. The CPU engine never hangs, and ignores it
 * @operation:     enum dma_shim_operation
 * @pattern_size:  FILL: a power of two, at most DMA_SHIM_MAX_PATTERN; else zero
 * @pattern:       FILL: that many bytes, the rest zero
 * @socket:        SOCKET: a connected stream socket that does not block; else zero. It is
 *                 duplicated: the caller may close its own at any time. Until the
 *                 DONE record, nobody else may send on it, or receive from it
 * @reserved:      zero
 *
 * The DMA engine copies between devices that dma_shim_dma_attach() has made
 * known to it, and only between those.
 *
 * The segments behave as if dealt with one after the other: a later one sees what
 * an earlier one wrote.
 */
struct dma_shim_job {
	uint64_t tag;
	uint64_t memory_size;
	uint32_t source;
	uint32_t destination;
	uint32_t engine;
	uint32_t priority;
	uint32_t flags;
	uint32_t crc_seed;
	uint32_t segment_count;
	uint32_t timeout_ms;
	uint32_t operation;
	uint32_t pattern_size;
	uint8_t pattern[DMA_SHIM_MAX_PATTERN];
	int32_t socket;
	uint32_t reserved;
};

/** enum dma_shim_completion_kind */
enum dma_shim_completion_kind {
	/** the job goes on; @bytes_done has grown. At most one each 100 ms; of a socket also one
	 * with the first bytes, and one when all is received and yet to be flushed */
	DMA_SHIM_PROGRESS = 1,
	/** the job is over and touches no memory any more */
	DMA_SHIM_DONE = 2,
};

/** enum dma_shim_dma_error - what became of a job in the DMA engine, more closely */
enum dma_shim_dma_error {
	DMA_SHIM_DMA_ERROR_NONE = 0,
	DMA_SHIM_DMA_ERROR_READ = 1,     /* a channel could not read the source */
	DMA_SHIM_DMA_ERROR_WRITE = 2,    /* nor write the destination */
	DMA_SHIM_DMA_ERROR_LOST = 3,     /* a channel was reset, or told no end */
	DMA_SHIM_DMA_ERROR_MAP = 4,      /* the memory could not be mapped for it */
	DMA_SHIM_DMA_ERROR_ABORTED = 5,  /* thrown out with others' faults, again
					  * and again */
	DMA_SHIM_DMA_ERROR_TIMEOUT = 6,
	DMA_SHIM_DMA_ERROR_DEVICE = 7,   /* the device was removed */
	DMA_SHIM_DMA_ERROR_CHANNEL = 8,  /* all channels were removed or set aside */
};

/* As a channel: none. */
#define DMA_SHIM_NO_CHANNEL UINT32_MAX

/* As the place of a difference: there is none. */
#define DMA_SHIM_NO_DIFFERENCE UINT64_MAX

/**
 * struct dma_shim_completion - how a job stands, or ended
 * @tag:             the job's
 * @bytes_done:      bytes copied, filled, compared, sent or received (or read, if nothing is
 *                   written) so far
 * @started_ns:      when its first byte was about to move
 * @finished_ns:     when it ended; zero in a PROGRESS record
 * @copy_ns:         time spent copying, wall clock, phases not overlapping
 * @flush_ns:        likewise flushing
 * @verify_ns:       likewise computing CRCs
 * @kind:            enum dma_shim_completion_kind
 * @status:          zero, or why the job failed:
 *                   -ECANCELED  dma_shim_cancel()
 *                   -EBADMSG    source and destination differ after the copy
 *                   -EIO        the medium could not be read, written or synced;
 *                               with @dma_error: a DMA channel could not copy
 *                   -ETIMEDOUT  a DMA channel did not end in time
 *                   -ENODEV     there is no DMA channel any more
 *                   -ENXIO      the device, or that part of it, has gone
 *                   -ENOSPC     a file's file system is full
 *                   -ECONNRESET the socket's other end has gone, takes no more, or has sent
 *                               its last byte too soon
 * @segment:         index of the segment in which it failed, or in which the
 *                   first difference is; else zero
 * @source_crc:      with CHECKSUM or VERIFY; of a job with a socket, also of one that failed,
 *                   over @bytes_done
 * @destination_crc: with VERIFY
 * @dma_error:       enum dma_shim_dma_error
 * @dma_channels:    a bit for each channel, by its id, that had a part of it
 * @dma_channel:     id of the channel that failed, or DMA_SHIM_NO_CHANNEL
 * @dma_retries:     how often a part of it was thrown out with another's fault,
 *                   or with its channel, and tried again
 * @difference:      COMPARE, if the status is zero: from the beginning of that
 *                   segment on, the first byte that differs; else
 *                   DMA_SHIM_NO_DIFFERENCE
 * @received:        bytes that were taken from the socket: of a job that failed, it may be
 *                   more than @bytes_done
 */
struct dma_shim_completion {
	uint64_t tag;
	uint64_t bytes_done;
	uint64_t started_ns;
	uint64_t finished_ns;
	uint64_t copy_ns;
	uint64_t flush_ns;
	uint64_t verify_ns;
	uint32_t kind;
	int32_t status;
	uint32_t segment;
	uint32_t source_crc;
	uint32_t destination_crc;
	uint32_t dma_error;
	uint64_t dma_channels;
	uint32_t dma_channel;
	uint32_t dma_retries;
	uint64_t difference;
	uint64_t received;
};

/**
 * struct dma_shim_cpu_info - the CPU engine as it runs here
 * @threads:         threads that copy
 * @cpus:            whose time this process may use, by its affinity and its
 *                   control groups' quotas
 * @instruction_set: what large copies use: "avx512", "avx2", "sse2" (stores that
 *                   pass the caches by) or "movsb"; NUL-terminated
 * @stream_from:     jobs of so many bytes and more are large; smaller ones go
 *                   through the caches, unless they are to be written back
 * @model:           the processor's name as it tells itself; NUL-terminated
 */
struct dma_shim_cpu_info {
	uint32_t threads;
	uint32_t cpus;
	char instruction_set[24];
	uint64_t stream_from;
	char model[56];
};

/** dma_shim_version() - the library's version, "MAJOR.MINOR.PATCH" */
const char *dma_shim_version(void);

/** dma_shim_abi() - DMA_SHIM_ABI of the library that was loaded */
uint32_t dma_shim_abi(void);

/**
 * dma_shim_prepare() - begin to measure how memory is copied best, on a thread
 *
 * The first dma_shim_open() then waits only for what is left of it. Does nothing
 * if there is no thread to be had, or if this process may use one CPU alone:
 * what the caller does meanwhile would disturb the measurement.
 */
void dma_shim_prepare(void);

/**
 * dma_shim_open() - make a context: its threads and its completion socket
 * @options: see struct dma_shim_options
 * @out:     the context
 *
 * The first call in a process measures how memory is copied best, which takes
 * tens of milliseconds, unless dma_shim_prepare() has.
 *
 * Installs a process-wide SIGBUS handler that turns a fault inside a job into
 * that job's failure and hands any other fault on to the handler before it.
 *
 * Return: 0, -EINVAL, -ENOMEM, -EMFILE or -EAGAIN (no thread to be had).
 */
int dma_shim_open(const struct dma_shim_options *options, struct dma_shim **out);

/**
 * dma_shim_close() - cancel what is in flight, wait for its pieces, free all
 * @shim: the context; NULL is ignored
 *
 * The completion socket's reader sees the last records, then end of file.
 */
void dma_shim_close(struct dma_shim *shim);

/**
 * dma_shim_completion_fd() - the reading end of the completion socket
 * @shim: the context
 *
 * A non-blocking stream of struct dma_shim_completion. The caller owns the
 * descriptor and closes it. While they are not read, records wait in memory, one
 * DONE for each job in flight and at most one PROGRESS: no thread blocks, and
 * nothing is lost.
 *
 * Return: the descriptor, or -EBUSY when it was handed out before.
 */
int dma_shim_completion_fd(struct dma_shim *shim);

/**
 * dma_shim_device_open() - map a device and take it for this process
 * @shim: the context
 * @path: of the character device or the file
 * @spec: see struct dma_shim_device_spec
 * @info: what was found
 *
 * Takes an exclusive flock(2) on the device, so that two daemons cannot order
 * their copies apart from each other.
 *
 * Return: a handle (0 and up), or -EWOULDBLOCK (another process holds it),
 * -EINVAL (not of that kind, size or alignment wrong), -ELOOP (a link in a
 * file's place), -ENFILE (more than DMA_SHIM_MAX_DEVICES), or what open(2) and mmap(2) say.
 */
int dma_shim_device_open(struct dma_shim *shim, const char *path,
			 const struct dma_shim_device_spec *spec,
			 struct dma_shim_device_info *info);

/** struct dma_shim_range - bytes of a device */
struct dma_shim_range {
	uint64_t offset;
	uint64_t size;
};

/**
 * dma_shim_device_bad() - memory of a device that was found bad unread
 * @shim:   the context
 * @device: its handle
 * @out:    ranges that the kernel has told this process of since the device was
 *          opened (SIGBUS with BUS_MCEERR_AO); they may reach past its end
 * @room:   how many of them there is room for
 *
 * Return: how many there are in @out, -EBADF (no such handle) or -EINVAL.
 */
int dma_shim_device_bad(struct dma_shim *shim, uint32_t device,
			struct dma_shim_range *out, uint32_t room);

/**
 * dma_shim_device_close() - unmap and unlock
 *
 * Return: 0, -EBADF (no such handle) or -EBUSY (a job in flight names it).
 */
int dma_shim_device_close(struct dma_shim *shim, uint32_t device);

/**
 * dma_shim_submit() - start a job
 * @shim:     the context
 * @job:      copied
 * @segments: @job->segment_count of them, copied
 * @memory:   what DMA_SHIM_MEMORY names; must stay until the job's DONE record
 * @over:     room for its DONE record, or NULL
 *
 * Never waits for another's bytes to move. Bounds are checked before anything
 * moves. With @over, and while no thread is at work, the calling thread itself copies a
 * segment of up to 256 KiB from or to @memory, if the other is memory too.
 *
 * Return: DMA_SHIM_SUBMIT_COMPLETED and the DONE record in @over, or 0 and exactly one
 * DONE record later, or -EINVAL (a field out of range, a segment of size 0,
 * overlapping itself, flags or a pattern that do not fit, a socket that blocks), -EBADF (no such
 * device), -ERANGE (a segment outside its device or memory),
 * -ENODEV (the DMA engine is not open), -EOPNOTSUPP (it cannot reach that
 * source or destination), -EEXIST (the tag is in flight), -ENOTCONN (a socket that is no open
 * descriptor), -ENOTSOCK, -EMFILE, -ENOMEM; then there is no record.
 */
int dma_shim_submit(struct dma_shim *shim, const struct dma_shim_job *job,
		    const struct dma_shim_segment *segments, void *memory,
		    struct dma_shim_completion *over);

/**
 * dma_shim_submit_batch() - start several jobs, none of which names memory
 * @shim:     the context
 * @jobs:     @count of them, copied
 * @segments: the first job's, then the second's, and so on; copied
 * @errors:   for each job what dma_shim_submit() would have returned, or
 *            DMA_SHIM_SUBMIT_COMPLETED: it is over
 * @over:     for each job room for its DONE record, which is there if and only if
 *            it is over, and then does not come on the socket
 *
 * Costs less than one call for each: threads are woken once, and send the ends
 * of small jobs together. While no thread is at work, the calling thread copies
 * what takes less than waking one: jobs of up to 64 KiB between devices that are
 * memory, up to 256 KiB in a call, and none after 100 us. A job that is refused
 * does not keep others from being started.
 *
 * Return: 0, or -EINVAL (a pointer is NULL), and then no job was started.
 */
int dma_shim_submit_batch(struct dma_shim *shim, const struct dma_shim_job *jobs,
			  uint32_t count, const struct dma_shim_segment *segments,
			  int32_t *errors, struct dma_shim_completion *over);

/**
 * dma_shim_cancel() - stop a job at the next piece boundary
 * @shim: the context
 * @tag:  the job's
 *
 * Its DONE record still comes, unless its submission has given it:
 * -ECANCELED, or its real end if that was sooner.
 *
 * Return: 0, or -ENOENT when no job in flight has that tag.
 */
int dma_shim_cancel(struct dma_shim *shim, uint64_t tag);

/**
 * dma_shim_set_timeout() - change how long a job may take
 * @shim:       the context
 * @tag:        the job's
 * @timeout_ms: as in struct dma_shim_job, from now on
 *
 * What a DMA channel has at that moment, and does not end within the job's
 * earlier time, is copied anew in what it has now.
 *
 * Return: 0, or -ENOENT when no job in flight has that tag.
 */
int dma_shim_set_timeout(struct dma_shim *shim, uint64_t tag, uint32_t timeout_ms);

/** dma_shim_cpu_info() - describe the CPU engine */
void dma_shim_cpu_info(struct dma_shim *shim, struct dma_shim_cpu_info *out);

#define DMA_SHIM_MAX_REFUSED 8u

/**
 * struct dma_shim_refused - a provider of channels that the module does not use
 * @driver: ended by NUL
 * @device: ended by NUL
 * @reason: enum ioat_dma_refusal
 */
struct dma_shim_refused {
	char driver[32];
	char device[32];
	uint32_t reason;
	uint32_t reserved;
};

/**
 * struct dma_shim_dma_info - the kernel module behind the DMA engine
 * @version:       of the module: major << 16 | minor << 8 | patch
 * @abi:           of its interface
 * @channels:      that take work now
 * @channel_limit: channel ids are below this, and this is at most 64
 * @refused_count: of @refused, the first of those that there are
 */
struct dma_shim_dma_info {
	uint32_t version;
	uint32_t abi;
	uint32_t channels;
	uint32_t channel_limit;
	uint32_t refused_count;
	uint32_t reserved;
	struct dma_shim_refused refused[DMA_SHIM_MAX_REFUSED];
};

/** enum dma_shim_channel_state - see enum ioat_dma_channel_state */
enum dma_shim_channel_state {
	DMA_SHIM_CHANNEL_GONE = 0,
	DMA_SHIM_CHANNEL_READY = 1,
	DMA_SHIM_CHANNEL_RECOVERING = 2,
	DMA_SHIM_CHANNEL_SET_ASIDE = 3,
};

/**
 * struct dma_shim_channel_info - a DMA channel, and its counters since the
 * module found it; see struct ioat_dma_channel_info
 */
struct dma_shim_channel_info {
	uint32_t state;
	int32_t numa_node;
	uint32_t in_flight;
	uint32_t reserved;
	char name[32];
	char driver[32];
	uint64_t operations;
	uint64_t bytes;
	uint64_t read_errors;
	uint64_t write_errors;
	uint64_t aborted;
	uint64_t lost;
	uint64_t timeouts;
	uint64_t recoveries;
};

/**
 * dma_shim_dma_open() - open the DMA engine: the kernel module's device
 * @shim: the context
 * @path: of the device, /dev/ioat-dma
 * @info: what was found
 *
 * Return: 0, -EBUSY (it is open already), -EPROTONOSUPPORT (a module whose
 * interface this library does not know), -EAGAIN (no thread to be had), -ENOMEM,
 * -EMFILE, or what open(2) says.
 */
int dma_shim_dma_open(struct dma_shim *shim, const char *path,
		      struct dma_shim_dma_info *info);

/**
 * dma_shim_dma_info() - what the module has now
 *
 * Return: 0, or -ENODEV if the DMA engine is not open.
 */
int dma_shim_dma_info(struct dma_shim *shim, struct dma_shim_dma_info *out);

/**
 * dma_shim_dma_channel() - describe a channel
 * @shim:    the context
 * @channel: its id
 * @out:     what there is to tell
 *
 * Return: 0, -ENOENT (no channel has that id) or -ENODEV (the DMA engine is not
 * open).
 */
int dma_shim_dma_channel(struct dma_shim *shim, uint32_t channel,
			 struct dma_shim_channel_info *out);

/**
 * dma_shim_dma_attach() - make a device known to the DMA engine
 * @shim:   the context
 * @device: its handle
 *
 * Done once for a device, as long as that is open; again, it does nothing.
 *
 * Return: 0, -ENODEV (the DMA engine is not open), -EBADF (no such device),
 * -EOPNOTSUPP (a file, or memory that channels cannot be given), or what the
 * module says.
 */
int dma_shim_dma_attach(struct dma_shim *shim, uint32_t device);

/**
 * dma_shim_lock_file() - take an exclusive lock that dies with the process
 * @path: created if missing, with mode 0600
 *
 * Return: a descriptor that holds the lock until it is closed, -EWOULDBLOCK
 * when another process holds it, or what open(2) says.
 */
int dma_shim_lock_file(const char *path);

/**
 * struct dma_shim_storage - what a file system does for what is synced to it
 * @persistence: BACKING_STORE, VOLATILE or UNKNOWN
 * @reserved:    zero
 * @basis:       what that rests on, such as "ext4" or "overlay on tmpfs";
 *               NUL-terminated, and cut short if it is long
 */
struct dma_shim_storage {
	uint32_t persistence;
	uint32_t reserved;
	char basis[248];
};

/**
 * dma_shim_storage() - whether what is synced at a path survives a loss of power
 * @path: of a file or a directory
 * @out:  what was found
 *
 * BACKING_STORE on ext4, xfs, btrfs, f2fs and zfs, unless they are mounted so as
 * not to wait for the disk's cache, or what they are on is memory: a RAM disk,
 * or a loop device on tmpfs. An overlay is as its upper layer is.
 *
 * Return: 0, -EINVAL, or what open(2) says.
 */
int dma_shim_storage(const char *path, struct dma_shim_storage *out);

/** The size of a SHA-256, in bytes */
#define DMA_SHIM_SHA256_SIZE 32u

/**
 * dma_shim_sha256() - the SHA-256 of each block of some memory
 * @bytes:   the memory; not a device's, for nothing guards it against faults
 * @size:    of it
 * @block:   the size of a block, not zero; the last one may be shorter
 * @digests: room for one digest for each block
 *
 * Two blocks at a time, which takes little longer than one: so hand over several at once. Returns when it
 * is done.
 *
 * Return: 0, -EINVAL, or -EOPNOTSUPP: this processor has no instructions for SHA-256.
 */
int dma_shim_sha256(const void *bytes, uint64_t size, uint64_t block, void *digests);

/**
 * dma_shim_peer_uid() - who is on the other end of a Unix socket
 * @fd: a connected Unix socket
 *
 * Return: the user's id when it connected (SO_PEERCRED), -EOPNOTSUPP (not a
 * Unix socket), -ENOTSOCK or -EBADF.
 */
int64_t dma_shim_peer_uid(int fd);

/**
 * dma_shim_socket_ready() - whose turn it is on a socket
 * @fd:       a connected socket
 * @receives: zero: whether it takes bytes now; else whether it has some
 *
 * Return: 1 (or an end or an error, of which the next call would tell), 0 if that is up to the
 * other end, or -EBADF. Never waits.
 */
int dma_shim_socket_ready(int fd, uint32_t receives);

/**
 * dma_shim_is_running() - whether a thread is at a job now
 * @shim: the context
 * @tag:  the job's
 *
 * Of a job with a socket: what it has taken of that, the device may yet have to take.
 *
 * Return: 1, or 0 if it waits or is not in flight.
 */
int dma_shim_is_running(struct dma_shim *shim, uint64_t tag);

/** struct dma_shim_writer - bytes on their way to a descriptor, and a thread */
struct dma_shim_writer;

/**
 * struct dma_shim_writer_state - how a writer fares
 * @waiting:    bytes that are not written yet
 * @stalled_ns: for how long none was written, though some wait; else zero
 * @error:      negative errno of the last write, or zero
 * @reserved:   zero
 */
struct dma_shim_writer_state {
	uint64_t waiting;
	uint64_t stalled_ns;
	int32_t error;
	uint32_t reserved;
};

/**
 * dma_shim_writer_open() - write to a descriptor without ever waiting for it
 * @fd:       any; it must stay open to the end of the process
 * @capacity: most bytes that may wait
 * @out:      the writer, which lasts to the end of the process
 *
 * What cannot be written waits, and is tried again every 250 ms. If a pipe loses
 * its reader, the next one begins with a whole line, unless that is longer than
 * PIPE_BUF.
 *
 * Return: 0, -ENOMEM or -EAGAIN (no thread to be had).
 */
int dma_shim_writer_open(int fd, uint32_t capacity, struct dma_shim_writer **out);

/**
 * dma_shim_writer_put() - add bytes, copied; never waits
 * @limit: most bytes that may wait then, these included
 *
 * Return: 0, or -ENOBUFS if it would be more: nothing is added.
 */
int dma_shim_writer_put(struct dma_shim_writer *writer, const void *bytes,
			uint32_t size, uint32_t limit);

/** dma_shim_writer_state() - how it fares */
void dma_shim_writer_state(struct dma_shim_writer *writer,
			   struct dma_shim_writer_state *out);

/**
 * dma_shim_writer_drain() - wait until all is written
 *
 * Return: 0, -ETIMEDOUT, or what write(2) said to one more attempt.
 */
int dma_shim_writer_drain(struct dma_shim_writer *writer, uint32_t timeout_ms);

/**
 * dma_shim_notify() - send a message to the service manager; see sd_notify(3)
 * @path:    the value of NOTIFY_SOCKET
 * @message: such as "READY=1"
 *
 * Return: 0, -EINVAL (neither a path nor an abstract address), or what
 * sendto(2) says. Never waits: -EAGAIN if the receiver is behind.
 */
int dma_shim_notify(const char *path, const char *message);

/** dma_shim_group_id() - Return: a group's id, -ENOENT, or what getgrnam_r(3) says */
int64_t dma_shim_group_id(const char *name);

/**
 * dma_shim_leave_terminal() - let go of the terminal, or any other character
 * device, that the standard descriptors lead to: /dev/null takes its place
 *
 * To be called at the end: Node sets the terminal back to what it was, and aborts
 * if that has been closed.
 */
void dma_shim_leave_terminal(void);

#ifdef __cplusplus
}
#endif
#endif /* DMA_SHIM_H */
