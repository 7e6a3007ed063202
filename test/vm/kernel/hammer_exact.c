// SPDX-License-Identifier: GPL-2.0-only
/* Calls of which the caller knows what must come of them, on a file of its own. */
#include <fcntl.h>

#include "hammer.h"

/* What may be said of anything that needs a device, while devices come and go. */
static bool is_gone(int error)
{
	return error == ENXIO || error == ENODEV;
}

/* A limit, or mappings that other threads change. */
static bool is_for_now(int error)
{
	return error == EAGAIN || error == EMFILE;
}

static int create_region(struct worker *self, int device, uint64_t offset, uint64_t length,
			 uint32_t *region)
{
	struct ioat_dma_region_create create = {
		.size = sizeof(create), .offset = offset, .length = length,
		/* the one that goes is opened by chaos() only */
		.fd = device ? DO(open(DAX1, O_RDWR)) : hammer.dax[0],
	};
	int error = counted_ioctl(self, CALL_REGION_CREATE, self->dma, IOAT_DMA_REGION_CREATE, &create);

	*region = create.out_region;
	if (device)
		close(create.fd);
	return error;
}

static void destroy_region(struct worker *self, uint32_t region)
{
	struct ioat_dma_region_destroy destroy = { .size = sizeof(destroy), .region = region };

	EXPECT_EQ(counted_ioctl(self, CALL_REGION_DESTROY, self->dma, IOAT_DMA_REGION_DESTROY,
				&destroy), 0);
}

/* The first device is not always there. */
static void name_source(struct worker *self, int device)
{
	int error = create_region(self, device, SOURCE_AT, SOURCE_SIZE, &self->source[device]);

	if (error && (device || error != ENXIO) && !is_for_now(error))
		FAIL("a region of the source: %s", strerror(error));
	self->has_source[device] = !error;
}

static void open_file(struct worker *self)
{
	int error;

	self->dma = DO(open("/dev/ioat-dma", O_RDWR | O_NONBLOCK));
	while ((error = create_region(self, 1, ARENAS_AT + self->number * (ARENA_SIZE + GUARD),
				      ARENA_SIZE, &self->destination))) {
		EXPECT(is_for_now(error));
		usleep(1000);
	}
	name_source(self, 0);
	name_source(self, 1);
}

void exact_begin(struct worker *self)
{
	self->arena = hammer.second + ARENAS_AT + self->number * (ARENA_SIZE + GUARD);
	memset(self->arena - GUARD, POISON, GUARD + ARENA_SIZE + GUARD);
	open_file(self);
}

/* Closing waits for the hardware: afterwards nothing is written any more, whatever was going on. */
static void close_and_open(struct worker *self)
{
	int i;

	close(self->dma);
	for (i = 0; i < SLOTS; i++)
		if (self->slots[i].state != SLOT_FREE)
			slot_settle(self, &self->slots[i], "closed");
	open_file(self);
}

/* A source that is there, or was when it was last used. */
static int random_source(struct worker *self)
{
	int device = pick(self, 2);

	if (!self->has_source[device] && pick(self, 8) == 0)
		name_source(self, device);
	return self->has_source[device] ? device : -1;
}

static int submit(struct worker *self, struct ioat_dma_submit *submit)
{
	return counted_ioctl(self, CALL_SUBMIT, self->dma, IOAT_DMA_SUBMIT, submit);
}

static void submit_one_more(struct worker *self)
{
	struct exact_slot *slot = slot_in(self, SLOT_FREE);
	int device = random_source(self), error;
	struct ioat_dma_submit request;

	if (!slot || device < 0)
		return;
	slot_check_free(self, slot);
	request = slot_plan(self, slot, device);
	error = submit(self, &request);
	if (!error) {
		slot->state = SLOT_IN_FLIGHT;
		slot_note(slot, "submitted");
		return;
	}
	slot_note(slot, strerror(error));
	slot->count = 0;
	if (error == ENXIO && !device) {
		destroy_region(self, self->source[0]);
		self->has_source[0] = false;
	} else if (error != ENODEV && !is_for_now(error)) {
		FAIL("a submission: %s", strerror(error));
	}
}

