// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where a device's bytes are, whatever its alignment and its caller's limits; and that
 * finding out leaves no trace in the log or in other processes.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "harness.h"

/* Makes /dev/dax1.0 anew, with the alignment @alignment. */
static void align(const char *alignment)
{
	shell("ndctl create-namespace -f -e namespace1.0 -m devdax -a %s >/dev/null 2>&1", alignment);
}

static void copy_and_compare(int dma, struct device *from, struct device *to, uint64_t src_offset,
			     uint64_t dst_offset, uint64_t length)
{
	uint32_t src = region_of(dma, from->path, src_offset, length);
	uint32_t dst = region_of(dma, to->path, dst_offset, length);
	struct ioat_dma_region_destroy destroy = { .size = sizeof(destroy), .region = src };

	pattern(from->bytes + src_offset, length, src_offset + length);
	memset(to->bytes + dst_offset, POISON, length);
	DO(submit_one(dma, 1, src, dst, (struct ioat_dma_segment){ 0, 0, length }));
	EXPECT_EQ(next_completion(dma).status, IOAT_DMA_DONE);
	EXPECT(is_pattern(to->bytes + dst_offset, length, src_offset + length));
	DO(ioctl(dma, IOAT_DMA_REGION_DESTROY, &destroy));
	destroy.region = dst;
	DO(ioctl(dma, IOAT_DMA_REGION_DESTROY, &destroy));
}

/* Both ways, about pages, about the boundaries of 2 MiB, and the device's last byte. */
static void copies_are_right(void)
{
	struct device other = device_map(DAX0), dax = device_map(DAX1);
	int dma = dma_open();
	const uint64_t offsets[] = { 0, 4096, 4097, 2 * MIB - 5000, 2 * MIB, 7 * MIB + 12345 };
	size_t i;

	for (i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		copy_and_compare(dma, &other, &dax, 3 * MIB, offsets[i], 5 * MIB + 77);
		copy_and_compare(dma, &dax, &other, offsets[i], 3 * MIB, 4096);
	}
	copy_and_compare(dma, &dax, &other, dax.size - 3 * MIB - 1, MIB, 3 * MIB + 1);
	copy_and_compare(dma, &other, &dax, 0, dax.size - 1, 1);
	munmap(dax.bytes, dax.size);
	munmap(other.bytes, other.size);
	close(dma);
}

static int try_region(int dma, uint64_t offset, uint64_t length)
{
	struct ioat_dma_region_create create = {
		.size = sizeof(create), .offset = offset, .length = length,
		.fd = DO(open(DAX1, O_RDWR)),
	};
	int ret = ioctl(dma, IOAT_DMA_REGION_CREATE, &create), error = errno;

	close(create.fd);
	errno = error;
	return ret;
}

static void bounds_are_kept(void)
{
	struct device dax = device_map(DAX1);
	int dma = dma_open();

	EXPECT_ERRNO(ERANGE, try_region(dma, 0, dax.size + 1));
	EXPECT_ERRNO(ERANGE, try_region(dma, dax.size, 1));
	EXPECT_ERRNO(ERANGE, try_region(dma, dax.size - 1, 2));
	EXPECT_ERRNO(ERANGE, try_region(dma, UINT64_C(1) << 40, 1));
	DO(try_region(dma, 0, dax.size));
	munmap(dax.bytes, dax.size);
	close(dma);
}

TEST(alignment_of_2_mib)
{
	copies_are_right();
	bounds_are_kept();
}

static bool has_the_device_mapped(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512];
	bool mapped = false;

	while (maps && fgets(line, sizeof(line), maps))
		mapped |= strstr(line, DAX1) != NULL;
	fclose(maps);
	return mapped;
}

/* Whether any process that a thread of this one forked has a part of the device mapped. */
static void *fork_and_look(void *arg)
{
	atomic_bool *stop = arg;
	int status, forks = 0, mapped = 0;

	while (!*stop) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(has_the_device_mapped());
		DO(waitpid(pid, &status, 0));
		forks++;
		mapped += status != 0;
	}
	printf("    %d forks, %d of them with a mapping\n", forks, mapped);
	/* one may come between the mapping and its mark */
	EXPECT(forks && mapped * 10 <= forks);
	return NULL;
}

