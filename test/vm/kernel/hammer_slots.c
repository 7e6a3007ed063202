// SPDX-License-Identifier: GPL-2.0-only
/*
 * The slots of a thread's arena. A request writes to one slot, which is poisoned before, and again
 * as soon as the request is settled; from then on no byte of it may change.
 */
#include <inttypes.h>

#include "hammer.h"

static uint8_t *bytes_of(struct worker *self, const struct exact_slot *slot)
{
	return self->arena + (slot - self->slots) * SLOT_SIZE;
}

static uint64_t offset_of(struct worker *self, const struct exact_slot *slot)
{
	return (slot - self->slots) * SLOT_SIZE;
}

/* As is_byte(), but quick: this is what most of the time goes into. */
static bool is_poisoned(const uint8_t *at, uint64_t size)
{
	return !size || (at[0] == POISON && !memcmp(at, at + 1, size - 1));
}

/* @what is a constant, or what strerror() returned for an errno. */
void slot_note(struct exact_slot *slot, const char *what)
{
	struct slot_event *event = &slot->history[slot->events++ % SLOT_HISTORY];

	*event = (struct slot_event){
		.ms = now_ms(), .tag = slot->tag, .what = what,
		.from_second = slot->from_second, .count = slot->count,
	};
	memcpy(event->segments, slot->segments, sizeof(event->segments));
}

static void print_history(struct worker *self, const struct exact_slot *slot)
{
	uint32_t i = slot->events > SLOT_HISTORY ? slot->events - SLOT_HISTORY : 0, k;

	for (; i < slot->events; i++) {
		const struct slot_event *event = &slot->history[i % SLOT_HISTORY];

		printf("    %" PRIu64 " ms ago, tag %" PRIu64 ": %s; from device %d",
		       now_ms() - event->ms, event->tag, event->what, event->from_second);
		for (k = 0; k < event->count; k++)
			printf(" %#" PRIx64 "+%" PRIu64 "->%" PRIu64,
			       (uint64_t)event->segments[k].src_offset,
			       (uint64_t)event->segments[k].length,
			       (uint64_t)event->segments[k].dst_offset - offset_of(self, slot));
		printf("\n");
	}
}

/* From where in the sources are these bytes? */
static void print_origin(const uint8_t *bytes, uint64_t size)
{
	const uint8_t *found;
	int i;

	for (i = 0; i < 2; i++) {
		found = memmem(hammer.source[i], SOURCE_SIZE, bytes, size);
		if (found)
			printf("    they are those of device %d at %#" PRIx64 "\n", i,
			       (uint64_t)(found - hammer.source[i]));
	}
}

void slot_check_free(struct worker *self, const struct exact_slot *slot)
{
	const uint8_t *bytes = bytes_of(self, slot);
	uint64_t first = 0, last = SLOT_SIZE - 1;

	if (is_poisoned(bytes, SLOT_SIZE))
		return;
	while (bytes[first] == POISON)
		first++;
	while (bytes[last] == POISON)
		last--;
	print_origin(bytes + first, last - first + 1 < 16 ? last - first + 1 : 16);
	print_history(self, slot);
	FAIL("bytes %d to %d of a free slot were written", (int)first, (int)last);
}

/* The guards on both sides, too. */
void slots_check_all_free(struct worker *self)
{
	int i;

	for (i = 0; i < SLOTS; i++)
		slot_check_free(self, &self->slots[i]);
	EXPECT(is_poisoned(self->arena - GUARD, GUARD));
	EXPECT(is_poisoned(self->arena + ARENA_SIZE, GUARD));
}

/* Between and behind its segments nothing was written. */
static void check_gaps(struct worker *self, const struct exact_slot *slot)
{
	const uint8_t *bytes = bytes_of(self, slot);
	uint64_t at = 0, base = offset_of(self, slot);
	uint32_t i;

	for (i = 0; i < slot->count; i++) {
		uint64_t start = slot->segments[i].dst_offset - base;

		EXPECT(is_poisoned(bytes + at, start - at));
		at = start + slot->segments[i].length;
	}
	EXPECT(is_poisoned(bytes + at, SLOT_SIZE - at));
}

void slot_check_copied(struct worker *self, const struct exact_slot *slot)
{
	uint32_t i;

	for (i = 0; i < slot->count; i++) {
		const struct ioat_dma_segment *segment = &slot->segments[i];

		EXPECT(!memcmp(self->arena + segment->dst_offset,
			       hammer.source[slot->from_second] + segment->src_offset,
			       segment->length));
	}
}

