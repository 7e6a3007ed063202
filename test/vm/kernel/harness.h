/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A test is a function that runs in a process of its own with a time limit. It has
 * passed if it returns, nothing it expected was untrue, and the kernel said nothing bad
 * meanwhile.
 */
#ifndef HARNESS_H
#define HARNESS_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/ioat_dma.h>

struct test {
	const char *name;
	void (*run)(void);
	int seconds;
	struct test *next;
};

void test_register(struct test *test);

#define TEST_TIMED(_name, _seconds)                                              \
	static void _name(void);                                                 \
	static struct test test_##_name = { #_name, _name, _seconds, NULL };     \
	__attribute__((constructor)) static void register_##_name(void)          \
	{                                                                        \
		test_register(&test_##_name);                                    \
	}                                                                        \
	static void _name(void)

#define TEST(_name) TEST_TIMED(_name, 60)

_Noreturn void test_fail(const char *file, int line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
_Noreturn void test_skip(const char *why);

#define FAIL(...) test_fail(__FILE__, __LINE__, __VA_ARGS__)

#define EXPECT(_what)                                         \
	do {                                                  \
		if (!(_what))                                 \
			FAIL("not so: %s", #_what);           \
	} while (0)

#define EXPECT_EQ(_got, _want)                                                      \
	do {                                                                        \
		long long got_ = (long long)(_got), want_ = (long long)(_want);     \
		if (got_ != want_)                                                  \
			FAIL("%s is %lld, not %lld (%s)", #_got, got_, want_, #_want); \
	} while (0)

/* A system call that succeeds. */
#define DO(_call)                                                           \
	({                                                                  \
		long long ret_ = (long long)(_call);                        \
		if (ret_ < 0)                                               \
			FAIL("%s: %s", #_call, strerror(errno));            \
		ret_;                                                       \
	})

/* One that fails in this very way. */
#define EXPECT_ERRNO(_errno, _call)                                                  \
	do {                                                                         \
		long long ret_ = (long long)(_call);                                 \
		int errno_ = errno;                                                  \
		if (ret_ != -1 || errno_ != (_errno))                                \
			FAIL("%s: %lld, %s; not %s", #_call, ret_,                   \
			     ret_ < 0 ? strerror(errno_) : "no error", strerror(_errno)); \
	} while (0)

/* An ioctl that fails so, and leaves its struct as it was. */
#define EXPECT_IOCTL_ERRNO(_errno, _fd, _command, _arg)                      \
	do {                                                                 \
		uint8_t before_[sizeof(*(_arg))];                            \
                                                                             \
		memcpy(before_, _arg, sizeof(before_));                      \
		EXPECT_ERRNO(_errno, ioctl(_fd, _command, _arg));            \
		if (memcmp(before_, _arg, sizeof(before_)))                 \
			FAIL("%s failed, but wrote to its argument", #_command); \
	} while (0)

#define POISON 0x5c

/* guest.c: what the tests do to the machine */
struct device {
	const char *path;
	uint64_t size;
	uint8_t *bytes;
};

#define DAX0 "/dev/dax0.0"
#define DAX1 "/dev/dax1.0"
#define MIB (UINT64_C(1) << 20)

/* As in-guest does it. */
#define INSMOD "insmod /modules/ioat-dma.ko drivers=ioatdma,lab_dma"

struct device device_map(const char *path);
int dma_open(void);
uint32_t region_of(int dma, const char *path, uint64_t offset, uint64_t length);
struct ioat_dma_submit submission(uint32_t src, uint32_t dst,
				  const struct ioat_dma_segment *segments, uint32_t count);
int submit_one(int dma, uint64_t tag, uint32_t src, uint32_t dst, struct ioat_dma_segment segment);
struct ioat_dma_completion next_record(int dma);
struct ioat_dma_completion next_completion(int dma);
struct ioat_dma_channel_info channel_info(int dma, uint32_t channel);
uint32_t channels_in(int dma, uint32_t state);
void set_fault(const char *spec);
const char *pci_slot(void);
void wait_for_channels(int dma, uint32_t state, uint32_t count, int ms);
void lab_dma_load(const char *parameters);
uint32_t lab_dma_channel(int dma);
void lab_dma_set(const char *parameter, int value);
void lab_dma_unload(void);
void sysfs_write(const char *path, const char *value);
pid_t sysfs_write_beside(const char *path, const char *value);
void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
int shell_status(const char *format, ...) __attribute__((format(printf, 1, 2)));
void become_nobody(void);
bool iommu_is_emulated(void);
int patience(int ms);
void overlaps_are_meant(bool meant);
uint64_t now_ms(void);
void pattern(uint8_t *at, uint64_t size, uint32_t seed);
bool is_pattern(const uint8_t *at, uint64_t size, uint32_t seed);
bool is_byte(const uint8_t *at, uint64_t size, uint8_t byte);
uint32_t random32(uint64_t *state);

#endif