static void forks_inherit_nothing(void)
{
	int dma = dma_open(), i;
	atomic_bool stop = false;
	struct device dax = device_map(DAX1);
	pthread_t thread;

	munmap(dax.bytes, dax.size);
	EXPECT(!pthread_create(&thread, NULL, fork_and_look, &stop));
	for (i = 0; i < 3; i++)
		DO(try_region(dma, 0, dax.size));
	stop = true;
	pthread_join(thread, NULL);
	close(dma);
}

struct looker {
	pthread_t thread;
	int dma;
	atomic_bool stop;
	atomic_int calls;
};

static void says_gone(const char *interface, int error)
{
	if (error != ENXIO && error != ENODEV)
		FAIL("%s: %s", interface, strerror(error));
}

static void *look_again_and_again(void *arg)
{
	struct looker *self = arg;
	struct ioat_dma_legacy_copy copy = {
		.device_name = DAX1, .dst_offset = 120 * MIB, .size = 100 * MIB,
	};

	while (!self->stop) {
		struct ioat_dma_region_create create = {
			.size = sizeof(create), .length = 240 * MIB, .fd = open(DAX1, O_RDWR),
		};

		if (create.fd >= 0 && ioctl(self->dma, IOAT_DMA_REGION_CREATE, &create))
			says_gone("a region", errno);
		close(create.fd);
		/* the path is not there either once the device is gone */
		if (ioctl(self->dma, IOAT_DMA_LEGACY_COPY, &copy) && errno != ENOENT)
			says_gone("a copy", errno);
		self->calls++;
	}
	return NULL;
}

/* To look at each of its pages takes a while, in the middle of which the device goes. */
static void going_is_gone(void)
{
	struct looker looker = { .dma = dma_open() };
	int i, calls;

	EXPECT(!pthread_create(&looker.thread, NULL, look_again_and_again, &looker));
	for (i = 0; i < 6; i++) {
		calls = looker.calls;
		while (looker.calls == calls)
			usleep(10000 + 7000 * i);
		shell("ndctl disable-namespace namespace1.0 2>/dev/null");
		shell("ndctl enable-namespace namespace1.0 2>/dev/null");
	}
	looker.stop = true;
	pthread_join(looker.thread, NULL);
	close(looker.dma);
}

TEST_TIMED(alignment_of_4_kib, 240)
{
	pid_t pid;
	int status;

	align("4k");
	copies_are_right();
	bounds_are_kept();
	going_is_gone();
	/* with no mapping of the device but the module's own */
	pid = fork();
	if (pid == 0) {
		forks_inherit_nothing();
		_exit(0);
	}
	DO(waitpid(pid, &status, 0));
	align("2M");
	EXPECT_EQ(status, 0);
	copies_are_right();
}

/* Every line that the kernel prints from now on. */
static int log_open(void)
{
	int kmsg = DO(open("/dev/kmsg", O_RDONLY | O_NONBLOCK));

	DO(lseek(kmsg, 0, SEEK_END));
	return kmsg;
}

static void log_is_quiet(int kmsg)
{
	char line[8192];
	ssize_t got;
	int lines = 0;

	while ((got = read(kmsg, line, sizeof(line) - 1)) > 0 || (got < 0 && errno == EPIPE)) {
		if (got < 0)
			continue;
		line[got] = '\0';
		if (strstr(line, "dax") || strstr(line, "ioat")) {
			printf("    %s", line);
			lines++;
		}
	}
	EXPECT_EQ(lines, 0);
}

/* Takes devices of more than 2 GiB: kernel/test --size 3GiB. */
TEST_TIMED(alignment_of_1_gib, 150)
{
	int kmsg, status;

	status = shell_status("ndctl create-namespace -f -e namespace1.0 -m devdax -a 1G >/dev/null 2>&1");
	if (status || access(DAX1, F_OK)) {
		align("2M");
		test_skip("the device is too small for it");
	}
	kmsg = log_open();
	copies_are_right();
	bounds_are_kept();
	log_is_quiet(kmsg);
	align("2M");
}

