/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the library share.
 *
 * Locking
 * -------
 * dma_shim.lock guards everything that a job's progress depends on: the table
 * of tags, the devices, the queues of the pools and the fields of a job that
 * are marked so below. It is held for bookkeeping only, never while bytes
 * move, memory of a device is touched, or a system call may block.
 * outbox.lock nests inside it, so that "the job has left the table" and "its
 * DONE record is queued", or given to the caller that ran the job, are one
 * step for every observer.
 *
 * Lifetime of a job
 * -----------------
 * A job is freed by job_retire(), which runs when no thread works on it
 * (job.running is zero) and no queue holds it. A thread that works on a job has
 * counted itself in job.running under the lock.
 *
 * Steps and pieces
 * ----------------
 * A job is a sequence of steps with a barrier between each two; a step is cut
 * into pieces, and the pieces of one step may run side by side. step.c knows
 * the sequence, piece.c what a piece does, turns.c whose turn it is; pool.c,
 * sync.c, stream_engine.c and dma_engine.c run them. What runs steps calls step.c; step.c goes on
 * by job->engine and syncer.add, and knows neither.
 */
#ifndef DMA_SHIM_INTERNAL_H
#define DMA_SHIM_INTERNAL_H

#include <signal.h>
#include <sys/types.h>

#include "cpu/cpu.h"
#include "list.h"
#include "os/os.h"

/*
 * The unit of sharing between threads and jobs, and of cancellation. At 5 to
 * 15 GB/s a piece takes 70 to 200 us: long beside the fraction of a
 * microsecond that handing one out costs, short beside what a caller notices.
 */
#define PIECE_SIZE (UINT64_C(1) << 20)

/*
 * The least that a piece of a job's segments counts towards PIECE_SIZE, so
 * that 4096 segments of one byte are one piece and not an endless one.
 */
#define SEGMENT_COST UINT64_C(256)

#define SYNC_THREADS 4u
#define PRIORITIES 3u

struct device;
struct dma;
struct dma_shim;
struct job;
struct piece;
struct turns;

/* sigbus.c: faults in mapped memory */
struct fault {
	int code;                /* si_code */
	const void *address;     /* si_addr */
};

int sigbus_install(void);
void sigbus_remove(void);
bool sigbus_guard(void (*function)(void *), void *argument, struct fault *fault);
void sigbus_watch(struct device *device);
void sigbus_forget(const struct device *device);

/* No more bad ranges of a device are remembered. */
#define MAX_BAD 64u

/**
 * struct device - what a handle stands for
 * @base:        where it is mapped, whole
 * @descriptor:  holds the lock; asked about the file after a fault
 * @users:       jobs in flight, and submissions under way, that name it (lock)
 * @sync_jobs:   jobs that wait for a window of it to be synced (lock)
 * @sync_turn:   in the queue of devices that have such jobs (lock)
 * @syncing:     a thread is in msync() on it (lock)
 * @sync_errors: how often msync() has failed on it (lock)
 * @sync_error:  what the last failure was (lock)
 * @in_dma:      the DMA engine knows it (lock)
 * @dma_region:  by this name; does not change any more
 * @plain_io:    read(2) and write(2) reach its bytes as its mapping does
 * @in_memory:   its bytes are memory: touching one never waits for a disk, nor
 *               for a huge page to be cleared
 * @bad:         ranges found bad while no thread read them; of those before
 *               @bad_count, one whose size is 0 is being written
 */
struct device {
	unsigned char *base;
	uint64_t size;
	int descriptor;
	uint32_t kind;
	uint32_t persistence;
	uint32_t flush_basis;
	uint32_t users;
	struct list sync_jobs;
	struct list sync_turn;
	bool syncing;
	uint64_t sync_errors;
	int sync_error;
	bool in_dma;
	uint32_t dma_region;
	bool plain_io;
	bool in_memory;
	int node;               /* or NUMA_ANYWHERE */
	struct cpus near;       /* of that node */
	_Atomic uint32_t bad_count;
	struct dma_shim_range bad[MAX_BAD];
};

void device_destroy(struct device *device);
struct device *device_get(struct dma_shim *shim, uint32_t handle);
void device_put(struct device *device);

/* numa.c: which CPUs are near a device's memory */
#define NUMA_ANYWHERE (-1)

void numa_locate(struct device *device, dev_t number, const struct dma_shim *shim);
int numa_move(int node, const struct piece *piece);
void numa_leave(const struct dma_shim *shim);

