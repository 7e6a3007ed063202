/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of this module share.
 *
 * A request (request.c) is cut into pieces, which wait in the queue (queue.c)
 * until a channel (channel.c) takes one and gives it to its hardware as an
 * operation. Channels pull, so the least loaded one gets the next piece.
 *
 * Locks, outermost first:
 *
 *   scan_lock         provider.c: who asks dmaengine for channels
 *   channel->lock     a mutex: one channel's operations and state. Held while
 *                     operations are prepared, issued, reaped and resolved
 *   idma_queue_lock   a spinlock: everything about requests and contexts that
 *                     is not fixed at their making, and which devices are
 *                     gone. Never held over a call into dmaengine
 *
 * A region is made under the lock of its device and that of the caller's
 * mappings (devdax.c); the lock of the list of buses (dax.c) is inside those.
 * Nothing of this module is held while user memory is copied, but a file's
 * read_lock.
 *
 * ioatdma holds a spinlock of its own, bottom halves off, from prep to submit,
 * and calls callbacks under another one. So between prep and submit nothing is
 * taken, allocated or mapped; and a callback only pushes its operation onto a
 * lock-free list and queues the channel's work.
 */
#ifndef IDMA_H
#define IDMA_H

#include <linux/atomic.h>
#include <linux/bitmap.h>
#include <linux/dmaengine.h>
#include <linux/fs.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/mutex.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <linux/ioat_dma.h>

#define IDMA_VERSION "1.0.0"
#define IDMA_VERSION_CODE (1 << 16 | 0 << 8 | 0)

#define IDMA_MAX_CHANNELS 64

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

/*
 * A channel's hardware never has more than this to do, so that a piece of
 * another context waits for so much at most.
 */
#define IDMA_DEPTH 64
#define IDMA_BYTES_IN_FLIGHT SZ_8M

/* Copies of the module's own that a channel in trouble may fail. */
#define IDMA_CALM_TRIES 3

struct idma_channel;
struct idma_request;
struct seq_file;

/**
 * struct idma_op - an operation that a channel's hardware has
 * @done: in the channel's list of those whose callback came
 * @node: in the channel's list that says what it is
 * @channel: whose it is, always
 * @request: whose piece it is; NULL for one of the module's own
 * @src: source, as physical address; mapped only while it is with the hardware
 * @dst: likewise
 * @src_dma: as the channel's device sees it
 * @dst_dma: likewise
 * @length: bytes
 * @segment: index in the request
 * @cookie: dmaengine's
 * @issued: when, in jiffies
 * @mapped: @src_dma and @dst_dma are good
 * @result: valid once the callback came
 *
 * Under channel->lock, but @done and @result belong to the callback until it
 * came.
 */
struct idma_op {
	struct llist_node done;
	struct list_head node;
	struct idma_channel *channel;
	struct idma_request *request;
	phys_addr_t src, dst;
	dma_addr_t src_dma, dst_dma;
	u32 length;
	u32 segment;
	dma_cookie_t cookie;
	unsigned long issued;
	bool mapped;
	enum dmaengine_tx_result result;
};

/**
 * struct idma_channel - a slot for a DMA channel
 * @id: index of the slot, the channel's name in both interfaces
 * @state: enum ioat_dma_channel_state; read anywhere with READ_ONCE
 * @node: NUMA node of @dev; likewise
 * @done: operations whose callback came; pushed by callbacks
 * @work: reaps, recovers and issues
 * @lock: everything below
 * @chan: dmaengine's, or NULL
 * @dev: the channel's device, for mapping; a reference
 * @max_piece: bytes that can be mapped at once
 * @name: dmaengine's
 * @driver: of @dev
 * @ops: IDMA_DEPTH operations, each in one of the four lists
 * @free: has nothing to do
 * @issued: with the hardware, in this order
 * @lost: given up; their callback may yet come, until a later operation's did
 * @retry: taken from the queue, but prep had no room
 * @in_flight: how many in @issued
 * @bytes_in_flight: of those
 * @buffer: for copies of the module's own
 * @buffer_dma: of @buffer
 * @calm: operations of the module's own, one for each try
 * @calm_tries: how many of @calm were used
 * @calm_with_hw: the last one of those was issued and its callback did not come
 * @calm_came: it did
 * @trouble: when the last of @calm was tried, or it was set aside, in jiffies
 * @resets: how often dmaengine was asked for it anew since it last was ready
 * @timeouts: a counter that others change as well
 * @info: the other counters, kept as they are told
 */
struct idma_channel {
	unsigned int id;
	u32 state;
	int node;
	struct llist_head done;
	struct work_struct work;

	struct mutex lock; /* see above */
	struct dma_chan *chan;
	struct device *dev;
	u32 max_piece;
	char name[32];
	char driver[32];
	struct idma_op *ops;
	struct list_head free;
	struct list_head issued;
	struct list_head lost;
	struct list_head retry;
	unsigned int in_flight;
	u64 bytes_in_flight;
	void *buffer;
	dma_addr_t buffer_dma;
	struct idma_op calm[IDMA_CALM_TRIES];
	unsigned int calm_tries;
	bool calm_with_hw;
	bool calm_came;
	unsigned long trouble;
	unsigned int resets;
	atomic64_t timeouts;
	struct ioat_dma_channel_info info;
};

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
 * @wait: woken when a request was answered or settled
 * @node: in the list of all contexts
 * @runnable: in the list of those with something pending
 * @pending: requests with pieces to issue, by channel; the last one for any
 * @pending_count: of all those
 * @active: requests that are not settled
 * @completions: answered and not read
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
	struct list_head completions;
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
 * struct idma_dax - a device-dax device that regions are of
 * @node: in the list of all, until @gone
 * @refs: its regions, and who works on it
 * @dev: whose driver provides the memory, see idma_dax_identify(); a
 *       reference, or NULL once @gone
 * @gone: @dev lost its driver; never cleared
 * @regions: those that keep a file of the device open
 *
 * Under idma_queue_lock.
 */
