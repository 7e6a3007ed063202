// SPDX-License-Identifier: GPL-2.0-only
/*
 * What SPDK and DPDK do: a driver of the DMA device in user space, which owns a channel,
 * knows physical addresses, writes descriptors and the doorbell by itself, and looks at
 * the completion in memory until it has changed. No system call, no interrupt, no
 * protection, and a CPU that does nothing else. For a device that no driver is bound to,
 * without an IOMMU. Registers: Intel's I/OAT (CBDMA) 3.2, as the kernel's
 * drivers/dma/ioat/registers.h and hw.h have them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "polled.h"

#define MIB (UINT64_C(1) << 20)

#define CHANNEL 0x80
#define CHANCTRL (CHANNEL + 0x00)
#define CHANCTRL_ERROR_ABORT 0x08
#define CHANCTRL_ERROR_COMPLETION 0x04
#define CHANCMD (CHANNEL + 0x04)
#define CHANCMD_RESET 0x20
#define DMACOUNT (CHANNEL + 0x06)
#define CHAINADDR (CHANNEL + 0x10)
#define CHANCMP (CHANNEL + 0x18)

#define PCI_COMMAND 4
#define PCI_COMMAND_MEMORY_MASTER 0x6

#define CTL_COMPLETION 0x08
#define STATUS_MASK UINT64_C(0x3f)
#define STATUS_HALTED 3

struct descriptor {
	uint32_t size, ctl;
	uint64_t src, dst, next, unused[4];
};

#define RING 64
/* Of the second device: behind what the other measurements copy to */
#define RING_AT (1100 * MIB)
#define DONE_AT (RING_AT + 8192)
#define TIMEOUT_S 10
#define CHECKED 4096

static volatile unsigned char *registers;
static struct descriptor *ring;
static volatile uint64_t *done;
static uint64_t src_physical, dst_physical;

static void die(const char *what)
{
	fprintf(stderr, "bench: polling: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t physical(const char *dax)
{
	char path[100];
	unsigned long long address;
	FILE *file;

	snprintf(path, sizeof(path), "/sys/bus/dax/devices/%s/resource", dax);
	file = fopen(path, "r");
	if (!file || fscanf(file, "%llx", &address) != 1)
		die(path);
	fclose(file);
	return address;
}

static void *map(const char *path, size_t size, off_t offset)
{
	int file = open(path, O_RDWR | O_SYNC);
	void *bytes;

	if (file < 0)
		die(path);
	bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, offset);
	if (bytes == MAP_FAILED)
		die(path);
	close(file);
	return bytes;
}

static void enable(const char *slot)
{
	uint16_t command = PCI_COMMAND_MEMORY_MASTER;
	char path[100];
	int file;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", slot);
	file = open(path, O_RDWR);
	if (file < 0 || pwrite(file, &command, sizeof(command), PCI_COMMAND) != sizeof(command))
		die(path);
	close(file);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource0", slot);
	registers = map(path, 4096, 0);
}

static void write64(unsigned int at, uint64_t value)
{
	*(volatile uint32_t *)(registers + at) = value;
	*(volatile uint32_t *)(registers + at + 4) = value >> 32;
}

/* That it copies, and when it says so. */
static void check(void)
{
	unsigned char *from = map("/dev/dax0.0", 2 * MIB, 0), *to = map("/dev/dax1.0", 2 * MIB, 0);
	size_t i;

	for (i = 0; i < CHECKED; i++)
		from[i] = i * 37;
	memset(to, 0xa5, CHECKED + 1);
	polled_copies(1, 1, CHECKED);
	errno = EIO;
	if (memcmp(from, to, CHECKED) || to[CHECKED] != 0xa5)
		die("what was copied");
	munmap(from, 2 * MIB);
	munmap(to, 2 * MIB);
}

void polled_open(const char *slot)
{
	unsigned char *memory = map("/dev/dax1.0", 2 * MIB, RING_AT);
	uint64_t at;
	int i;

	enable(slot);
	src_physical = physical("dax0.0");
	dst_physical = physical("dax1.0");
	at = dst_physical + RING_AT;
	ring = (struct descriptor *)memory;
	done = (uint64_t *)(memory + (DONE_AT - RING_AT));
	memset(memory, 0, 2 * 8192);
	for (i = 0; i < RING; i++)
		ring[i].next = at + (i + 1) % RING * sizeof(*ring);

	*(registers + CHANCMD) = CHANCMD_RESET;
	while (*(registers + CHANCMD) & CHANCMD_RESET)
		usleep(1000);
	*(volatile uint16_t *)(registers + CHANCTRL) = CHANCTRL_ERROR_ABORT | CHANCTRL_ERROR_COMPLETION;
	write64(CHANCMP, dst_physical + DONE_AT);
	write64(CHAINADDR, at);
	check();
}

/* How many of the ring's are over, counted from where @completed of them were. */
static int newly_done(uint64_t completed, uint64_t submitted)
{
	uint64_t word = *done;
	uint64_t last, count;

	if ((word & STATUS_MASK) == STATUS_HALTED) {
		errno = EIO;
		die("the channel");
	}
	if (completed == submitted || !word)
		return 0;
	/* the number of the last one that is over, after those that were before */
	last = ((word & ~STATUS_MASK) - dst_physical - RING_AT) / sizeof(*ring);
	count = (last + 1 + RING - completed % RING) % RING;
	return count <= submitted - completed ? count : 0;
}

void polled_copies(int depth, int operations, size_t size)
{
	/* the channel goes on where it stopped, round by round */
	static uint64_t submitted, completed;
	uint64_t end = submitted + operations;
	time_t start = time(NULL);

	while (completed < end) {
		uint64_t before = submitted;

		while (submitted < end && submitted - completed < (uint64_t)depth) {
			struct descriptor *next = &ring[submitted % RING];
			uint64_t at = submitted++ % 32 * size;

			next->size = size;
			next->ctl = CTL_COMPLETION;
			next->src = src_physical + at;
			next->dst = dst_physical + at;
		}
		if (submitted != before) {
			__atomic_thread_fence(__ATOMIC_RELEASE);
			*(volatile uint16_t *)(registers + DMACOUNT) = submitted;
		}
		completed += newly_done(completed, submitted);
		if (time(NULL) - start > TIMEOUT_S) {
			errno = ETIMEDOUT;
			die("a copy");
		}
	}
}
