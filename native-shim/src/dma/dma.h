/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the DMA engine share.
 *
 * One thread owns the engine: dma_engine.c is its loop, and decides how much
 * the kernel has at once; dma_request.c knows how one request lives and ends;
 * dma_module.c is the only place that makes ioctls. They are never made under
 * the lock, and what is the thread's own needs none.
 */
#ifndef DMA_SHIM_DMA_H
#define DMA_SHIM_DMA_H

#include <linux/ioat_dma.h>

#include "../internal.h"

/* Requests that are with the kernel, or on the way there or back */
#define DMA_REQUESTS 512u

/* Completions that are read at once */
#define DMA_BATCH 128u

enum request_state {
	REQUEST_FREE,
	REQUEST_READY,     /* to be submitted */
	REQUEST_PAUSED,    /* to be submitted again, later */
	REQUEST_REFUSED,   /* could not be submitted */
	REQUEST_SENT,      /* with the kernel */
	REQUEST_SETTLING,  /* completed, but the hardware may still write */
};

/**
 * struct outcome - how the kernel says that a request ended
 * @status:  enum ioat_dma_status
 * @error:   enum ioat_dma_error
 * @channel: that failed, or was given the last of it
 * @segment: of the job, that failed
 * @bytes:   that were copied, of what is left of the piece
 * @ended:   when, CLOCK_MONOTONIC
 */
struct outcome {
	uint32_t status;
	uint32_t error;
	uint32_t channel;
	uint32_t segment;
	uint64_t bytes;
	uint64_t ended;
};

/**
 * struct request - a piece of a job on its way through the kernel
 * @piece:    what it is about
 * @node:     in dma.free, ready, paused or refused, by its state
 * @state:    enum request_state
 * @tag:      its name for the kernel: another one each time it is submitted
 * @cost:     what it takes of the window, in bytes
 * @resume:   when to submit it again, if it is PAUSED
 * @deadline: its job's, when it was made READY
 * @tries:    how often it was thrown out, or given up early
 * @outcome:  of the last try
 * @canceled: the kernel was asked to stop it
 * @error:    of its submission, if it was REFUSED
 */
struct request {
	struct piece piece;
	struct list node;
	enum request_state state;
	uint64_t tag;
	uint64_t cost;
	uint64_t resume;
	uint64_t deadline;
	uint32_t tries;
	struct outcome outcome;
	bool canceled;
	int error;
};

/**
 * struct dma - the DMA engine of a context
 * @module:   the kernel module's device
 * @wake:     an eventfd that ends the thread's sleep
 * @turns:    jobs with pieces to submit (lock)
 * @deadline: none of those has to be over before that (lock)
 * @asleep:   the thread is, and has to be woken (lock)
 * @ending:   a job is to end that may have requests (lock)
 * @stop:     (lock)
 * @record:   bytes of a completion as this module writes it
 * @window:   bytes that the requests are worth which count
 * @stalled:  the kernel takes no more until that moment, or a completion
 * @sequence: makes tags
 *
 * From @record on the thread's own.
 */
struct dma {
	struct dma_shim *shim;
	int module;
	int wake;
	pthread_t thread;

	struct turns turns;
	uint64_t deadline;
	bool asleep;
	bool ending;
	bool stop;

	uint32_t record;
	uint64_t window;
	uint64_t stalled;
	uint64_t sequence;
	struct list free;
	struct list ready;
	struct list paused;
	struct list refused;
	uint32_t cancel_count;
	uint64_t cancels[DMA_REQUESTS];
	struct request requests[DMA_REQUESTS];
	struct ioat_dma_completion completions[DMA_BATCH];
	unsigned char records[DMA_BATCH * sizeof(struct ioat_dma_completion)];
	struct ioat_dma_segment segments[DMA_SHIM_MAX_SEGMENTS];
};

/* dma_request.c; with the lock held, but for request_submit() */
bool job_is_ending(const struct job *job);
void job_fail_dma(struct job *job, int status, uint32_t segment, uint32_t error,
		  uint32_t channel);
bool request_take(struct dma *dma);
void request_submit(struct dma *dma, struct request *request);
void request_refused(struct dma *dma, struct request *request);
void request_resume(struct dma *dma, struct request *request);
bool request_drop(struct dma *dma, struct request *request, uint64_t now);
void request_completed(struct dma *dma, const struct ioat_dma_completion *completion);

/* dma_module.c; a negative errno if they fail */
int module_open(const char *path, struct dma_shim_dma_info *info, uint32_t *record);
int module_submit(int module, const struct ioat_dma_submit *submit);
void module_cancel(int module, uint64_t tag);
uint32_t module_read(struct dma *dma);
void module_forget(int module, uint32_t region);

#endif /* DMA_SHIM_DMA_H */