/* The hardware has nothing more to do with it, by what the module says. */
void slot_settle(struct worker *self, struct exact_slot *slot, const char *says)
{
	check_gaps(self, slot);
	slot_note(slot, says);
	memset(bytes_of(self, slot), POISON, SLOT_SIZE);
	slot->state = SLOT_FREE;
	slot->count = 0;
}

static const char *const statuses[] = {
	[IOAT_DMA_DONE] = "done", [IOAT_DMA_FAILED] = "failed", [IOAT_DMA_ABORTED] = "aborted",
	[IOAT_DMA_CANCELED] = "canceled", [IOAT_DMA_TIMED_OUT] = "timed out",
	[IOAT_DMA_GONE] = "gone",
};

static void take(struct worker *self, const struct ioat_dma_completion *record)
{
	struct exact_slot *slot = &self->slots[record->tag % SLOTS];
	bool unsettled = record->flags & IOAT_DMA_COMPLETION_UNSETTLED;
	uint64_t length = 0;
	uint32_t i;

	EXPECT_EQ(record->tag, slot->tag);
	if (record->flags & IOAT_DMA_COMPLETION_SETTLED) {
		EXPECT_EQ(slot->state, SLOT_UNSETTLED);
		slot_settle(self, slot, "settled later");
		return;
	}
	EXPECT_EQ(slot->state, SLOT_IN_FLIGHT);
	EXPECT(record->status <= IOAT_DMA_GONE);
	self->tally.ends[record->status]++;
	if (record->status == IOAT_DMA_DONE) {
		for (i = 0; i < slot->count; i++)
			length += slot->segments[i].length;
		EXPECT_EQ(record->bytes_done, length);
		EXPECT(!unsettled);
		slot_check_copied(self, slot);
	}
	if (unsettled) {
		/* or it would be allowed to try again, or to use the bytes for something else */
		EXPECT_EQ(record->status, IOAT_DMA_TIMED_OUT);
		self->tally.unsettled++;
		slot->state = SLOT_UNSETTLED;
		slot_note(slot, "timed out, unsettled");
	} else {
		slot_settle(self, slot, statuses[record->status]);
	}
}

void slots_take_completions(struct worker *self)
{
	struct ioat_dma_completion records[SLOTS];
	ssize_t got, i;

	do {
		got = read(self->dma, records, sizeof(records));
		if (got < 0)
			EXPECT_EQ(errno, EAGAIN);
		for (i = 0; i < got / (ssize_t)sizeof(records[0]); i++)
			take(self, &records[i]);
	} while (got == sizeof(records));
}

struct exact_slot *slot_in(struct worker *self, enum slot_state state)
{
	int start = pick(self, SLOTS), i;

	for (i = 0; i < SLOTS; i++) {
		struct exact_slot *slot = &self->slots[(start + i) % SLOTS];

		if (slot->state == state)
			return slot;
	}
	return NULL;
}

struct ioat_dma_submit slot_plan(struct worker *self, struct exact_slot *slot, int device)
{
	uint64_t at = pick(self, 64);

	slot->from_second = device;
	slot->tag = self->next_tag++ * SLOTS + (slot - self->slots);
	for (slot->count = 0; slot->count < 4 && at < SLOT_SIZE; slot->count++) {
		uint64_t most = SLOT_SIZE - at, length = 1 + pick(self, pick(self, 4) ? 256 : most);

		if (length > most)
			length = most;
		slot->segments[slot->count] = (struct ioat_dma_segment){
			pick(self, SOURCE_SIZE - length), offset_of(self, slot) + at, length,
		};
		at += length + pick(self, 1024);
	}
	return (struct ioat_dma_submit){
		.size = sizeof(struct ioat_dma_submit), .tag = slot->tag,
		.flags = pick(self, 2) ? IOAT_DMA_SUBMIT_ORDERED : 0,
		.src_region = self->source[device], .dst_region = self->destination,
		.channel = pick(self, 4) ? IOAT_DMA_ANY_CHANNEL : pick(self, 2),
		.timeout_ms = pick(self, 8) ? 0 : 1 + pick(self, 500),
		.segments = (uintptr_t)slot->segments, .segment_count = slot->count,
	};
}
