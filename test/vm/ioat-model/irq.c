// SPDX-License-Identifier: Apache-2.0
/*
 * Interrupts: a vector a channel with MSI-X, one for all with MSI. Raising one is a
 * write to the eventfd that QEMU gave for its vector.
 */
#include <errno.h>
#include <unistd.h>

#include "device.h"

static void deliver(struct device *dev, int channel)
{
	const uint64_t one = 1;
	int vector = dev->msix ? channel : 0;
	ssize_t ignored;

	dev->channel[channel].irq_armed = false;
	dev->channel[channel].irq_kept = false;
	/* before the vector: the handler reads both */
	dev->attnstatus |= 1u << channel;
	dev->intrctrl |= IOAT_INTRCTRL_INT_STATUS;
	if (dev->irq[vector] < 0)
		return;
	/* EAGAIN is a counter at its end: an interrupt is pending anyway */
	ignored = write(dev->irq[vector], &one, sizeof(one));
	(void)ignored;
}

/* An interrupt that nothing can take now is kept, never dropped. */
void irq_raise(struct device *dev, int channel)
{
	struct channel *ch = &dev->channel[channel];

	if (ch->irq_armed && (dev->intrctrl & IOAT_INTRCTRL_MASTER_INT_EN) && config_bus_master(dev))
		deliver(dev, channel);
	else
		ch->irq_kept = true;
}

void irq_rearm(struct device *dev, int channel)
{
	struct channel *ch = &dev->channel[channel];

	ch->irq_armed = true;
	if (ch->irq_kept)
		irq_raise(dev, channel);
}

/* Whatever gates all channels may have opened. */
void irq_flush(struct device *dev)
{
	int i;

	for (i = 0; i < dev->channels; i++)
		if (dev->channel[i].irq_kept)
			irq_raise(dev, i);
}
