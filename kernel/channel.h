/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * DMA channels and the operations that they have. From top to bottom:
 *
 *   bus.c       takes channels as their drivers are bound, and gives them back
 *   channel.c   the slots for channels
 *   worker.c    gives a channel's hardware its work
 *   recovery.c  a channel whose hardware failed
 *   op.c        one operation, from its mapping to its end
 *   provider.c  whose channels can be used at all
 *
 * Calls go down this list. What channels want from the requests above them is
 * in struct idma_pieces; they know nothing else of requests.
 *
 * ioatdma holds its own spinlock, bottom halves off, from prep to submit,
 * and calls callbacks under another one. So between prep and submit nothing is
 * locked, allocated or mapped; and a callback only pushes its operation onto a
 * lock-free list and queues the channel's work.
 */
#ifndef IDMA_CHANNEL_H
#define IDMA_CHANNEL_H

#include <linux/atomic.h>
#include <linux/dmaengine.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/mutex.h>
#include <linux/sizes.h>
#include <linux/types.h>
#include <linux/workqueue.h>

#include <linux/ioat_dma.h>

#define IDMA_MAX_CHANNELS 64

/*
 * A channel's hardware never has more than this to do, so that a piece of
 * another context waits for so much at most.
 */
#define IDMA_DEPTH 64
#define IDMA_BYTES_IN_FLIGHT SZ_8M

struct idma_channel;
struct idma_request;

/**
 * enum idma_op_state - where an operation is
 * @IDMA_OP_IDLE: not with the hardware
 * @IDMA_OP_ISSUED: with the hardware, for all that is known
 * @IDMA_OP_RETURNED: issued, and its callback came
 * @IDMA_OP_LOST: settled without its callback, which must not come any more
 */
enum idma_op_state {
	IDMA_OP_IDLE,
	IDMA_OP_ISSUED,
	IDMA_OP_RETURNED,
	IDMA_OP_LOST,
};

/**
 * struct idma_op - an operation: a piece of a request, or a probe
 * @done: in the channel's list of those whose callback came
 * @node: in one of the channel's lists
 * @channel: whose it is, always
 * @request: whose piece it is; NULL if it is free or a probe
 * @src: physical address; mapped only while the hardware has it
 * @dst: physical address
 * @src_dma: @src as the channel's device sees it
 * @dst_dma: @dst as the channel's device sees it
 * @length: bytes
 * @segment: index in the request
 * @cookie: dmaengine's
 * @issued: when it was given to the hardware, in jiffies
 * @state: where it is
 * @silent_error: the callback reported success, and tx_status an error
 * @result: what the callback reported
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
	enum idma_op_state state;
	bool silent_error;
	enum dmaengine_tx_result result;
};

/**
 * struct idma_pieces - where channels get their work from
 * @take: makes an operation the next piece for a channel, if there is one
 * @waiting: some piece waits for a channel; a hint
 * @is_stopped: the piece that a channel took need not be issued any more
 * @settled: the hardware has nothing more to do with a piece
 * @channel_changed: a channel is in another state
 *
 * Called with a channel's lock held.
 */
struct idma_pieces {
	bool (*take)(struct idma_channel *ch, struct idma_op *op);
	bool (*waiting)(void);
	bool (*is_stopped)(const struct idma_op *op);
	void (*settled)(const struct idma_op *op, u32 status, u32 error);
	void (*channel_changed)(const struct idma_channel *ch);
};

/* What is counted of a channel: see struct ioat_dma_channel_info. */
enum idma_counter {
	IDMA_OPERATIONS,
	IDMA_BYTES,
	IDMA_READ_ERRORS,
	IDMA_WRITE_ERRORS,
	IDMA_ABORTED,
	IDMA_LOST,
	IDMA_TIMEOUTS,
	IDMA_RECOVERIES,
	IDMA_COUNTERS,
};

/* What the hardware has of a channel's probe. */
enum idma_probe {
	IDMA_PROBE_NONE,
	IDMA_PROBE_ISSUED,
	IDMA_PROBE_SUCCEEDED,
};

