/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registers of an Intel I/OAT (Crystal Beach DMA) device of version 3.2, as far as
 * Linux's ioatdma driver uses them, each with what the driver relies on. Offsets are
 * into BAR0; the driver's names for them are in its registers.h.
 */
#ifndef IOAT_MODEL_REGS_H
#define IOAT_MODEL_REGS_H

/* ---- PCI ---- */

#define IOAT_VENDOR 0x8086
#define IOAT_DEVICE 0x2021 /* Skylake-X: a plain version 3.2, none of the errata paths */
#define IOAT_CLASS 0x088000 /* system peripheral, other */

#define IOAT_BAR0_SIZE 0x4000
#define IOAT_MSIX_TABLE 0x2000 /* in BAR0, past every register; QEMU serves it itself */
#define IOAT_MSIX_PBA 0x3000
#define IOAT_CONFIG_SIZE 4096

/*
 * CHANERR_INT in PCI config space. Before version 3.3 the driver reads it and writes
 * what it read back, to clear it, on every reset. Nothing here ever sets it, so it
 * reads 0.
 */
#define IOAT_CFG_CHANERR_INT 0x180

#define IOAT_MAX_CHANNELS 4 /* of one device; real parts have more, as functions of 1 */

/* ---- the device ---- */

/* u8, read only: how many channels; the driver probes that many. */
#define IOAT_CHANCNT 0x00

/* u8, read only: log2 of the largest copy of one descriptor; longer ones are split. */
#define IOAT_XFERCAP 0x01
#define IOAT_XFERCAP_LOG2 20

/*
 * u8. MASTER_INT_EN gates every interrupt. With one vector for all channels (MSI) the
 * handler trusts INT_STATUS: where it reads 0 the interrupt was somebody else's. It
 * then writes the value back.
 */
#define IOAT_INTRCTRL 0x03
#define IOAT_INTRCTRL_MASTER_INT_EN 0x01
#define IOAT_INTRCTRL_INT_STATUS 0x02

/*
 * u32, a bit a channel; reading clears it. Read by the one-vector handler only, to know
 * which channels to look at: a bit missing here is an interrupt lost.
 */
#define IOAT_ATTNSTATUS 0x04

/* u8, read only: 0x32 is version 3.2, with descriptor rings and CHANERR recovery. */
#define IOAT_CBVER 0x08
#define IOAT_CBVER_3_2 0x32

/* u16: microseconds of interrupt coalescing. Stored and otherwise ignored. */
#define IOAT_INTRDELAY 0x0c

/*
 * u32, read only: operations beyond copying. 0 means copy only, which makes the
 * driver's channels private: a client asks for one with dma_request_channel().
 */
#define IOAT_DMACAPABILITY 0x10

/* u16, read only: where the DCA registers are; 0 means there are none. */
#define IOAT_DCAOFFSET 0x14

/* ---- channel N, at IOAT_CHANNEL(N) ---- */

#define IOAT_CHANNEL_BASE 0x80
#define IOAT_CHANNEL_STRIDE 0x80
#define IOAT_CHANNEL(n) (IOAT_CHANNEL_BASE + (n) * IOAT_CHANNEL_STRIDE)

/*
 * u16. The driver writes 0x1d when it takes a channel and at the end of every cleanup.
 * One interrupt is raised for each time INT_REARM is written; what comes while disarmed
 * is kept and raised by the next re-arm. Dropping it instead loses the interrupt of an
 * operation that ends during a cleanup.
 */
#define IOAT_CHANCTRL 0x00
#define IOAT_CHANCTRL_INT_REARM 0x0001
#define IOAT_CHANCTRL_ERR_COMPLETION_EN 0x0004
#define IOAT_CHANCTRL_ANY_ERR_ABORT_EN 0x0008
#define IOAT_CHANCTRL_ERR_INT_EN 0x0010

/*
 * u8. RESET has to read 0 again within 200 ms. After SUSPEND the driver polls CHANSTS
 * until it is no longer active, for 100 ms in one place and for ever in another, under a
 * spinlock: a model that is slow here hangs the guest.
 */
#define IOAT_CHANCMD 0x04
#define IOAT_CHANCMD_SUSPEND 0x04
#define IOAT_CHANCMD_RESUME 0x10
#define IOAT_CHANCMD_RESET 0x20

/*
 * u16, the doorbell: how many descriptors of this chain there are, counted from the
 * write of CHAINADDR on, modulo 65536. The channel runs until it has done as many.
 */
#define IOAT_DMACOUNT 0x06

/*
 * u64, read only, read at once: the address of the last finished descriptor, and in the
 * low bits what the channel does. 3 after a reset. Within 20 us of the first doorbell
 * it has to be 0 or 1, or the driver gives the channel up.
 */
#define IOAT_CHANSTS 0x08
#define IOAT_CHANSTS_ACTIVE 0
#define IOAT_CHANSTS_DONE 1
#define IOAT_CHANSTS_SUSPENDED 2
#define IOAT_CHANSTS_HALTED 3
#define IOAT_CHANSTS_ADDR (~0x3fULL)

/* u32 each: the first descriptor of a chain. Writing it starts the count anew. */
#define IOAT_CHAINADDR_LOW 0x10
#define IOAT_CHAINADDR_HIGH 0x14

/*
 * u32 each: where completions are written, as one aligned u64 of the form of CHANSTS,
 * before the interrupt. The driver looks the address up in its ring and has a BUG_ON
 * for one that is not there.
 */
#define IOAT_CHANCMP_LOW 0x18
#define IOAT_CHANCMP_HIGH 0x1c

/*
 * u32, a one written clears. Not 0 goes with a halted channel. The driver recovers at
 * once from READ_DATA and WRITE_DATA, each alone; with anything else it waits for its
 * timer and resets the channel; the one together with the other is a BUG() of its own.
 */
#define IOAT_CHANERR 0x28
#define IOAT_CHANERR_NEXT_ADDR 0x0004
#define IOAT_CHANERR_DESCRIPTOR 0x0008
#define IOAT_CHANERR_CHAIN_ADDR 0x0010
#define IOAT_CHANERR_READ_DATA 0x0100
#define IOAT_CHANERR_WRITE_DATA 0x0200
#define IOAT_CHANERR_CONTROL 0x0400
#define IOAT_CHANERR_LENGTH 0x0800
#define IOAT_CHANERR_COMPLETION_ADDR 0x1000
#define IOAT_CHANERR_RECOVERABLE (IOAT_CHANERR_READ_DATA | IOAT_CHANERR_WRITE_DATA)

/* u32: CHANERR_MASK and one that is reserved; stored, because the driver writes them. */
#define IOAT_CHANERR_MASK 0x2c
#define IOAT_CHANERR_MASK2 0x30

/* ---- one descriptor, 64 bytes, 64-aligned, in guest memory ---- */

#define IOAT_DESC_SIZE 64
#define IOAT_DESC_INT (1u << 0) /* interrupt when done */
#define IOAT_DESC_COMPLETION (1u << 3) /* completion write when done */
#define IOAT_DESC_FENCE (1u << 4) /* after all before it; always so here */
#define IOAT_DESC_NULL (1u << 5) /* moves nothing; starts a chain */
#define IOAT_DESC_OP(ctl) ((ctl) >> 24) /* 0 is copy */

#endif
