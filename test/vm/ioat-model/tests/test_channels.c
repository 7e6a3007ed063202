// SPDX-License-Identifier: Apache-2.0
/* Descriptor rings, completions and interrupts, as the driver uses them. */
#include <string.h>

#include "client.h"

#define TOLD (IOAT_DESC_INT | IOAT_DESC_COMPLETION)

static void fill(void)
{
	size_t i;

	for (i = 0; i < 1 << 20; i++) {
		guest[SRC + i] = i * 7 + (i >> 8);
		guest[DST + i] = 0;
	}
}

static void copies(void)
{
	int channel;

	for (channel = 0; channel < 4; channel++) {
		uint32_t first = RING_AT(channel);

		fill();
		start(channel);
		copy(channel, 0, 0, 1, IOAT_DESC_NULL | TOLD); /* how the driver starts */
		CHECK(wait_irq(channel, 5000));
		CHECK(completion(channel) == (first | IOAT_CHANSTS_DONE));
		set_reg(channel, IOAT_CHANCTRL, 0x1d, 2);
		copy(channel, SRC + 3, DST + 5, 1 << 20 >> 1, 0);
		copy(channel, SRC, DST, 1, TOLD);
		CHECK(wait_irq(channel, 5000));
		CHECK(completion(channel) == ((first + 2 * 64) | IOAT_CHANSTS_DONE));
		CHECK(reg(channel, IOAT_CHANSTS, 8) == completion(channel));
		CHECK(!memcmp(guest + SRC + 3, guest + DST + 5, 1 << 20 >> 1));
		CHECK(guest[DST] == guest[SRC] && guest[DST + 4] == 0);
	}
}

/* The doorbell counts modulo 65536, and the ring goes round. */
static void doorbell_wraps(void)
{
	uint32_t i;

	start(0);
	for (i = 0; i < 70000; i++) {
		copy(0, SRC, DST, 1, IOAT_DESC_COMPLETION);
		if (i % 32 == 31)
			CHECK(wait_status(0, IOAT_CHANSTS_DONE, 5000));
	}
	CHECK(wait_status(0, IOAT_CHANSTS_DONE, 5000));
	CHECK(completion(0) == ((RING_AT(0) + (69999 % 64) * 64u) | IOAT_CHANSTS_DONE));
}

/* What comes while the interrupt is not armed is raised by the re-arm, once. */
static void interrupts_are_kept(void)
{
	start(1);
	copy(1, SRC, DST, 64, TOLD);
	CHECK(wait_irq(1, 5000));
	copy(1, SRC, DST, 64, TOLD);
	CHECK(wait_status(1, IOAT_CHANSTS_DONE, 5000));
	CHECK(!wait_irq(1, 50));
	set_reg(1, IOAT_CHANCTRL, 0x1d, 2);
	CHECK(wait_irq(1, 5000));
	set_reg(1, IOAT_CHANCTRL, 0x1d, 2);
	CHECK(!wait_irq(1, 50));
}

static void bus_mastering(void)
{
	start(2);
	CHECK(region_write(CONFIG, 4, 0x2, 2) == 0);
	memset(guest + DST, 0, 64);
	copy(2, SRC + 64, DST, 64, TOLD);
	CHECK(!wait_irq(2, 50));
	CHECK(guest[DST + 1] == 0 && (reg(2, IOAT_CHANSTS, 8) & 7) == IOAT_CHANSTS_ACTIVE);
	CHECK(region_write(CONFIG, 4, 0x6, 2) == 0);
	CHECK(wait_irq(2, 5000));
	CHECK(!memcmp(guest + SRC + 64, guest + DST, 64));
}