/**
 * struct idma_channel - a slot for a DMA channel
 * @id: index of the slot, the channel's name in all interfaces
 * @state: enum ioat_dma_channel_state; read anywhere with READ_ONCE
 * @node: NUMA node of @dev; read anywhere with READ_ONCE
 * @in_flight: pieces in @issued; read anywhere with READ_ONCE
 * @provider: dmaengine's channel that this slot is for, while @state is not
 *            GONE; only compared with, read anywhere with READ_ONCE
 * @dev: the channel's device, a reference; compared anywhere with READ_ONCE
 * @counters: by enum idma_counter
 * @done: operations whose callback came; pushed by callbacks
 * @work: reaps, recovers and issues
 * @timer: does the same, after a while
 * @lock: everything below
 * @chan: dmaengine's channel while it is held: @provider or NULL
 * @max_piece: bytes that can be mapped at once
 * @name: dmaengine's
 * @driver: of @dev
 * @ops: IDMA_DEPTH operations, each in one of the four lists
 * @free: have nothing to do
 * @lost: not to be used until the channel was stopped
 * @lost_count: number of @lost
 * @issued: the hardware may have, in the order of their issue; the probe too
 * @retry: taken, but the channel had no room
 * @bytes_in_flight: of the pieces in @issued
 * @suspended: the system is, or is about to be
 * @failed: an operation failed, and recovery has to begin
 * @distrusted: why it cannot be relied on, an enum ioat_dma_refusal, or zero
 * @buffer: source and destination of the probe
 * @buffer_dma: @buffer as the channel's device sees it
 * @probe: a tiny copy of the module's own
 * @probe_state: whether the hardware has @probe
 * @attempts: probes tried since recovery began or the channel was restarted
 * @restarts: times that it was restarted since it last was ready
 * @refusals: times that it refused a piece with nothing in flight
 * @since: of the last attempt, or when it was set aside, in jiffies
 * @set_aside_for: how long, in jiffies; longer each time
 */
struct idma_channel {
	unsigned int id;
	u32 state;
	int node;
	unsigned int in_flight;
	struct dma_chan *provider;
	struct device *dev;
	atomic64_t counters[IDMA_COUNTERS];
	struct llist_head done;
	struct work_struct work;
	struct delayed_work timer;

	struct mutex lock; /* see above */
	struct dma_chan *chan;
	u32 max_piece;
	char name[32];
	char driver[32];
	struct idma_op *ops;
	struct list_head free;
	struct list_head lost;
	unsigned int lost_count;
	struct list_head issued;
	struct list_head retry;
	u64 bytes_in_flight;
	bool suspended;
	bool failed;
	u32 distrusted;
	void *buffer;
	dma_addr_t buffer_dma;
	struct idma_op probe;
	enum idma_probe probe_state;
	unsigned int attempts;
	unsigned int restarts;
	unsigned int refusals;
	unsigned long since;
	unsigned long set_aside_for;
};

extern struct workqueue_struct *idma_wq;
extern unsigned int idma_piece_size;

/* bus.c */
int idma_bus_init(const struct idma_pieces *pieces);
void idma_bus_exit(void);
void idma_bus_scan(void);

/* channel.c */
extern struct idma_channel idma_channels[IDMA_MAX_CHANNELS];
#define for_each_idma_channel(ch) \
	for (ch = idma_channels; ch < idma_channels + IDMA_MAX_CHANNELS; ch++)
void idma_channels_init(const struct idma_pieces *pieces);
void idma_channels_exit(void);
int idma_channel_attach(struct idma_channel *ch, struct dma_chan *chan);
void idma_channels_release(const struct device *dev);
int idma_channels_suspend(void);
void idma_channels_resume(void);
bool idma_channel_claims(const struct dma_chan *chan);
unsigned int idma_channels_in(u32 state);
struct idma_channel *idma_channel_find(u32 id);
bool idma_channel_is_alive(const struct idma_channel *ch);
unsigned int idma_channels_alive(void);

/* worker.c */
void idma_channel_init_work(struct idma_channel *ch);
void idma_channels_start(u32 target);
void idma_channels_kick(u32 target);

static inline void idma_count(struct idma_channel *ch, enum idma_counter what,
			      u32 amount)
{
	atomic64_add(amount, &ch->counters[what]);
}

/* recovery.c */
void idma_channel_set_state(struct idma_channel *ch, u32 state);
void idma_channel_fail(struct idma_channel *ch);
void idma_channel_check(struct idma_channel *ch);
bool idma_channel_stop(struct idma_channel *ch);
void idma_channel_release(struct idma_channel *ch);
void idma_channel_drain(struct idma_channel *ch, unsigned long end);

/* op.c */
extern const struct idma_pieces *idma_pieces;
int idma_op_issue(struct idma_op *op);
void idma_op_drop(struct idma_op *op, u32 status, u32 error);
void idma_ops_reap(struct idma_channel *ch);
void idma_ops_poll(struct idma_channel *ch);
void idma_ops_stopped(struct idma_channel *ch);
void idma_ops_settle_all(struct idma_channel *ch, u32 status, u32 error);

/* provider.c */
int idma_provider_check(struct dma_chan *chan);
bool idma_provider_is_ours(const struct device *dev);
bool idma_provider_stops_on_release(const struct dma_chan *chan);
void idma_provider_distrust(const struct device *dev, u32 reason);
void idma_provider_forget(const struct device *dev);
u32 idma_providers_refused(struct ioat_dma_refused refused[IOAT_DMA_MAX_REFUSED]);

#endif /* IDMA_CHANNEL_H */
