/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Random ioctls by the million, while channels fail and devices come and go. Half of the calls
 * are wild: of any kind, on files that all threads share, and all that is known of them is which
 * errno may come back (hammer_wild.c). The others are exact: each thread has a file and an arena
 * to itself, so that it knows what must come back and which bytes must be where
 * (hammer_exact.c). hammer_chaos.c does what happens to the machine meanwhile.
 */
#ifndef HAMMER_H
#define HAMMER_H

#include <pthread.h>
#include <stdatomic.h>

#include "harness.h"

#define HAMMER_THREADS 8
#define SHARED_FILES 4

/* Wild requests write below this only, to whichever device. */
#define WILD_END (120 * MIB)
/* What exact requests read, on either device, and where they write, on the second one. */
#define SOURCE_AT (128 * MIB)
#define SOURCE_SIZE (256 * UINT64_C(1024))
#define ARENAS_AT (136 * MIB)
#define SLOTS 16
#define SLOT_SIZE UINT64_C(4096)
#define ARENA_SIZE (SLOTS * SLOT_SIZE)
/* Poisoned, and never written by anybody. */
#define GUARD UINT64_C(65536)

enum call {
	CALL_INFO, CALL_CHANNEL_INFO, CALL_REGION_CREATE, CALL_REGION_DESTROY, CALL_SUBMIT,
	CALL_CANCEL, CALL_LEGACY_COPY, CALL_LEGACY_COUNT, CALL_LEGACY_RESERVE, CALL_LEGACY_START,
	CALL_LEGACY_WAIT, CALL_UNKNOWN, CALLS,
};

/* What became of a worker's calls. */
struct tally {
	uint64_t calls[CALLS], succeeded[CALLS];
	uint64_t ends[IOAT_DMA_GONE + 1], unsettled; /* of exact requests */
};

enum slot_state { SLOT_FREE, SLOT_IN_FLIGHT, SLOT_UNSETTLED };

/* What became of a slot, to be printed if a byte of it is wrong. */
struct slot_event {
	uint64_t ms, tag;
	const char *what;
	bool from_second;
	uint32_t count;
	struct ioat_dma_segment segments[4];
};

#define SLOT_HISTORY 12

struct exact_slot {
	enum slot_state state;
	uint64_t tag;
	bool from_second; /* the source is on the second device */
	uint32_t count; /* 0 if it is free */
	struct ioat_dma_segment segments[4]; /* in the order of their destinations */
	struct slot_event history[SLOT_HISTORY];
	uint32_t events;
};

struct worker {
	pthread_t thread;
	uint64_t random;
	int number;
	struct tally tally;
	/* exact calls: */
	int dma;
	uint8_t *arena;
	bool has_source[2];
	uint32_t source[2], destination;
	uint64_t next_tag;
	struct exact_slot slots[SLOTS];
};

struct hammer {
	int files[SHARED_FILES];
	int dax[2];
	/*
	 * Write-locked while the first device is unbound, read-locked while it is opened by its
	 * path: device_dax lends its own mapping to the node's inode, which devtmpfs may look at
	 * after it is freed if a path walk ends then. A kernel bug, and not what this is to find.
	 */
	pthread_rwlock_t node;
	const char *pci_slot;
	atomic_bool stop;
	atomic_uint events; /* that chaos() caused */
	/* as read from the first device, which may be gone when it is compared with */
	uint8_t *source[2];
	uint8_t *second; /* the second device's bytes; it stays */
};

extern struct hammer hammer;

static inline uint64_t pick(struct worker *self, uint64_t limit)
{
	return random32(&self->random) % limit;
}

/* ioctl(), counted; the errno, or 0 if it succeeded. */
int counted_ioctl(struct worker *self, enum call call, int fd, unsigned long command, void *arg);

void wild_call(struct worker *self);

void slot_note(struct exact_slot *slot, const char *what);
void slot_check_free(struct worker *self, const struct exact_slot *slot);
void slots_check_all_free(struct worker *self);
void slot_check_copied(struct worker *self, const struct exact_slot *slot);
void slot_settle(struct worker *self, struct exact_slot *slot, const char *says);
struct exact_slot *slot_in(struct worker *self, enum slot_state state);
struct ioat_dma_submit slot_plan(struct worker *self, struct exact_slot *slot, int device);
void slots_take_completions(struct worker *self);

void exact_begin(struct worker *self);
void exact_call(struct worker *self);
void exact_end(struct worker *self);

void *chaos(void *seed);

#endif
