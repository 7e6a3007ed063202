/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel module as its interface describes it, in a thread of the test.
 *
 * Its device is a FIFO, which brings open(2), poll(2) and read(2) with it; only
 * ioctl(2) goes through a seam. It copies one part of a request at a time, in
 * any order that the interface allows, and a test decides the fate of each.
 * What the interface forbids the library to do fails the test.
 */
#ifndef FAKE_MODULE_H
#define FAKE_MODULE_H

#include <linux/ioat_dma.h>

#include "fixture.h"

enum fate {
	FATE_DONE,
	FATE_WAIT,      /* not now */
	FATE_READ,      /* FAILED, of that kind */
	FATE_WRITE,
	FATE_LOST,
	FATE_MAP,
	FATE_ABORTED,
	FATE_CHANNEL,   /* its channel was removed */
	FATE_HANG,      /* until its time limit; it is copied long after that */
	FATE_UNSETTLED = 0x100, /* with one that fails: it is copied long after that */
};

/* A part of a request that is about to be copied */
struct fake_operation {
	uint64_t tag;
	uint32_t segment;
	uint32_t segment_count;
	bool ordered;
	struct ioat_dma_segment part;
};

typedef enum fate (*fake_fate)(const struct fake_operation *operation);
typedef int (*fake_refusal)(const struct ioat_dma_submit *submit);

struct fake_module {
	char path[300];
	/* What a test sets, at any time */
	_Atomic(fake_fate) fate;
	_Atomic(fake_refusal) refuse;   /* a submission, with an errno; or not, 0 */
	_Atomic uint32_t abi;
	_Atomic uint32_t channels;
	_Atomic uint32_t record_size;   /* before the engine is opened */
	_Atomic uint32_t max_queued;
	_Atomic uint32_t hang_ms;       /* when what hangs is timed out; 0: by its own limit */
	_Atomic bool settle;            /* what hung comes to its end */
	_Atomic int64_t gone;           /* this region's device is; -1: none */
	/* What it counts */
	_Atomic uint32_t operations;
	_Atomic uint32_t submissions;
	_Atomic uint32_t refusals;
	_Atomic uint32_t in_flight;
	_Atomic uint32_t most_in_flight;
	_Atomic uint32_t cancels;
	_Atomic uint32_t regions;
};

extern struct fake_module fake;

void fake_start(void);
void fake_stop(void);

/* Files as device-dax devices, the engine open and both attached */
struct dma_context {
	struct context context;
	struct file a;
	struct file b;
};

struct dma_context dma_context_open(uint64_t size);
void dma_context_close(struct dma_context *dma);
void pose_as_devdax(struct context *context, const struct file *file);
struct dma_shim_job dma_job(uint64_t tag, const struct file *source,
			    const struct file *destination);

#endif /* FAKE_MODULE_H */
