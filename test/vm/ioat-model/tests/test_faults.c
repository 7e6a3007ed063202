// SPDX-License-Identifier: Apache-2.0
/* Each fault does what README.md says, to the copy it says and to no other. */
#include <string.h>

#include "client.h"

#define TOLD (IOAT_DESC_INT | IOAT_DESC_COMPLETION)

static bool ok(const char *line) { return !strcmp(control(line), "ok\n"); }

static void specs(void)
{
	static const char *const bad[] = {
		"", "nonsense", "error", "error=", "error=0", "error=0x100000000", "error=0x101", "error=0x300",
		"hang=1", "hang@0", "hang@", "hang@-1", "hang@1x0", "hang/4.4", "hang/256", "hang ",
		"delay=5", "delay=5m", "delay=2h", "delay=99999999s", "corrupt=", "hang,", "hang,bad", "hang@1@2",
		"lost-irq@99999999999999999999999",
	};
	static const char *const good[] = {
		"error=0x100", "error=0x40@5", "error=8@5x3/0.1", "hang", "hang@7x*", "delay=5us,delay=6ms,delay=1s",
		"lost-irq@3/0", "lost-completion", "corrupt", "corrupt=17@2", "remove@900",
	};
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK(strstr(control(bad[i]), "error: "));
	CHECK(!strstr(control("status"), "hang")); /* all of a line or nothing of it */
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		CHECK(ok(good[i]));
	CHECK(strstr(control("status"), "corrupt=0x11 from copy 2"));
	for (i = 0; i < 40; i++)
		control("hang");
	CHECK(strstr(control("hang"), "error: at most"));
	CHECK(ok("clear"));
	CHECK(!strstr(control("status"), "corrupt"));
}

/* Starts channel 0 and does @count copies; true if all were told of in time. */
static bool run(int count)
{
	int i;

	start(0);
	memset(guest + DST, 0, 4096);
	for (i = 0; i < count; i++) {
		copy(0, SRC + i * 64, DST + i * 64, 64, TOLD);
		if (!wait_irq(0, 300))
			return false;
		set_reg(0, IOAT_CHANCTRL, 0x1d, 2);
	}
	return true;
}

static uint64_t after(int done) { return RING_AT(0) + (done - 1) * 64u; }

static void strike(const char *spec)
{
	CHECK(ok("clear"));
	CHECK(ok(spec));
}

static void each(void)
{
	size_t i;

	for (i = 0; i < 4096; i++)
		guest[SRC + i] = 1 + i % 251;

	strike("error=0x40@3");
	CHECK(run(3)); /* the error interrupts too */
	CHECK(completion(0) == (after(2) | IOAT_CHANSTS_HALTED) && reg(0, IOAT_CHANERR, 4) == 0x40);
	CHECK(guest[DST + 128] == 0);
	CHECK(run(8));

	strike("hang@2");
	CHECK(!run(2));
	CHECK((reg(0, IOAT_CHANSTS, 8) & 7) == IOAT_CHANSTS_ACTIVE);
	set_reg(0, IOAT_CHANCMD, IOAT_CHANCMD_SUSPEND, 1);
	CHECK((reg(0, IOAT_CHANSTS, 8) & 7) == IOAT_CHANSTS_SUSPENDED);
	CHECK(run(4));

	strike("delay=700ms@2");
	CHECK(!run(2));
	CHECK(wait_irq(0, 5000));
	CHECK(completion(0) == (after(2) | IOAT_CHANSTS_DONE));

	strike("lost-irq@2");
	CHECK(!run(2));
	CHECK(completion(0) == (after(2) | IOAT_CHANSTS_DONE));

	strike("lost-completion@2");
	CHECK(run(2));
	CHECK(completion(0) == (after(1) | IOAT_CHANSTS_DONE));
	CHECK(reg(0, IOAT_CHANSTS, 8) == (after(2) | IOAT_CHANSTS_DONE));

	strike("corrupt=5@2x2");
	CHECK(run(4));
	for (i = 0; i < 256; i++)
		CHECK((guest[SRC + i] == guest[DST + i]) == (i != 64 + 5 && i != 128 + 5));

	strike("hang/0.1"); /* another channel's */
	CHECK(run(4));
}

static void removal(void)
{
	strike("remove@2");
	start(0);
	copy(0, SRC, DST, 64, TOLD);
	CHECK(wait_irq(0, 5000));
	copy(0, SRC, DST, 64, TOLD);
	CHECK(!wait_irq(0, 50));
	CHECK(reg(0, IOAT_CHANSTS, 8) == ~0ULL && region_read(CONFIG, 0, 4) == 0xffffffff);
	CHECK(region_write(BAR, IOAT_INTRCTRL, 1, 1) == 0 && region_read(BAR, IOAT_INTRCTRL, 1) == 0xff);
	CHECK(ok("clear"));
	CHECK(region_read(CONFIG, 0, 2) == IOAT_VENDOR && region_read(CONFIG, 4, 2) == 0);
	CHECK(ok("remove"));
	CHECK(reg(0, IOAT_CHANSTS, 8) == ~0ULL);
	CHECK(ok("clear"));
	CHECK(reg(0, IOAT_CHANSTS, 8) == IOAT_CHANSTS_HALTED);
}

void test_faults(void)
{
	client_start();
	specs();
	each();
	removal();
	client_close();
}
