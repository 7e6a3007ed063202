/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of this module share, above channels (channel.h).
 *
 * A request (request.c) is split into pieces, which wait in the queue (queue.c)
 * until a channel takes one and gives it to its hardware as an operation.
 * Channels pull, so the least loaded one gets the next piece.
 *
 * Locks, outermost first:
 *
 *   scan_lock         bus.c: who requests channels from dmaengine
 *   channel->lock     a mutex: one channel's operations and state. Held while
 *                     operations are prepared, issued, reaped and settled
 *   idma_queue_lock   a spinlock: everything about requests and contexts that
 *                     is not fixed at their making, and which devices are
 *                     gone. Never held over a call into dmaengine, nor for
 *                     longer than one context's requests take
 *
 * A region is made under the lock of its device and that of the caller's
 * mappings (devdax.c); the lock of the list of buses (dax.c) is inside those.
 * Nothing of this module is held while user memory is copied, but a file's
 * read_lock.
 */
#ifndef IDMA_H
#define IDMA_H

#include <linux/atomic.h>
#include <linux/bitmap.h>
#include <linux/fs.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/stringify.h>
#include <linux/timerqueue.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <linux/ioat_dma.h>

#include "channel.h"

/* Kbuild has the three numbers from dkms.conf. */
#define IDMA_VERSION                                                         \
	__stringify(IDMA_MAJOR) "." __stringify(IDMA_MINOR) "." __stringify( \
		IDMA_PATCH)
#define IDMA_VERSION_CODE (IDMA_MAJOR << 16 | IDMA_MINOR << 8 | IDMA_PATCH)

/* Of an open file. */
#define IDMA_MAX_REGIONS 256
#define IDMA_MAX_REQUESTS 1024
#define IDMA_MAX_QUEUED_SEGMENTS 65536

/* Of all open files of a user. */
#define IDMA_USER_MAX_FILES 1024
#define IDMA_USER_MAX_REGIONS 16384
#define IDMA_USER_MAX_REQUESTS 16384
#define IDMA_USER_MAX_SEGMENTS (16 * IDMA_MAX_QUEUED_SEGMENTS)

/* Of a request. */
#define IDMA_MAX_SEGMENTS 4096
#define IDMA_MAX_TIMEOUT_MS 3600000
#define IDMA_DEFAULT_TIMEOUT_MS 10000

struct seq_file;

/**
 * enum idma_resource - what open files and users have limits of
 * @IDMA_REGIONS: regions with an id
 * @IDMA_REQUESTS: requests that exist: in flight, unread, or not settled
 * @IDMA_SEGMENTS: segments of those
 * @IDMA_RESOURCES: how many kinds there are
 */
enum idma_resource {
	IDMA_REGIONS,
	IDMA_REQUESTS,
	IDMA_SEGMENTS,
	IDMA_RESOURCES,
};

/**
 * struct idma_user - a user with open files
 * @node: in the list of all
 * @uid: the user who opened the files
 * @files: how many there are, or live on in their requests
 * @used: what all of them hold
 */
struct idma_user {
	struct list_head node;
	kuid_t uid;
	unsigned int files;
	atomic_t used[IDMA_RESOURCES];
};

/**
 * struct idma_context - an open file
 * @ref: the file, and every request
 * @user: who opened it
 * @used: what it holds
 * @regions: by id
 * @legacy_lock: protects @legacy_started
 * @legacy_channels: reserved by the old interface; changed by atomic bit
 *                   operations
 * @legacy_started: requests of the old interface that were not waited for
 * @read_lock: one reader at a time
 * @wait: woken when a request was completed or settled
 * @node: in the list of all contexts
 * @runnable: in the list of those with something pending
 * @pending: requests with pieces to issue, by channel; the last one for any
 * @pending_count: of all those
 * @active: requests that are not settled
 * @events: to be read
 * @closed: nobody will read any more
 *
 * From @node on under idma_queue_lock.
 */