TEST_TIMED(alignment_leaves_the_log_quiet, 120)
{
	struct ioat_dma_legacy_copy copy = {
		.device_name = DAX0, .dst_offset = 32 * MIB, .size = 4096,
	};
	int kmsg = log_open(), dma = dma_open(), i;

	for (i = 0; i < 100; i++)
		region_of(dma, i % 2 ? DAX0 : DAX1, i * MIB, MIB + i);
	for (i = 0; i < 1000; i++)
		DO(ioctl(dma, IOAT_DMA_LEGACY_COPY, &copy));
	log_is_quiet(kmsg);
}

/* The path of the device-dax device that has @file in sysfs. */
static char *dax_with(const char *file)
{
	FILE *list;
	char *path = malloc(64), pattern[128];

	snprintf(pattern, sizeof(pattern), "ls -d /sys/bus/dax/devices/dax0.*/%s | cut -d/ -f6", file);
	list = popen(pattern, "r");
	strcpy(path, "/dev/");
	if (!list || fscanf(list, "%58s", path + 5) != 1)
		FAIL("no device has %s", file);
	pclose(list);
	return path;
}

/*
 * Memory that the firmware calls special purpose can be divided and put together again:
 * kernel/test --devices 0 --append 'memmap=512M%0x40000000-1+0xefffffff'. What lies between
 * two parts of a device is another one's.
 */
TEST(alignment_of_fragments)
{
	struct device small, large, between;
	const uint64_t hole = 32 * MIB;
	int dma = dma_open();

	if (shell_status("modprobe dax_hmem && ls -d /sys/bus/platform/devices/hmem.* >/dev/null 2>&1"))
		test_skip("no special-purpose memory");
	shell("modprobe device_dax && daxctl disable-device -r 0 all 2>/dev/null &&"
	      "daxctl destroy-device -r 0 all 2>/dev/null");
	shell("for size in 64M 32M 48M; do daxctl create-device -r 0 -s $size; done >/dev/null 2>&1");
	shell("cd /sys/bus/dax/devices && for each in dax0.*; do [ $(cat $each/size) != %d ] ||"
	      "{ daxctl disable-device $each; daxctl destroy-device $each; }; done >/dev/null 2>&1",
	      (int)hole);
	shell("cd /sys/bus/dax/devices && for each in dax0.*; do case $(cat $each/size) in"
	      " 67108864) ln -s /dev/$each /tmp/small;; 50331648) ln -s /dev/$each /tmp/between;;"
	      " esac; done");
	shell("daxctl create-device -r 0 -s 300M >/dev/null 2>&1");
	small = device_map("/tmp/small");
	between = device_map("/tmp/between");
	large = device_map(dax_with("mapping1"));
	EXPECT_EQ(large.size, 300 * MIB);
	memset(between.bytes, POISON, between.size);

	copy_and_compare(dma, &small, &large, 0, 0, 40 * MIB);
	copy_and_compare(dma, &large, &small, hole - 5, 7, 10);
	copy_and_compare(dma, &large, &small, hole, MIB, 4 * MIB + 1);
	copy_and_compare(dma, &small, &large, 4097, hole - 4096, 8192);
	copy_and_compare(dma, &large, &small, large.size - 3 * MIB, 0, 3 * MIB);
	EXPECT(is_byte(between.bytes, between.size, POISON));
}

static void limit(int what, rlim_t most)
{
	struct rlimit both = { most, most };

	DO(setrlimit(what, &both));
}

static int legacy_copy(int dma)
{
	struct ioat_dma_legacy_copy copy = {
		.device_name = DAX1, .dst_offset = 32 * MIB, .size = 4096,
	};

	return ioctl(dma, IOAT_DMA_LEGACY_COPY, &copy);
}