/**
 * struct engine_ops - who moves the bytes of a job
 * @reaches:   whether it can copy between these, each NULL if it is no
 *             device. Called with the lock held
 * @begin:     plan the copy of job->segment, and of as many segments after it
 *             as the engine likes to take at once, as the job's next step, and
 *             start on it. When it is over the engine calls job_advance().
 *             Called with the lock held; must not block
 * @withdraw:  take back what has not been started of the current step, since
 *             the job is to end. Called with the lock held
 * @uncached:  whether a piece of that size leaves no dirty line in a CPU cache
 *             but for those that hold its first and last byte
 * @retime:    the job's deadline has changed; NULL if it is of no concern.
 *             Called with the lock held
 *
 * Checksums and flushes are not an engine's business: the pools do them.
 */
struct engine_ops {
	bool (*reaches)(const struct device *source, const struct device *destination);
	void (*begin)(struct job *job);
	void (*withdraw)(struct job *job);
	bool (*uncached)(const struct job *job, uint64_t size);
	void (*retime)(struct job *job);
};

extern const struct engine_ops cpu_engine;
extern const struct engine_ops dma_engine;
extern const struct engine_ops stream_engine;

/* What a job is doing. All but COPY and CHECK are one piece to a step. */
enum step {
	STEP_COPY,       /* copy, fill or compare segments whose order is of no matter,
			  * pieces side by side */
	STEP_CHECK,      /* checksums of a large segment, likewise */
	STEP_RUN,        /* small segments one by one: as COPY, and checksums */
	STEP_CHECK_RUN,  /* checksums of small segments, one by one */
	STEP_STREAM,     /* a segment to or from a socket: one piece at a time, of what it
			  * takes or has */
	STEP_WRITEBACK,  /* CPU caches, a piece's worth of lines */
	STEP_SYNC,       /* msync() of one window */
	STEP_END,
};

/**
 * struct job - a submission, from acceptance to its DONE record
 *
 * Fields of the first group do not change after submission, except that
 * sync.c sorts the segments once nothing needs their order any more. The
 * others belong to the lock, or to the one thread that runs the job's piece
 * if a step has one piece only.
 */
struct job {
	struct dma_shim *shim;
	const struct engine_ops *engine;
	struct device *source_device;           /* NULL: memory */
	struct device *destination_device;      /* NULL: memory or nowhere */
	const unsigned char *source;
	unsigned char *destination;             /* NULL: nowhere */
	enum dma_shim_operation operation;
	struct pattern pattern;                 /* FILL */
	const struct stream_kernel *kernel;     /* CPU: NULL to go through the cache */
	uint64_t tag;
	uint64_t sync_errors;                   /* the device's, at submission */
	uint64_t brief;                         /* what it costs, in bytes, if its
						 * caller may do it; else 0 */
	uint32_t priority;
	uint32_t flags;
	uint32_t segment_count;
	bool independent;       /* DMA: see segments_independent() */
	int socket;             /* the job's own descriptor; -1: none */

	struct job *tag_next;
	struct list queue;      /* of the pool it waits in; else empty */
	uint32_t running;       /* pieces handed out */
	_Atomic bool cancelled; /* written with the lock held */
	uint64_t deadline;      /* DMA: UINT64_MAX for none */
	int status;             /* first failure */
	uint32_t failed_segment;        /* where that was, or the first difference */
	uint64_t failed_offset;         /* COMPARE: of the piece, in its segment */
	uint64_t difference;            /* COMPARE: see struct dma_shim_completion */

	enum step step;
	uint32_t segment;       /* that the step is about, or begins with */
	uint32_t run_length;    /* how many segments: COPY, RUN and checks */
	uint64_t run_size;      /* RUN, CHECK_RUN: how many bytes */
	uint32_t next;          /* of those: the first not handed out whole */
	uint64_t position;      /* COPY, CHECK: handed out of that one;
				 * STREAM: done of the segment;
				 * WRITEBACK: done of the segment;
				 * SYNC: destination offset of the window */
	uint32_t copied;        /* segments before this one need no copying */
	uint64_t window_end;    /* SYNC: end of what it covers */
	bool sorted;            /* SYNC: segments are in destination order */
	struct job *batch_next; /* SYNC: synced by the same call */
	uint64_t step_began;    /* when its first piece began; 0: not yet */
	uint64_t step_ended;    /* when its last finished piece ended */

