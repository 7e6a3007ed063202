// SPDX-License-Identifier: Apache-2.0
/*
 * BAR0. A read builds the bytes of all registers and hands out those asked for, so that
 * every width and alignment works; a write goes by the register's own offset and width,
 * which is how the driver writes.
 */
#include <string.h>
#include <unistd.h>

#include "device.h"

#define REGISTERS_END IOAT_CHANNEL(IOAT_MAX_CHANNELS)

void device_init(struct device *dev, int number, int channels, bool msix, struct faults *faults)
{
	int i;

	memset(dev, 0, sizeof(*dev));
	dev->number = number;
	dev->channels = channels;
	dev->msix = msix;
	dev->faults = faults;
	for (i = 0; i < IRQ_VECTORS; i++)
		dev->irq[i] = -1;
	config_init(dev);
	device_reset(dev);
}

/* QEMU asks for it at start and twice a reboot. Mappings and vectors are QEMU's to undo. */
void device_reset(struct device *dev)
{
	int i;

	config_reset(dev);
	dev->intrctrl = 0;
	dev->intrdelay = 0;
	dev->attnstatus = 0;
	for (i = 0; i < dev->channels; i++) {
		uint64_t copies = dev->channel[i].copies, bytes = dev->channel[i].bytes;

		memset(&dev->channel[i], 0, sizeof(dev->channel[i]));
		dev->channel[i].copies = copies;
		dev->channel[i].bytes = bytes;
		channel_reset(&dev->channel[i]);
	}
}

static void put(uint8_t *image, uint32_t at, uint64_t value, uint32_t bytes)
{
	for (; bytes > 0; bytes--, at++, value >>= 8)
		image[at] = value;
}

static void channel_image(const struct channel *ch, uint8_t *image)
{
	put(image, IOAT_CHANCTRL, ch->ctrl, 2);
	put(image, IOAT_CHANCMD, 0, 1); /* every command is done by the time it is read */
	put(image, IOAT_DMACOUNT, ch->dmacount, 2);
	put(image, IOAT_CHANSTS, channel_status(ch), 8);
	put(image, IOAT_CHAINADDR_LOW, ch->chainaddr, 8);
	put(image, IOAT_CHANCMP_LOW, ch->chancmp, 8);
	put(image, IOAT_CHANERR, ch->error, 4);
	put(image, IOAT_CHANERR_MASK, ch->error_mask[0], 4);
	put(image, IOAT_CHANERR_MASK2, ch->error_mask[1], 4);
}

void bar_read(struct device *dev, uint32_t offset, uint8_t *to, uint32_t count)
{
	uint8_t image[REGISTERS_END] = { 0 };
	uint32_t i;
	int n;

	put(image, IOAT_CHANCNT, dev->channels, 1);
	put(image, IOAT_XFERCAP, IOAT_XFERCAP_LOG2, 1);
	put(image, IOAT_INTRCTRL, dev->intrctrl, 1);
	put(image, IOAT_ATTNSTATUS, dev->attnstatus, 4);
	put(image, IOAT_CBVER, IOAT_CBVER_3_2, 1);
	put(image, IOAT_INTRDELAY, dev->intrdelay, 2);
	for (n = 0; n < dev->channels; n++)
		channel_image(&dev->channel[n], image + IOAT_CHANNEL(n));
	for (i = 0; i < count; i++)
		to[i] = offset + i < REGISTERS_END ? image[offset + i] : 0;
	if (offset <= IOAT_ATTNSTATUS && offset + count > IOAT_ATTNSTATUS) {
		dev->attnstatus = 0;
		dev->intrctrl &= ~IOAT_INTRCTRL_INT_STATUS;
	}
}

static uint64_t set_half(uint64_t old, bool high, uint32_t value)
{
	return high ? (old & 0xffffffff) | (uint64_t)value << 32 :
		      (old & ~0xffffffffULL) | value;
}

static void channel_write(struct device *dev, int number, uint32_t offset, uint64_t value)
{
	struct channel *ch = &dev->channel[number];

	switch (offset) {
	case IOAT_CHANCTRL:
		/* INT_REARM is a command, and reads back as the driver wrote it */
		ch->ctrl = value;
		if (value & IOAT_CHANCTRL_INT_REARM)
			irq_rearm(dev, number);
		break;
	case IOAT_CHANCMD:
		channel_command(ch, value);
		break;
	case IOAT_DMACOUNT:
		channel_doorbell(ch, value);
		break;
	case IOAT_CHAINADDR_LOW:
	case IOAT_CHAINADDR_HIGH:
		channel_chainaddr(ch, set_half(ch->chainaddr, offset == IOAT_CHAINADDR_HIGH, value));
		break;
	case IOAT_CHANCMP_LOW:
	case IOAT_CHANCMP_HIGH:
		ch->chancmp = set_half(ch->chancmp, offset == IOAT_CHANCMP_HIGH, value);
		break;
	case IOAT_CHANERR:
		ch->error &= ~value;
		break;
	case IOAT_CHANERR_MASK:
	case IOAT_CHANERR_MASK2:
		ch->error_mask[offset == IOAT_CHANERR_MASK2] = value;
		break;
	}
}

void bar_write(struct device *dev, uint32_t offset, const uint8_t *from, uint32_t count)
{
	uint64_t value = 0;
	uint32_t number, i;

	/* the driver writes a 64-bit address as two halves; a guest may write both at once */
	for (; count > 4; count -= 4, offset += 4, from += 4)
		bar_write(dev, offset, from, 4);
	for (i = 0; i < count; i++)
		value |= (uint64_t)from[i] << (8 * i);
	if (offset == IOAT_INTRCTRL) {
		dev->intrctrl = value & ~IOAT_INTRCTRL_INT_STATUS;
		if (dev->attnstatus)
			dev->intrctrl |= IOAT_INTRCTRL_INT_STATUS;
		irq_flush(dev);
	} else if (offset == IOAT_INTRDELAY) {
		dev->intrdelay = value;
	} else if (offset >= IOAT_CHANNEL_BASE) {
		number = (offset - IOAT_CHANNEL_BASE) / IOAT_CHANNEL_STRIDE;
		if (number < (uint32_t)dev->channels)
			channel_write(dev, number, (offset - IOAT_CHANNEL_BASE) % IOAT_CHANNEL_STRIDE,
				      value);
	}
}