/* Each in a process of its own: limits cannot be raised again. */
static void in_child(void (*test)(int dma))
{
	int dma = dma_open(), status;
	pid_t pid;

	DO(chmod(DAX1, 0666));
	pid = fork();
	if (pid == 0) {
		test(dma);
		_exit(0);
	}
	DO(waitpid(pid, &status, 0));
	DO(chmod(DAX1, 0600));
	EXPECT_EQ(status, 0);
	close(dma);
}

/* As much as a window of 2 MiB takes is enough. */
static void little_address_space(int dma)
{
	limit(RLIMIT_AS, 200 * MIB);
	DO(try_region(dma, 0, 64 * MIB));
	DO(legacy_copy(dma));
}

/* ENOMEM, as mmap(2) has it; not EAGAIN, which says that trying again may help. */
static void no_address_space(int dma)
{
	limit(RLIMIT_AS, 4096);
	EXPECT_ERRNO(ENOMEM, try_region(dma, 0, 64 * MIB));
	EXPECT_ERRNO(ENOMEM, legacy_copy(dma));
}

static void no_memory_to_lock(int dma)
{
	limit(RLIMIT_MEMLOCK, 16 * MIB);
	become_nobody();
	DO(mlockall(MCL_FUTURE));
	limit(RLIMIT_MEMLOCK, 4096);
	EXPECT_ERRNO(ENOMEM, try_region(dma, 0, 64 * MIB));
	EXPECT_ERRNO(ENOMEM, legacy_copy(dma));
}

static void little_memory_to_lock(int dma)
{
	limit(RLIMIT_MEMLOCK, 16 * MIB);
	become_nobody();
	DO(mlockall(MCL_FUTURE));
	DO(try_region(dma, 0, 64 * MIB));
	DO(legacy_copy(dma));
}

static void all_memory_locked(int dma)
{
	DO(mlockall(MCL_CURRENT | MCL_FUTURE));
	DO(try_region(dma, 0, 64 * MIB));
	DO(legacy_copy(dma));
}

TEST(alignment_within_limits)
{
	in_child(little_address_space);
	in_child(no_address_space);
	in_child(no_memory_to_lock);
	in_child(little_memory_to_lock);
	in_child(all_memory_locked);
}

/* The device becomes the system's memory and comes back, while regions of it are there. */
TEST_TIMED(alignment_of_a_device_that_was_memory, 150)
{
	static const char online[] = "/sys/devices/system/memory/auto_online_blocks";
	int dma = dma_open(), kept, status;
	uint32_t src = region_of(dma, DAX0, 0, MIB), old = region_of(dma, DAX1, 0, MIB);

	shell("echo offline > %s", online);
	if (shell_status("daxctl reconfigure-device -N -m system-ram dax1.0 >/dev/null 2>&1")) {
		/* daxctl unbinds the device before it finds that there is no driver for memory */
		if (access("/sys/bus/dax/drivers/device_dax/dax1.0", F_OK))
			sysfs_write("/sys/bus/dax/drivers/device_dax/bind", "dax1.0");
		test_skip("the device cannot be the system's memory");
	}
	EXPECT_ERRNO(ENXIO, submit_one(dma, 1, src, old, (struct ioat_dma_segment){ 0, 0, 4096 }));
	EXPECT_ERRNO(ENXIO, submit_one(dma, 1, old, src, (struct ioat_dma_segment){ 0, 0, 4096 }));
	status = shell_status("daxctl reconfigure-device -f -m devdax dax1.0 >/dev/null 2>&1");
	EXPECT_EQ(status, 0);
	EXPECT_ERRNO(ENXIO, submit_one(dma, 1, src, old, (struct ioat_dma_segment){ 0, 0, 4096 }));
	kept = dma_open();
	copies_are_right();
	close(dma); /* the old region with it */
	copies_are_right();
	EXPECT(region_of(kept, DAX1, 0, MIB) == 0);
	/* once more: nothing was left behind the first time */
	shell("daxctl reconfigure-device -N -m system-ram dax1.0 >/dev/null 2>&1");
	shell("daxctl reconfigure-device -f -m devdax dax1.0 >/dev/null 2>&1");
	close(kept);
	copies_are_right();
}
