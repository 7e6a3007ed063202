// SPDX-License-Identifier: Apache-2.0
/*
 * One channel: it walks a chain of descriptors in guest memory, does each, and tells.
 */
#include <string.h>

#include "device.h"

/* How much a channel does before the others and the sockets have their turn. */
#define TURN_DESCRIPTORS 16
#define TURN_BYTES (1u << IOAT_XFERCAP_LOG2)

uint64_t channel_status(const struct channel *ch)
{
	return (ch->last & IOAT_CHANSTS_ADDR) | ch->state;
}

/* What a hang or a delay held up goes with it. CHANCTRL and CHANCMP stay. */
void channel_reset(struct channel *ch)
{
	ch->state = CHANNEL_HALTED;
	ch->last = 0;
	ch->error = 0;
	ch->dmacount = 0;
	ch->done = 0;
	ch->chain_new = false;
	ch->fetched = false;
}

void channel_command(struct channel *ch, uint8_t command)
{
	if (command & IOAT_CHANCMD_RESET) {
		channel_reset(ch);
	} else if (command & IOAT_CHANCMD_SUSPEND) {
		if (ch->state == CHANNEL_ACTIVE || ch->state == CHANNEL_DONE)
			ch->state = CHANNEL_SUSPENDED;
	} else if (command & IOAT_CHANCMD_RESUME) {
		if (ch->state == CHANNEL_SUSPENDED)
			ch->state = ch->done == ch->dmacount ? CHANNEL_DONE : CHANNEL_ACTIVE;
	}
}

void channel_chainaddr(struct channel *ch, uint64_t address)
{
	ch->chainaddr = address;
	ch->next = address;
	ch->done = 0;
	ch->dmacount = 0;
	ch->chain_new = true;
	ch->fetched = false;
}

/*
 * A new chain starts a suspended or a halted channel; more of the old one does not, and
 * nothing does while CHANERR is set.
 */
void channel_doorbell(struct channel *ch, uint16_t count)
{
	bool stopped = ch->state == CHANNEL_SUSPENDED || ch->state == CHANNEL_HALTED;

	ch->dmacount = count;
	if (ch->error || (stopped && !ch->chain_new))
		return;
	ch->chain_new = false;
	ch->state = ch->done == ch->dmacount ? CHANNEL_DONE : CHANNEL_ACTIVE;
}

/* The completion write comes first: the interrupt's handler looks there. */
static bool write_completion(struct device *dev, const struct channel *ch)
{
	return memory_store64(&dev->memory, ch->chancmp, channel_status(ch));
}

static void halt(struct device *dev, int number, uint32_t error)
{
	struct channel *ch = &dev->channel[number];

	ch->error |= error;
	ch->state = CHANNEL_HALTED;
	ch->fetched = false;
	if (ch->ctrl & IOAT_CHANCTRL_ERR_COMPLETION_EN)
		write_completion(dev, ch);
	if (ch->ctrl & IOAT_CHANCTRL_ERR_INT_EN)
		irq_raise(dev, number);
}

/* Copies piece by piece, as memory is mapped. Returns the error, or 0. */
static uint32_t copy(struct device *dev, const struct descriptor *desc)
{
	uint64_t src = desc->src, dst = desc->dst, left = desc->size;

	while (left > 0) {
		uint64_t piece = left, run;
		const uint8_t *from;
		uint8_t *to;

		from = memory_at(&dev->memory, src, false, &run);
		if (!from)
			return IOAT_CHANERR_READ_DATA;
		piece = run < piece ? run : piece;
		to = memory_at(&dev->memory, dst, true, &run);
		if (!to)
			return IOAT_CHANERR_WRITE_DATA;
		piece = run < piece ? run : piece;
		memmove(to, from, piece);
		src += piece;
		dst += piece;
		left -= piece;
	}
	return 0;
}

/* The next descriptor, with what the faults make of it. False: the channel halted. */
static bool fetch(struct device *dev, int number, uint64_t now_ns)
{
	struct channel *ch = &dev->channel[number];
	struct descriptor *desc = &ch->desc;
	uint32_t error = 0;

	memset(&ch->effects, 0, sizeof(ch->effects));
	if (ch->next % IOAT_DESC_SIZE)
		error = IOAT_CHANERR_CHAIN_ADDR;
	else if (!memory_read(&dev->memory, ch->next, desc, sizeof(*desc)))
		error = ch->done ? IOAT_CHANERR_NEXT_ADDR : IOAT_CHANERR_CHAIN_ADDR;
	else if (IOAT_DESC_OP(desc->ctl))
		error = IOAT_CHANERR_CONTROL;
	else if (desc->size == 0 || desc->size > 1u << IOAT_XFERCAP_LOG2)
		error = IOAT_CHANERR_LENGTH;
	if (error) {
		halt(dev, number, error);
		return false;
	}
	/* faults count copies: how the driver starts its chains is no test's business */
	if (!(desc->ctl & IOAT_DESC_NULL))
		ch->effects = faults_strike(dev->faults, dev->number, number, desc->ctl);
	ch->until_ns = now_ns + ch->effects.delay_ns;
	ch->fetched = true;
	return true;
}

static void corrupt(struct device *dev, const struct channel *ch)
{
	uint64_t run, at = ch->effects.corrupt_at % ch->desc.size;
	uint8_t *byte = memory_at(&dev->memory, ch->desc.dst + at, true, &run);

	if (byte)
		*byte ^= 0x01;
}

/* Does the descriptor at hand. False: the channel stopped at it. */
static bool finish(struct device *dev, int number)
{
	struct channel *ch = &dev->channel[number];
	const struct descriptor *desc = &ch->desc;
	const struct fault_effects *effects = &ch->effects;
	uint32_t error = effects->error;

	if (effects->remove) {
		dev->removal = true;
		return false;
	}
	if (!error && !(desc->ctl & IOAT_DESC_NULL)) {
		error = copy(dev, desc);
		if (!error && effects->corrupt)
			corrupt(dev, ch);
	}
	if (error) {
		halt(dev, number, error);
		return false;
	}
	if (!(desc->ctl & IOAT_DESC_NULL)) {
		ch->copies++;
		ch->bytes += desc->size;
	}
	ch->fetched = false;
	ch->last = ch->next;
	ch->next = desc->next;
	ch->done++;
	if (ch->done == ch->dmacount)
		ch->state = CHANNEL_DONE;
	if ((desc->ctl & IOAT_DESC_COMPLETION) && !effects->lost_completion &&
	    !write_completion(dev, ch)) {
		halt(dev, number, IOAT_CHANERR_COMPLETION_ADDR);
		return false;
	}
	if ((desc->ctl & IOAT_DESC_INT) && !effects->lost_irq)
		irq_raise(dev, number);
	return true;
}

uint64_t channel_run(struct device *dev, int number, uint64_t now_ns)
{
	struct channel *ch = &dev->channel[number];
	uint32_t descriptors = 0, bytes = 0;

	while (ch->state == CHANNEL_ACTIVE && config_bus_master(dev) && !dev->removal) {
		if (descriptors == TURN_DESCRIPTORS || bytes >= TURN_BYTES)
			return 0;
		if (!ch->fetched && !fetch(dev, number, now_ns))
			break;
		if (ch->effects.hang)
			break; /* until a reset or a new chain */
		if (ch->until_ns > now_ns)
			return ch->until_ns;
		descriptors++;
		bytes += ch->desc.size;
		if (!finish(dev, number))
			break;
	}
	return UINT64_MAX;
}