static void errors(void)
{
	static const struct { uint64_t src, dst; uint32_t size, ctl, error; } bad[] = {
		{ SRC, DST, 64, 1u << 24, IOAT_CHANERR_CONTROL },
		{ SRC, DST, 0, 0, IOAT_CHANERR_LENGTH },
		{ SRC, DST, (1 << 20) + 1, 0, IOAT_CHANERR_LENGTH },
		{ 1ULL << 40, DST, 64, 0, IOAT_CHANERR_READ_DATA },
		{ SRC, 1ULL << 40, 64, 0, IOAT_CHANERR_WRITE_DATA },
		{ GUEST_SIZE - 32, DST, 64, 0, IOAT_CHANERR_READ_DATA },
		{ ~0ULL, DST, 64, 0, IOAT_CHANERR_READ_DATA },
	};
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		start(3);
		copy(3, SRC, DST, 64, 0);
		copy(3, bad[i].src, bad[i].dst, bad[i].size, bad[i].ctl);
		CHECK(wait_irq(3, 5000));
		/* the last good one, and halted */
		CHECK(completion(3) == (RING_AT(3) | IOAT_CHANSTS_HALTED));
		CHECK(reg(3, IOAT_CHANERR, 4) == bad[i].error);
		set_reg(3, IOAT_DMACOUNT, 9, 2); /* does nothing while CHANERR is set */
		CHECK((reg(3, IOAT_CHANSTS, 8) & 7) == IOAT_CHANSTS_HALTED);
		set_reg(3, IOAT_CHANERR, bad[i].error, 4);
		CHECK(reg(3, IOAT_CHANERR, 4) == 0);
	}
	start(3);
	copy(3, SRC, DST, 64, IOAT_DESC_COMPLETION);
	CHECK(wait_status(3, IOAT_CHANSTS_DONE, 5000));
	set_reg(3, IOAT_CHAINADDR_LOW, RING_AT(3), 4);
	bell[3] = 0;
	copy(3, 1ULL << 40, DST, 64, IOAT_DESC_COMPLETION);
	CHECK(wait_irq(3, 5000));
	CHECK(completion(3) == IOAT_CHANSTS_HALTED); /* of this chain nothing is done */
	start(3);
	set_reg(3, IOAT_CHAINADDR_LOW, RING_AT(3) + 8, 4);
	set_reg(3, IOAT_DMACOUNT, 1, 2);
	CHECK(wait_status(3, IOAT_CHANSTS_HALTED, 5000));
	CHECK(reg(3, IOAT_CHANERR, 4) == IOAT_CHANERR_CHAIN_ADDR);
	start(3);
	set_reg(3, IOAT_CHANCMP_HIGH, 0x100, 4);
	copy(3, SRC, DST, 64, TOLD);
	CHECK(wait_status(3, IOAT_CHANSTS_HALTED, 5000));
	CHECK(reg(3, IOAT_CHANERR, 4) == IOAT_CHANERR_COMPLETION_ADDR);
}

static void suspend_and_restart(void)
{
	start(0);
	copy(0, SRC, DST, 64, TOLD);
	CHECK(wait_irq(0, 5000));
	set_reg(0, IOAT_CHANCMD, IOAT_CHANCMD_SUSPEND, 1);
	CHECK((reg(0, IOAT_CHANSTS, 8) & 7) == IOAT_CHANSTS_SUSPENDED);
	set_reg(0, IOAT_CHANCTRL, 0x1d, 2);
	/* the driver's restart: the chain anew, from its tail on */
	set_reg(0, IOAT_CHAINADDR_LOW, RING_AT(0), 4);
	set_reg(0, IOAT_CHAINADDR_HIGH, 0, 4);
	bell[0] = 0;
	copy(0, SRC, DST + 64, 64, TOLD);
	CHECK(wait_irq(0, 5000));
	CHECK(!memcmp(guest + SRC, guest + DST + 64, 64));
	set_reg(0, IOAT_CHANCMD, IOAT_CHANCMD_RESET, 1);
	CHECK(reg(0, IOAT_CHANCMD, 1) == 0 && reg(0, IOAT_CHANSTS, 8) == IOAT_CHANSTS_HALTED);
}

void test_channels(void)
{
	client_start();
	copies();
	doorbell_wraps();
	interrupts_are_kept();
	bus_mastering();
	errors();
	suspend_and_restart();
	client_close();
}

/* One vector for all: the handler goes by INTRCTRL and ATTNSTATUS. */
void test_msi(void)
{
	client_start();
	fill();
	CHECK(region_read(CONFIG, 0x50, 1) == 5);
	start(2);
	copy(2, SRC, DST, 4096, TOLD);
	CHECK(wait_irq(0, 5000));
	CHECK(region_read(BAR, IOAT_INTRCTRL, 1) == 3);
	CHECK(region_read(BAR, IOAT_ATTNSTATUS, 4) == 1u << 2);
	CHECK(region_read(BAR, IOAT_ATTNSTATUS, 4) == 0);
	CHECK(region_write(BAR, IOAT_INTRCTRL, 3, 1) == 0);
	CHECK(region_read(BAR, IOAT_INTRCTRL, 1) == 1);
	client_close();
}
