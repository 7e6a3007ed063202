/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small test harness after the kernel's kselftest_harness.h: each test runs
 * in its own process with a time limit, so that a crash or a hang fails
 * that test and no other. Output is TAP with a summary as its last line.
 */
#ifndef HARNESS_H
#define HARNESS_H

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct test {
	const char *name;
	void (*run)(void);
	struct test *next;
};

void test_register(struct test *test);
_Noreturn void test_fail(const char *file, int line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
_Noreturn void test_skip(const char *format, ...)
	__attribute__((format(printf, 1, 2)));

#define TEST(name_)							\
	static void name_(void);					\
	__attribute__((constructor)) static void name_##_register(void)	\
	{								\
		static struct test test = { .name = #name_, .run = name_ }; \
		test_register(&test);					\
	}								\
	static void name_(void)

#define FAIL(...) test_fail(__FILE__, __LINE__, __VA_ARGS__)
#define SKIP(...) test_skip(__VA_ARGS__)

#define CHECK(condition)						\
	do {								\
		if (!(condition))					\
			FAIL("not so: %s", #condition);			\
	} while (0)

#define CHECK_EQ(expression, expected)					\
	do {								\
		int64_t got_ = (int64_t)(expression);			\
		int64_t want_ = (int64_t)(expected);			\
		if (got_ != want_)					\
			FAIL("%s is %" PRId64 " (0x%" PRIx64 "), not %"	\
			     PRId64 " (0x%" PRIx64 ")", #expression,	\
			     got_, (uint64_t)got_, want_, (uint64_t)want_); \
	} while (0)

/* A system call that the test itself needs */
#define SYS(expression)							\
	({								\
		__typeof__(expression) result_ = (expression);		\
		if (result_ == (__typeof__(expression))-1)		\
			FAIL("%s: %s", #expression, strerror(errno));	\
		result_;						\
	})

#if defined(__SANITIZE_THREAD__)
#define SLOWNESS 8u
#elif defined(__SANITIZE_ADDRESS__)
#define SLOWNESS 3u
#else
#define SLOWNESS 1u
#endif

/*
 * How often a random test repeats: `deep` times, a part of that if TEST_DEPTH
 * is "quick", and fewer under a sanitizer. Never zero.
 */
unsigned int rounds(unsigned int deep);

/* Directories of this test's own, removed after it. */
const char *scratch(void);              /* in memory where there is such a place */
const char *scratch_on_disk(void);      /* skips the test where there is none */

uint64_t random_u64(void);
uint64_t random_below(uint64_t limit);
void random_fill(void *bytes, size_t size);

#endif /* HARNESS_H */