/* One thing is wrong with it, and that is what is said of it. */
static void submit_wrongly(struct worker *self)
{
	struct exact_slot *slot = slot_in(self, SLOT_FREE);
	int device = random_source(self), want = EINVAL, error;
	struct ioat_dma_segment *segment;
	struct ioat_dma_submit request;

	if (!slot || device < 0)
		return;
	request = slot_plan(self, slot, device);
	segment = &slot->segments[pick(self, slot->count)];
	switch (pick(self, 12)) {
	case 0: request.src_region = 1000 + pick(self, 1000); want = ENOENT; break;
	case 1: request.dst_region = UINT32_MAX - pick(self, 1000); want = ENOENT; break;
	case 2: request.flags |= 2u << pick(self, 31); want = EOPNOTSUPP; break;
	case 3: request.__reserved = 1u << pick(self, 32); want = EOPNOTSUPP; break;
	case 4: request.segment_count = 0; break;
	case 5: request.segment_count = 100000 + pick(self, 100000); break;
	case 6: request.timeout_ms = 3600001 + pick(self, 1000000); break;
	case 7: request.segments = pick(self, 4096); want = EFAULT; break;
	case 8: segment->length = 0; break;
	case 9: segment->length += ARENA_SIZE; want = ERANGE; break;
	case 10: segment->dst_offset = -segment->length; want = ERANGE; break;
	default: segment->src_offset = UINT64_MAX - pick(self, 2) * INT64_MAX; want = ERANGE;
	}
	error = submit(self, &request);
	slot_note(slot, "wrongly submitted");
	slot->count = 0;
	if (error != want && !is_gone(error) && !is_for_now(error))
		FAIL("a submission said %s, not %s", strerror(error), strerror(want));
}

static void cancel_one(struct worker *self)
{
	struct exact_slot *slot = slot_in(self, SLOT_IN_FLIGHT);
	struct ioat_dma_cancel cancel = {
		.size = sizeof(cancel), .tag = slot ? slot->tag : UINT64_MAX,
	};
	int error = counted_ioctl(self, CALL_CANCEL, self->dma, IOAT_DMA_CANCEL, &cancel);

	/* its completion may be there to be read */
	EXPECT(error == ENOENT || (slot && !error && cancel.out_canceled == 1));
}

/* A range that fits is never out of range, though its device be going. */
static void make_region(struct worker *self)
{
	int device = pick(self, 2), error;
	bool fits = pick(self, 2);
	uint32_t region;

	error = create_region(self, device, fits ? pick(self, 200 * MIB) : 1000 * MIB,
			      1 + pick(self, 16 * MIB), &region);
	if (!error && fits)
		destroy_region(self, region);
	else if (!(error == ERANGE && !fits) && !is_for_now(error) && !(error == ENXIO && !device))
		FAIL("a region of device %d that %s: %s", device, fits ? "fits" : "does not fit",
		     strerror(error));
}

/* By path, within the second device, into a slot. It waits, so that all is settled afterwards. */
static void copy_by_path(struct worker *self)
{
	struct exact_slot *slot = slot_in(self, SLOT_FREE);
	struct ioat_dma_legacy_copy copy = { .device_name = DAX1 };
	struct ioat_dma_segment *segment;
	int error;

	if (!slot)
		return;
	slot_plan(self, slot, 1);
	slot->count = 1;
	segment = &slot->segments[0];
	copy.src_offset = SOURCE_AT + segment->src_offset;
	copy.dst_offset = self->arena - hammer.second + segment->dst_offset;
	copy.size = segment->length;
	error = counted_ioctl(self, CALL_LEGACY_COPY, self->dma, IOAT_DMA_LEGACY_COPY, &copy);
	if (!error)
		slot_check_copied(self, slot);
	else if (error != EIO && error != ETIMEDOUT && !is_gone(error) && !is_for_now(error))
		FAIL("a copy by path: %s", strerror(error));
	slot_settle(self, slot, error ? strerror(error) : "copied by path");
}

static void ask(struct worker *self)
{
	struct ioat_dma_channel_info info = { .size = sizeof(info), .channel = pick(self, 4) };
	int error = counted_ioctl(self, CALL_CHANNEL_INFO, self->dma, IOAT_DMA_CHANNEL_INFO, &info);

	EXPECT(error == ENOENT || (!error && info.out_state <= IOAT_DMA_CHANNEL_SET_ASIDE));
}

void exact_call(struct worker *self)
{
	switch (pick(self, 32)) {
	/* these map memory, which takes long where all is checked */
	case 0: if (pick(self, 8) == 0) make_region(self); break;
	case 1: if (pick(self, 16) == 0) copy_by_path(self); break;
	case 2: if (pick(self, 50) == 0) close_and_open(self); break;
	case 3 ... 9: ask(self); break;
	case 10 ... 15: cancel_one(self); break;
	case 16 ... 22: submit_wrongly(self); break;
	default: submit_one_more(self);
	}
	slots_take_completions(self);
}

/* All end, and nothing is written any more. */
void exact_end(struct worker *self)
{
	uint64_t end = now_ms() + patience(60000);

	while (slot_in(self, SLOT_IN_FLIGHT) || slot_in(self, SLOT_UNSETTLED)) {
		if (now_ms() > end)
			FAIL("a request did not end within a minute");
		usleep(5000);
		slots_take_completions(self);
	}
	slots_check_all_free(self);
	close(self->dma);
}
