// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>

#include "harness.h"

struct device device_map(const char *path)
{
	struct device device = { .path = path };
	struct stat node;
	char name[128];
	FILE *file;
	int fd;

	DO(stat(path, &node));
	snprintf(name, sizeof(name), "/sys/dev/char/%u:%u/size", major(node.st_rdev),
		 minor(node.st_rdev));
	file = fopen(name, "r");
	if (!file || fscanf(file, "%lu", &device.size) != 1)
		FAIL("cannot read %s", name);
	fclose(file);
	fd = DO(open(path, O_RDWR));
	device.bytes = mmap(NULL, device.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	EXPECT(device.bytes != MAP_FAILED);
	close(fd);
	return device;
}

int dma_open(void)
{
	return DO(open("/dev/ioat-dma", O_RDWR));
}

uint32_t region_of(int dma, const char *path, uint64_t offset, uint64_t length)
{
	struct ioat_dma_region_create create = {
		.size = sizeof(create), .offset = offset, .length = length,
	};

	create.fd = DO(open(path, O_RDWR));
	DO(ioctl(dma, IOAT_DMA_REGION_CREATE, &create));
	close(create.fd);
	return create.out_region;
}

/* With 10 s, as by default, where these are enough. */
struct ioat_dma_submit submission(uint32_t src, uint32_t dst,
				  const struct ioat_dma_segment *segments, uint32_t count)
{
	return (struct ioat_dma_submit){
		.size = sizeof(struct ioat_dma_submit), .tag = 1, .src_region = src,
		.dst_region = dst, .channel = IOAT_DMA_ANY_CHANNEL,
		.segments = (uintptr_t)segments, .segment_count = count,
		.timeout_ms = patience(10000),
	};
}

int submit_one(int dma, uint64_t tag, uint32_t src, uint32_t dst, struct ioat_dma_segment segment)
{
	struct ioat_dma_submit submit = submission(src, dst, &segment, 1);

	submit.tag = tag;
	return ioctl(dma, IOAT_DMA_SUBMIT, &submit);
}

struct ioat_dma_completion next_record(int dma)
{
	struct ioat_dma_completion completion;
	struct pollfd ready = { .fd = dma, .events = POLLIN };

	memset(&completion, POISON, sizeof(completion));
	if (poll(&ready, 1, patience(30000)) != 1)
		FAIL("no completion within 30 s");
	EXPECT_EQ(read(dma, &completion, sizeof(completion)), sizeof(completion));
	EXPECT_EQ(completion.__reserved, 0);
	EXPECT(completion.completed_ns >= completion.submitted_ns);
	return completion;
}

/* The next first one of a request. */
struct ioat_dma_completion next_completion(int dma)
{
	struct ioat_dma_completion completion;

	do
		completion = next_record(dma);
	while (completion.flags & IOAT_DMA_COMPLETION_SETTLED);
	return completion;
}

struct ioat_dma_channel_info channel_info(int dma, uint32_t channel)
{
	struct ioat_dma_channel_info info = { .size = sizeof(info), .channel = channel };

	if (ioctl(dma, IOAT_DMA_CHANNEL_INFO, &info)) {
		EXPECT_EQ(errno, ENOENT);
		info.out_state = UINT32_MAX;
	}
	return info;
}

uint32_t channels_in(int dma, uint32_t state)
{
	uint32_t count = 0, i;

	for (i = 0; i < 64; i++)
		count += channel_info(dma, i).out_state == state;
	return count;
}

/* As the program `fault` does, but in no time: the model's answer ends with "ok". */
void set_fault(const char *spec)
{
	int port = DO(open("/dev/virtio-ports/lab.fault", O_RDWR));
	char answer[64] = "";

	DO(dprintf(port, "%s\n", spec));
	DO(read(port, answer, sizeof(answer) - 1));
	if (strcmp(answer, "ok\n"))
		FAIL("%s: %s", spec, answer);
	close(port);
}

void wait_for_channels(int dma, uint32_t state, uint32_t count, int ms)
{
	uint64_t end = now_ms() + patience(ms);

	while (channels_in(dma, state) != count) {
		if (now_ms() > end)
			FAIL("%u channels in state %u after %d ms, not %u",
			     channels_in(dma, state), state, ms, count);
		usleep(5000);
	}
}

/* Of the I/OAT device, as sysfs names it. */
const char *pci_slot(void)
{
	static char slot[64];
	FILE *list = popen("basename $(readlink -f /sys/class/dma/dma0chan0/device)", "r");

	if (!list || fscanf(list, "%63s", slot) != 1)
		FAIL("no DMA device in sysfs");
	pclose(list);
	return slot;
}

void lab_dma_unload(void)
{
	shell_status("echo lab_dma 2>/dev/null > /sys/bus/platform/drivers/lab_dma/unbind");
	shell("rmmod lab_dma");
}

void lab_dma_load(const char *parameters)
{
	/* what a test that failed has left */
	if (!access("/sys/module/lab_dma", F_OK))
		lab_dma_unload();
	shell("insmod /modules/lab_dma.ko %s", parameters);
}

/* The channel of lab_dma, once it takes work. */
uint32_t lab_dma_channel(int dma)
{
	uint64_t end = now_ms() + patience(10000);
	uint32_t i;

	for (;;) {
		for (i = 0; i < 64; i++) {
			struct ioat_dma_channel_info info = channel_info(dma, i);

			if (info.out_state == IOAT_DMA_CHANNEL_READY &&
			    !strcmp((char *)info.out_driver, "lab_dma"))
				return i;
		}
		if (now_ms() > end)
			FAIL("no channel of lab_dma");
		usleep(5000);
	}
}

/* By a write of its own: a shell takes long to start. */
void lab_dma_set(const char *parameter, int value)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/sys/module/lab_dma/parameters/%s", parameter);
	fd = DO(open(path, O_WRONLY));
	DO(dprintf(fd, "%d", value));
	close(fd);
}