	uint32_t source_crc;
	uint32_t destination_crc;
	uint32_t segment_source_crc;            /* CHECK: gathered so far */
	uint32_t segment_destination_crc;

	uint64_t bytes_done;
	uint64_t received;                      /* STREAM: taken from the socket */
	int stream_status;                      /* STREAM: why it ended early, if what it
						 * received was to be flushed then */
	uint64_t bytes_reported;
	uint64_t reported_ns;
	uint64_t started_ns;
	uint64_t copy_ns;
	uint64_t flush_ns;
	uint64_t verify_ns;
	uint64_t progress_record;               /* see completion.c */
	struct dma_shim_completion *over;       /* where its DONE record goes; NULL:
						 * to the outbox */

	uint64_t dma_channels;
	uint32_t dma_channel;
	uint32_t dma_error;
	uint32_t dma_retries;

	struct dma_shim_segment segments[];
};

/**
 * struct piece - one thread's share of a step, and what came of it
 *
 * Filled by step_take(), run by piece_run() without the lock, or as a request
 * to the kernel; accounted for by step_piece_done(). It is of @run_length
 * segments: the first from @offset on, and @size bytes in all. @at, @bytes and @received are volatile because a fault may leave
 * the code that counts them by siglongjmp(3).
 */
struct piece {
	struct job *job;
	enum step step;
	uint32_t segment;
	uint32_t run_length;
	uint64_t offset;
	uint64_t size;

	int status;
	volatile uint32_t at;           /* segment being worked on */
	volatile bool joined;           /* with some behind it, as one */
	bool singly;                    /* RUN: none are to be joined */
	volatile uint64_t bytes;        /* moved, or read if none are moved */
	volatile uint64_t received;     /* STREAM: taken from the socket */
	uint64_t difference;            /* COMPARE: see struct dma_shim_completion */
	uint32_t source_crc;
	uint32_t destination_crc;
	uint64_t began;
	uint64_t ended;
	uint64_t check_ns;              /* RUN: of that time, for checksums */
};

/* step.c; all with the lock held */
void job_begin(struct job *job);
bool job_advance(struct job *job);
void job_fail(struct job *job, int status, uint32_t segment);
uint32_t job_at(const struct job *job);
void job_cancel(struct job *job);
uint64_t job_deadline(uint32_t timeout_ms);
void job_took(struct job *job, uint64_t began, uint64_t ended);
bool job_plan_run(struct job *job, uint32_t end);
void step_queue(struct job *job);
bool step_take(struct turns *turns, struct piece *piece);
bool step_hand_out(struct job *job, struct piece *piece);
void step_piece_done(const struct piece *piece);

/**
 * struct turns - jobs with pieces to hand out; the lock's
 * @ready:  the jobs, one queue to a priority
 * @pass:   how much work each priority has had, scaled by its weight
 * @clock:  the pass of the priority that was served last
 */
struct turns {
	struct list ready[PRIORITIES];
	uint64_t pass[PRIORITIES];
	uint64_t clock;
};

/* turns.c; all with the lock held */
void turns_init(struct turns *turns);
void turns_add(struct turns *turns, struct job *job);
struct job *turns_next(const struct turns *turns);
void turns_took(struct turns *turns, struct job *job, uint64_t size, bool more);
bool turns_waiting(const struct turns *turns);

/* overlap.c */
int segments_independent(const struct dma_shim_segment *segments, uint32_t count,
			 bool same_device, bool *independent);

/* file.c */
int file_read(const struct device *device, unsigned char *to, uint64_t offset,
	      uint64_t size);
int file_write(const struct device *device, const unsigned char *from,
	       uint64_t offset, uint64_t size);

/* socket.c */
void socket_send(struct piece *piece);
void socket_receive(struct piece *piece);

/* piece.c */
void piece_run(struct piece *piece);
int device_fault_status(const struct device *device, const struct fault *fault);

/* job.c; with the lock held */
struct job *tag_find(const struct dma_shim *shim, uint64_t tag);
void tag_insert(struct dma_shim *shim, struct job *job);
int tags_reserve(struct dma_shim *shim, uint64_t jobs);
void job_retire(struct job *job);
void job_free(struct job *job);

/**
 * struct pool - the threads that copy, checksum and write back
 * @turns:  jobs with work for them
 * @idle:   threads asleep in @work
 */