struct idma_dax {
	struct list_head node;
	unsigned int refs;
	struct device *dev;
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
 * struct idma_request - a caller's submission
 * @ref: the context while it is not collected, and every piece in flight
 * @context: whose it is; a reference
 * @src: region; a reference
 * @dst: likewise
 * @segments: what to copy
 * @count: of @segments
 * @target: index into context->pending
 * @ordered: IOAT_DMA_SUBMIT_ORDERED
 * @legacy: of the old interface, which has no completions to read
 * @deadline: CLOCK_MONOTONIC, ns
 * @src_pgmap: keeps the memory there until the request is settled
 * @dst_pgmap: likewise
 * @pending: in context->pending[@target]
 * @active: in context->active, until settled
 * @answered: in context->completions, or in a list of the old interface's
 * @next: first segment that was not issued whole
 * @next_offset: bytes of it that were
 * @in_flight: pieces with channels
 * @stopped: nothing more of it is issued
 * @is_answered: its completion is fixed, but for flags
 * @told_unsettled: the caller read, or is reading, that it is not settled
 * @completion: what the caller is told
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
	u64 deadline;

	struct dev_pagemap *src_pgmap;
	struct dev_pagemap *dst_pgmap;
	struct list_head pending;
	struct list_head active;
	struct list_head answered;
	u32 next;
	u64 next_offset;
	u32 in_flight;
	bool stopped;
	bool is_answered;
	bool told_unsettled;
	struct ioat_dma_completion completion;
};

/* main.c */
extern struct workqueue_struct *idma_wq;
extern unsigned int idma_piece_size;
void idma_context_put(struct idma_context *context);

/* info.c */
int idma_ioctl_info(struct idma_context *context, void *arg);
int idma_ioctl_channel_info(struct idma_context *context, void *arg);

/* debug.c */
void idma_debug_init(void);
void idma_debug_exit(void);

/* provider.c */
extern struct idma_channel idma_channels[IDMA_MAX_CHANNELS];
int idma_providers_init(void);
void idma_providers_exit(void);
void idma_providers_scan(void);
bool idma_provider_filter(struct dma_chan *chan, void *param);
unsigned int idma_channels_in(u32 state);
unsigned int idma_channels_alive(void);

/* channel.c */
void idma_channel_init(struct idma_channel *ch, unsigned int id);
int idma_channel_attach(struct idma_channel *ch, struct dma_chan *chan);
void idma_channel_give_back(struct idma_channel *ch);
void idma_channel_detach(struct idma_channel *ch, u32 error);
void idma_channel_pump(struct idma_channel *ch, unsigned int budget);
void idma_channel_reap(struct idma_channel *ch);
void idma_channel_poll(struct idma_channel *ch);
void idma_channel_set_state(struct idma_channel *ch, u32 state);
void idma_op_resolve(struct idma_op *op, u32 status, u32 error);
bool idma_op_issue(struct idma_op *op);
void idma_channels_kick(struct idma_request *request);

/* recovery.c */
void idma_channel_check(struct idma_channel *ch);
void idma_channel_trouble(struct idma_channel *ch);
void idma_channel_drain(struct idma_channel *ch);

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
typedef bool (*idma_match)(const struct idma_request *request,
			   const void *what);
extern spinlock_t idma_queue_lock;
extern struct list_head idma_contexts;
void idma_queue_init_context(struct idma_context *context);
void idma_queue_add(struct idma_request *request, bool first);
void idma_queue_remove(struct idma_request *request);
bool idma_queue_take(struct idma_channel *ch, struct idma_op *op);
unsigned int idma_queue_stop(struct idma_context *context, idma_match match,
			     const void *what, u32 status, u32 error);
void idma_queue_fail_orphans(void);
void idma_tick_start(void);
void idma_tick_stop(void);

/* request.c */
struct idma_request *idma_request_make(struct idma_context *context,
				       struct idma_region *src,
				       struct idma_region *dst, u32 count);
int idma_request_check(const struct idma_request *request);
int idma_request_start(struct idma_request *request, u32 timeout_ms);
void idma_request_stop(struct idma_request *request, u32 status, u32 error,
		       struct list_head *settled);
bool idma_request_is_stopped(const struct idma_request *request);
bool idma_request_is_settled(const struct idma_request *request);
void idma_requests_put(struct list_head *settled);
void idma_request_piece_done(struct idma_op *op, u32 status, u32 error);
void idma_request_put(struct idma_request *request);
int idma_ioctl_submit(struct idma_context *context, void *arg);
int idma_ioctl_cancel(struct idma_context *context, void *arg);
void idma_requests_close(struct idma_context *context);

/* completion.c */
ssize_t idma_read(struct file *file, char __user *to, size_t size, loff_t *pos);
__poll_t idma_poll(struct file *file, struct poll_table_struct *table);

/* legacy.c */
long idma_legacy_ioctl(struct idma_context *context, unsigned int command,
		       void __user *arg);
void idma_legacy_release(struct idma_context *context);

#endif /* IDMA_H */