/* What an administrator writes to a file of sysfs. */
void sysfs_write(const char *path, const char *value)
{
	int fd = DO(open(path, O_WRONLY));

	DO(write(fd, value, strlen(value)));
	close(fd);
}

/* The same in another process, and without waiting for it: a shell takes long to start. */
pid_t sysfs_write_beside(const char *path, const char *value)
{
	pid_t pid = DO(fork());

	if (pid == 0) {
		sysfs_write(path, value);
		_exit(0);
	}
	return pid;
}

static int run_shell(const char *format, va_list args)
{
	char command[1024];
	int status;

	vsnprintf(command, sizeof(command), format, args);
	status = system(command);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

int shell_status(const char *format, ...)
{
	va_list args;
	int status;

	va_start(args, format);
	status = run_shell(format, args);
	va_end(args);
	return status;
}

void shell(const char *format, ...)
{
	va_list args;
	int status;

	va_start(args, format);
	status = run_shell(format, args);
	va_end(args);
	if (status)
		FAIL("a command failed with %d (%s)", status, format);
}

/* A user without any capability, who finds every file: the initramfs is root's alone. */
void become_nobody(void)
{
	DO(chmod("/", 0755));
	DO(setgid(65534));
	DO(setuid(65534));
}

/*
 * An emulated IOMMU takes milliseconds to map a page, so that nothing can be said of
 * how long something takes. No shell is asked: it would inherit all files that are open, and a
 * test may rely on the one that it closes being closed.
 */
bool iommu_is_emulated(void)
{
	char line[4096] = "";
	int fd = DO(open("/proc/cmdline", O_RDONLY));

	DO(read(fd, line, sizeof(line) - 1));
	close(fd);
	return strstr(line, "intel_iommu=on");
}

/*
 * The debug kernel's DMA-API check takes two mappings of one cache line for a mistake, as
 * it were on a machine whose caches do not know of DMA. Here it is a caller who copies
 * twice to the same bytes at a time, or to bytes beside each other, and may.
 */
void overlaps_are_meant(bool meant)
{
	if (!access("/sys/kernel/debug/dma-api/driver_filter", F_OK))
		shell("echo %s > /sys/kernel/debug/dma-api/driver_filter", meant ? "none" : "");
}

/* How long to wait for what takes @ms at most in a quick guest. */
int patience(int ms)
{
	static int times;

	/* the debug kernel's checks make everything several times slower, too */
	if (!times)
		times = iommu_is_emulated() || !access("/proc/self/fail-nth", F_OK) ? 10 : 1;
	return ms * times;
}

uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * UINT64_C(1000) + now.tv_nsec / 1000000;
}

/* xorshift: the same numbers for the same start, on every machine. */
uint32_t random32(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state >> 32;
}

/* Bytes that tell by their value where they belong; none is POISON. */
static uint8_t pattern_byte(uint64_t i, uint32_t seed)
{
	uint8_t byte = (i * 131) ^ (i >> 8) ^ (i >> 16) ^ seed * 29;

	return byte == POISON ? 0 : byte;
}

void pattern(uint8_t *at, uint64_t size, uint32_t seed)
{
	uint64_t i;

	for (i = 0; i < size; i++)
		at[i] = pattern_byte(i, seed);
}

bool is_pattern(const uint8_t *at, uint64_t size, uint32_t seed)
{
	uint64_t i;

	for (i = 0; i < size; i++)
		if (at[i] != pattern_byte(i, seed))
			return false;
	return true;
}

bool is_byte(const uint8_t *at, uint64_t size, uint8_t byte)
{
	uint64_t i;

	for (i = 0; i < size; i++)
		if (at[i] != byte)
			return false;
	return true;
}