struct idma_context {
	struct kref ref;
	struct idma_user *user;
	atomic_t used[IDMA_RESOURCES];
	struct xarray regions;
	struct mutex legacy_lock; /* see above */
	DECLARE_BITMAP(legacy_channels, IDMA_MAX_CHANNELS);
	struct list_head legacy_started;
	struct mutex read_lock; /* see above */
	wait_queue_head_t wait;

	struct list_head node;
	struct list_head runnable;
	struct list_head pending[IDMA_MAX_CHANNELS + 1];
	unsigned int pending_count;
	struct list_head active;
	struct list_head events;
	bool closed;
};

/**
 * struct idma_extent - a physically contiguous run of a region
 * @offset: in the region
 * @phys: address
 * @length: bytes
 */
struct idma_extent {
	u64 offset;
	phys_addr_t phys;
	u64 length;
};

/**
 * struct idma_dax - a device-dax device that regions are or were of
 * @node: in the list of all, until @gone
 * @refs: the list, its regions, and who works on it
 * @dev: whose driver provides the memory, see idma_dax_identify(); a
 *       reference until @gone
 * @alignment: of the device in bytes, or 0 until a region found it. Fixed as
 *             long as @dev has its driver; READ_ONCE
 * @gone: @dev lost its driver; never cleared
 * @regions: those that keep a file of the device open
 *
 * Under idma_queue_lock.
 */
struct idma_dax {
	struct list_head node;
	unsigned int refs;
	struct device *dev;
	unsigned long alignment;
	bool gone;
	struct list_head regions;
};

/**
 * struct idma_region - memory of a device-dax device
 * @ref: the context's name for it, and every request
 * @dax: the device; a reference
 * @node: in @dax->regions
 * @file: open on the device, or NULL once that is gone; keeps any flock(2)
 * @published: the caller was given its id; under the lock of context->regions
 * @writable: the file was open for writing
 * @numa_node: where the memory is, or NUMA_NO_NODE
 * @offset: first byte in the device
 * @length: bytes
 * @count: number of @extents
 * @extents: sorted by offset
 *
 * @node and @file are under idma_queue_lock; the fields from @writable on do
 * not change once the region is made.
 */
struct idma_region {
	struct kref ref;
	struct idma_dax *dax;
	struct list_head node;
	struct file *file;
	bool published;
	bool writable;
	int numa_node;
	u64 offset;
	u64 length;
	size_t count;
	struct idma_extent *extents;
};

/**
 * struct idma_event - a record for read(2): a request completed, or settled
 * @node: in context->events, with a reference to @request; else empty
 * @request: whose completion it is
 * @flags: IOAT_DMA_COMPLETION_*
 */
struct idma_event {
	struct list_head node;
	struct idma_request *request;
	u32 flags;
};

/**
 * struct idma_request - a caller's submission
 * @ref: who submits it, being active, every piece in flight, every event
 * @context: whose it is; a reference
 * @src: region; a reference
 * @dst: region; a reference
 * @segments: what to copy
 * @count: of @segments
 * @target: index into context->pending
 * @ordered: IOAT_DMA_SUBMIT_ORDERED
 * @legacy: of the old interface, which has no completions to read
 * @started: in context->legacy_started
 * @src_pgmap: keeps the memory there until the request is settled
 * @dst_pgmap: keeps the memory there until the request is settled
 * @expiry: in the queue of deadlines until completed; CLOCK_MONOTONIC, ns
 * @pending: in context->pending[@target]
 * @active: in context->active, until settled
 * @next: first segment that was not issued whole
 * @next_offset: bytes of it that were
 * @in_flight: pieces with channels
 * @stopped: nothing more of it is issued
 * @completed: its completion is fixed
 * @completed_event: says so
 * @settled_event: the hardware has nothing more to do with it, if
 *                 @completed_event says that it has
 * @completion: what the caller reads
 *
 * From @src_pgmap on under idma_queue_lock.
 */
struct idma_request {
	struct kref ref;
	struct idma_context *context;
	struct idma_region *src;
	struct idma_region *dst;
	struct ioat_dma_segment *segments;
	u32 count;
	u32 target;
	bool ordered;
	bool legacy;
	struct list_head started;

