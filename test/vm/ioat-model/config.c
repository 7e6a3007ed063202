// SPDX-License-Identifier: Apache-2.0
/*
 * PCI config space: the header and three capabilities, in the order of the chain: power
 * management at 0x40, MSI-X or MSI at 0x50, PCI Express at 0x90. There is no extended
 * capability: 0x100 reads 0, which ends that list.
 */
#include <string.h>

#include "device.h"

#define PCI_COMMAND 0x04
#define PCI_COMMAND_MASTER 0x04

static void put(struct device *dev, uint32_t at, uint64_t value, uint32_t bytes)
{
	for (; bytes > 0; bytes--, at++, value >>= 8)
		dev->config[at] = value;
}

static void writable(struct device *dev, uint32_t at, uint64_t mask, uint32_t bytes)
{
	for (; bytes > 0; bytes--, at++, mask >>= 8)
		dev->config_writable[at] = mask;
}

void config_init(struct device *dev)
{
	memset(dev->config, 0, sizeof(dev->config));
	memset(dev->config_writable, 0, sizeof(dev->config_writable));

	put(dev, 0x00, IOAT_VENDOR, 2);
	put(dev, 0x02, IOAT_DEVICE, 2);
	writable(dev, PCI_COMMAND, 0x0546, 2); /* memory, master, parity, SERR, INTx off */
	put(dev, 0x06, 0x0010, 2); /* has capabilities */
	put(dev, 0x08, 0x04, 1); /* revision */
	put(dev, 0x09, IOAT_CLASS, 3);
	writable(dev, 0x0c, 0xffff, 2); /* cache line, latency */
	put(dev, 0x10, 0x4, 4); /* BAR0: memory, 64 bits, not prefetchable */
	writable(dev, 0x10, ~(uint64_t)(IOAT_BAR0_SIZE - 1), 8);
	put(dev, 0x2c, IOAT_VENDOR, 2);
	put(dev, 0x34, 0x40, 1);
	writable(dev, 0x3c, 0xff, 1); /* interrupt line; pin 0: no INTx */

	put(dev, 0x40, 0x01 | 0x50 << 8 | 0x0003 << 16, 4);
	writable(dev, 0x44, 0x3, 2); /* power state */

	if (dev->msix) {
		put(dev, 0x50, 0x11 | 0x90 << 8 | (IRQ_VECTORS - 1) << 16, 4);
		writable(dev, 0x52, 0xc000, 2); /* enable, mask all */
		put(dev, 0x54, IOAT_MSIX_TABLE, 4);
		put(dev, 0x58, IOAT_MSIX_PBA, 4);
	} else {
		put(dev, 0x50, 0x05 | 0x90 << 8 | 0x0080 << 16, 4); /* 64 bits, one vector */
		writable(dev, 0x52, 0x0071, 2); /* enable, how many */
		writable(dev, 0x54, ~0ULL << 2, 8); /* address */
		writable(dev, 0x5c, 0xffff, 2); /* data */
	}

	/*
	 * Version 2, root complex integrated endpoint: the driver reads and writes the
	 * device control register for relaxed ordering.
	 */
	put(dev, 0x90, 0x10 | 0x92 << 16, 4);
	put(dev, 0x94, 0x8000, 4); /* role-based error reporting */
	writable(dev, 0x98, 0x7fff, 2);
}

/* Back to power-on values: what can be written is all zero then. */
void config_reset(struct device *dev)
{
	uint32_t at;

	for (at = 0; at < IOAT_CONFIG_SIZE; at++)
		dev->config[at] &= ~dev->config_writable[at];
}

void config_write(struct device *dev, uint32_t offset, const uint8_t *from, uint32_t count)
{
	for (; count > 0; count--, offset++, from++)
		dev->config[offset] = (dev->config[offset] & ~dev->config_writable[offset]) |
				      (*from & dev->config_writable[offset]);
}

/* Without it the device may neither read or write memory nor send an MSI, which is a write. */
bool config_bus_master(const struct device *dev)
{
	return dev->config[PCI_COMMAND] & PCI_COMMAND_MASTER;
}
