/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One I/OAT device: its config space, its registers, its channels. It knows nothing of
 * sockets; vfio_user.c carries the guest's accesses to it and main.c gives it time.
 */
#ifndef IOAT_MODEL_DEVICE_H
#define IOAT_MODEL_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fault.h"
#include "memory.h"
#include "regs.h"

#define IRQ_VECTORS 8 /* MSI-X entries; a vector a channel, and then some */

struct descriptor {
	uint32_t size, ctl;
	uint64_t src, dst, next;
	uint64_t unused[4];
};

enum channel_state { /* the low bits of CHANSTS */
	CHANNEL_ACTIVE = IOAT_CHANSTS_ACTIVE,
	CHANNEL_DONE = IOAT_CHANSTS_DONE,
	CHANNEL_SUSPENDED = IOAT_CHANSTS_SUSPENDED,
	CHANNEL_HALTED = IOAT_CHANSTS_HALTED,
};

struct channel {
	/* as the guest sees them */
	uint16_t ctrl, dmacount;
	enum channel_state state;
	uint64_t last; /* address of the last descriptor that is done */
	uint64_t chainaddr, chancmp;
	uint32_t error, error_mask[2];

	uint64_t next; /* the descriptor to do next */
	uint16_t done; /* of this chain, modulo 65536 as the doorbell */
	bool chain_new; /* CHAINADDR was written and no doorbell rung since */
	bool irq_armed, irq_kept;

	/* the descriptor being done, kept while a delay or a hang holds it up */
	bool fetched;
	struct descriptor desc;
	struct fault_effects effects;
	uint64_t until_ns; /* of a delay */

	uint64_t copies, bytes; /* for the control socket's status */
};

struct device {
	int number, channels;
	bool msix; /* else MSI */
	uint8_t config[IOAT_CONFIG_SIZE], config_writable[IOAT_CONFIG_SIZE];
	uint8_t intrctrl;
	uint16_t intrdelay;
	uint32_t attnstatus;
	struct channel channel[IOAT_MAX_CHANNELS];
	int irq[IRQ_VECTORS]; /* eventfds, or -1 */
	struct memory memory;
	struct faults *faults;
	bool removal; /* a fault wants the device gone */
};

/* config.c */
void config_init(struct device *dev);
void config_reset(struct device *dev);
void config_write(struct device *dev, uint32_t offset, const uint8_t *from, uint32_t count);
bool config_bus_master(const struct device *dev);

/* registers.c */
void device_init(struct device *dev, int number, int channels, bool msix, struct faults *faults);
void device_reset(struct device *dev);
void bar_read(struct device *dev, uint32_t offset, uint8_t *to, uint32_t count);
void bar_write(struct device *dev, uint32_t offset, const uint8_t *from, uint32_t count);

/* channel.c */
void channel_reset(struct channel *ch);
void channel_command(struct channel *ch, uint8_t command);
void channel_chainaddr(struct channel *ch, uint64_t address);
void channel_doorbell(struct channel *ch, uint16_t count);
uint64_t channel_status(const struct channel *ch);

/*
 * channel_run - does a little of what the channel has to do: at most a few descriptors
 * or a mebibyte, so that a suspend is never far off. Returns when it wants to be called
 * again: 0 at once, UINT64_MAX not before something happens, else CLOCK_MONOTONIC ns.
 */
uint64_t channel_run(struct device *dev, int number, uint64_t now_ns);

/* irq.c */
void irq_raise(struct device *dev, int channel);
void irq_rearm(struct device *dev, int channel);
void irq_flush(struct device *dev);

#endif