	struct dev_pagemap *src_pgmap;
	struct dev_pagemap *dst_pgmap;
	struct timerqueue_node expiry;
	struct list_head pending;
	struct list_head active;
	u32 next;
	u64 next_offset;
	u32 in_flight;
	bool stopped;
	bool completed;
	struct idma_event completed_event;
	struct idma_event settled_event;
	struct ioat_dma_completion completion;
};

/* main.c */
void idma_context_put(struct idma_context *context);

/* info.c */
int idma_ioctl_info(struct idma_context *context, void *arg);
int idma_ioctl_channel_info(struct idma_context *context, void *arg);

/* debug.c */
void idma_debug_init(void);
void idma_debug_exit(void);

/* user.c */
struct idma_user *idma_user_get(void);
void idma_user_put(struct idma_user *user);
void idma_users_show(struct seq_file *file);
bool idma_charge(struct idma_context *context, enum idma_resource what,
		 int amount);
void idma_uncharge(struct idma_context *context, enum idma_resource what,
		   int amount);

/* devdax.c */
int idma_devdax_resolve(struct idma_region *region, struct file *file,
			struct device *dev);

/* dax.c */
int idma_dax_identify(struct file *file, struct device **dev);
struct idma_dax *idma_dax_get(struct device *dev);
void idma_dax_put(struct idma_dax *dax);
int idma_dax_attach(struct idma_region *region, struct file *file);
void idma_dax_detach(struct idma_region *region);
void idma_dax_exit(void);

/* region.c */
struct idma_region *idma_region_make(struct file *file, u64 offset, u64 length);
void idma_region_put(struct idma_region *region);
struct idma_region *idma_region_find(struct idma_context *context, u32 id);
phys_addr_t idma_region_lookup(const struct idma_region *region, u64 offset,
			       u64 *run);
void idma_regions_drop(struct idma_context *context);
int idma_ioctl_region_create(struct idma_context *context, void *arg);
void idma_finish_region_create(struct idma_context *context, void *arg,
			       bool reported);
int idma_ioctl_region_destroy(struct idma_context *context, void *arg);

/* queue.c */
extern spinlock_t idma_queue_lock;
extern const struct idma_pieces idma_queue_pieces;
void idma_queue_add_context(struct idma_context *context);
void idma_queue_add(struct idma_request *request, bool first);
void idma_queue_remove(struct idma_request *request);
bool idma_queue_has_channel(u32 target);
void idma_queue_stop_gone(void);

/* deadline.c */
void idma_deadline_add(struct idma_request *request, u64 deadline);
void idma_deadline_remove(struct idma_request *request);
void idma_deadlines_exit(void);

/* request.c */
struct idma_request *idma_request_make(struct idma_context *context,
				       struct idma_region *src,
				       struct idma_region *dst, u32 count);
int idma_request_start(struct idma_request *request, u32 timeout_ms);
void idma_request_stop(struct idma_request *request, u32 status, u32 error,
		       struct list_head *settled);
void idma_request_expire(struct idma_request *request,
			 struct list_head *settled);
bool idma_request_is_settled(const struct idma_request *request);
void idma_request_piece_settled(const struct idma_op *op, u32 status,
				u32 error);
void idma_requests_put(struct list_head *settled);
void idma_request_put(struct idma_request *request);
bool idma_requests_settled(struct idma_context *context);

/* submit.c */
int idma_request_check(const struct idma_request *request);
int idma_ioctl_submit(struct idma_context *context, void *arg);
int idma_ioctl_cancel(struct idma_context *context, void *arg);
void idma_requests_close(struct idma_context *context);

/* completion.c */
void idma_event_queue(struct idma_event *event, u32 flags);
void idma_events_drop(struct idma_context *context);
ssize_t idma_read(struct file *file, char __user *to, size_t size, loff_t *pos);
__poll_t idma_poll(struct file *file, struct poll_table_struct *table);

/* legacy.c */
long idma_legacy_ioctl(struct idma_context *context, unsigned int command,
		       void __user *arg);
void idma_legacy_release(struct idma_context *context);

#endif /* IDMA_H */
