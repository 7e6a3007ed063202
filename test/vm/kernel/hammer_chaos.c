// SPDX-License-Identifier: GPL-2.0-only
/*
 * What happens to the machine: faults, and devices and drivers that go and come back. No process
 * is started: it would have the workers' files open for a while, so that closing one is not the
 * end of it.
 */
#include <fcntl.h>
#include <sys/syscall.h>

#include "hammer.h"

static uint64_t state;

static uint32_t below(uint32_t limit)
{
	return random32(&state) % limit;
}

static void fault(void)
{
	static const char *const kinds[] = {
		"error=0x100", "error=0x200", "error=0x100", "error=0x200", "delay=3ms", "delay=30ms",
		"delay=350ms", "lost-irq", "lost-completion", "error=0x1", "hang",
	};
	static int set;
	char spec[64];

	/* what was not met yet would pile up, and the hardware takes 32 */
	if (set++ % 8 == 7)
		set_fault("clear");
	snprintf(spec, sizeof(spec), "%s@%ux%u", kinds[below(sizeof(kinds) / sizeof(kinds[0]))],
		 1 + below(500), 1 + below(3));
	set_fault(spec);
}

/*
 * What `ndctl disable-namespace` does, and then enable-namespace. Files of it that are open
 * stay without a device.
 */
static void cycle_memory(void)
{
	int fd;

	pthread_rwlock_wrlock(&hammer.node);
	sysfs_write("/sys/bus/nd/drivers/dax_pmem/unbind", "dax0.0");
	pthread_rwlock_unlock(&hammer.node);
	usleep(below(300000));
	sysfs_write("/sys/bus/nd/drivers/dax_pmem/bind", "dax0.0");
	while ((fd = open(DAX0, O_RDWR)) < 0)
		usleep(1000);
	DO(dup2(fd, hammer.dax[0]));
	close(fd);
}

static void cycle_channels(void)
{
	sysfs_write("/sys/bus/pci/drivers/ioatdma/unbind", hammer.pci_slot);
	usleep(below(300000));
	/* the driver makes a copy of its own first, and does not bind if that fails */
	set_fault("clear");
	sysfs_write("/sys/bus/pci/drivers/ioatdma/bind", hammer.pci_slot);
}

/* A second provider comes, or goes. */
static void toggle_provider(bool *loaded)
{
	if (*loaded) {
		sysfs_write("/sys/bus/platform/drivers/lab_dma/unbind", "lab_dma");
		/* someone may still be reading what it is called */
		while (syscall(SYS_delete_module, "lab_dma", O_NONBLOCK))
			EXPECT(errno == EAGAIN || errno == EWOULDBLOCK);
	} else {
		int fd = DO(open("/modules/lab_dma.ko", O_RDONLY));

		DO(syscall(SYS_finit_module, fd, below(2) ? "room=4" : "room=64", 0));
		close(fd);
	}
	*loaded = !*loaded;
}

void *chaos(void *seed)
{
	bool loaded = false;

	state = *(const uint64_t *)seed;
	for (; !hammer.stop; hammer.events++) {
		switch (below(32)) {
		/* ioatdma allocates 65536 descriptors, which the debug kernel takes a minute for */
		case 0: cycle_channels(); break;
		case 1 ... 4: cycle_memory(); break;
		case 5 ... 8: toggle_provider(&loaded); break;
		default: fault();
		}
		usleep(100000 + below(patience(400) * 1000));
	}
	set_fault("clear");
	if (loaded)
		toggle_provider(&loaded);
	return NULL;
}