struct pool {
	struct turns turns;
	uint32_t idle;
	uint32_t thread_count;
	bool stop;
	pthread_cond_t work;
	pthread_t threads[MAX_COPY_THREADS];
};

int pool_start(struct dma_shim *shim, uint32_t threads);
void pool_stop(struct dma_shim *shim);

/**
 * struct help - what the calling thread may still copy
 * @left:  bytes
 * @until: when it has done enough
 */
struct help {
	uint64_t left;
	uint64_t until;
};

bool pool_help(struct job *job, struct help *help, struct dma_shim_completion *over);
bool pool_wants(const struct pool *pool);
void pool_wake(struct pool *pool);

/**
 * struct syncer - the threads that wait for disks
 * @add:      queues a job for its next window; with the lock held
 * @unsorted: jobs whose segments are to be sorted first
 * @devices:  devices with jobs that wait, and no thread that is at it
 * @idle:     threads asleep in @work
 */
struct syncer {
	void (*add)(struct job *job);
	struct list unsorted;
	struct list devices;
	uint32_t idle;
	uint32_t thread_count;
	bool stop;
	pthread_cond_t work;
	pthread_t threads[SYNC_THREADS];
};

int syncer_start(struct dma_shim *shim);
void syncer_stop(struct dma_shim *shim);

/**
 * struct streams - the threads that send to sockets and receive from them
 * @jobs:    that are not over
 * @epoll:   each job's socket, by its tag: a thread takes the one that is ready
 * @stopped: readable once the threads are to end
 */
struct streams {
	struct list jobs;
	int epoll;
	int stopped;
	uint32_t thread_count;
	bool stop;
	pthread_t threads[MAX_COPY_THREADS];
};

int streams_start(struct dma_shim *shim, uint32_t threads);
void streams_stop(struct dma_shim *shim);
int stream_take_socket(struct job *job, int socket);

/* dma_engine.c */
void dma_stop(struct dma *dma);
void dma_forget(struct dma *dma, const struct device *device);

/* control.c; with the lock held */
void jobs_cancel_all(struct dma_shim *shim);

/* completion.c */
#define BATCH_RECORDS 128u

enum outbox_state {
	OUTBOX_IDLE,       /* no thread sends */
	OUTBOX_SENDING,    /* one thread sends, without the lock */
	OUTBOX_BLOCKED,    /* the socket is full; the delivery thread waits */
	OUTBOX_CLOSED,     /* the reader has gone: records are dropped */
};

/**
 * struct outbox - completion records on their way to the socket
 * @ring:       records from number @head up to @tail, at number & (size - 1)
 * @batch:      records taken from the ring that are being sent, by the thread that is
 *              SENDING, or are stuck half-way while BLOCKED
 * @batch_size: in bytes, as is @batch_sent
 * @no_memory:  what BLOCKED the last send was not the reader
 */
struct outbox {
	pthread_mutex_t lock;
	pthread_cond_t blocked;
	enum outbox_state state;
	bool no_memory;
	bool stop;
	int writer;
	int reader;
	bool reader_taken;
	int wake;
	struct dma_shim_completion *ring;
	uint64_t ring_size;
	uint64_t head;
	uint64_t tail;
	size_t batch_size;
	size_t batch_sent;
	struct dma_shim_completion batch[BATCH_RECORDS];
	pthread_t thread;
};

int outbox_start(struct outbox *outbox);
void outbox_stop(struct outbox *outbox);
int outbox_take_reader(struct outbox *outbox);
int outbox_reserve(struct outbox *outbox, uint64_t jobs);
void outbox_progress(struct outbox *outbox, struct job *job);
void outbox_done(struct outbox *outbox, const struct job *job);
void outbox_send(struct outbox *outbox);

struct dma_shim {
	pthread_mutex_t lock;
	pthread_cond_t drained;         /* no job is in flight */
	uint64_t jobs;                  /* in flight */
	struct job **tags;              /* in flight, by tag */
	uint64_t tags_size;
	struct device *devices[DMA_SHIM_MAX_DEVICES];
	struct copy_plan plan;
	struct cpus allowed;            /* when it was opened */
	struct pool pool;
	struct syncer syncer;
	struct streams streams;
	struct dma *dma;                /* NULL: not open */
	struct outbox outbox;
};

#endif /* DMA_SHIM_INTERNAL_H */
