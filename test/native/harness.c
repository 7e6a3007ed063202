// SPDX-License-Identifier: Apache-2.0
/* Runs the tests; see harness.h. Usage: test_shim [part of a name]... */
#include "harness.h"

#include <fcntl.h>
#include <ftw.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define EXIT_SKIP 77
#ifndef LIMIT_SECONDS
#define LIMIT_SECONDS (30 * SLOWNESS)
#endif

/* What a test's process leaves behind for the one that waits for it */
struct report {
	char message[1024];
	char scratch[2][256];
};

static struct test *first;
static struct test **last = &first;
static struct report *report;
static uint64_t random_state;
/* As runs() in test/support/depth.ts does for the tests in TypeScript */
static const unsigned int quick_divisor = 4;
static unsigned int rounds_divisor = SLOWNESS;

void test_register(struct test *test)
{
	*last = test;
	last = &test->next;
}

void test_fail(const char *file, int line, const char *format, ...)
{
	const char *base = strrchr(file, '/');
	va_list arguments;
	int length;

	length = snprintf(report->message, sizeof(report->message), "%s:%d: ",
			  base ? base + 1 : file, line);
	va_start(arguments, format);
	vsnprintf(report->message + length, sizeof(report->message) - (size_t)length,
		  format, arguments);
	va_end(arguments);
	_exit(1);
}

void test_skip(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(report->message, sizeof(report->message), format, arguments);
	va_end(arguments);
	_exit(EXIT_SKIP);
}

unsigned int rounds(unsigned int deep)
{
	return deep < rounds_divisor ? 1 : deep / rounds_divisor;
}

/* xorshift64*: Vigna 2016 */
uint64_t random_u64(void)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return random_state * UINT64_C(0x2545f4914f6cdd1d);
}

uint64_t random_below(uint64_t limit)
{
	return random_u64() % limit;
}

void random_fill(void *bytes, size_t size)
{
	unsigned char *next = bytes;

	for (; size >= 8; size -= 8, next += 8) {
		uint64_t word = random_u64();

		memcpy(next, &word, 8);
	}
	for (; size; size--)
		*next++ = (unsigned char)random_u64();
}

static bool in_memory(const char *path)
{
	struct statfs filesystem;

	return statfs(path, &filesystem) == 0 &&
	       (filesystem.f_type == TMPFS_MAGIC || filesystem.f_type == RAMFS_MAGIC);
}

static const char *make_scratch(char *path, const char *parent)
{
	snprintf(path, sizeof(report->scratch[0]), "%s/dma-shim-test-XXXXXX", parent);
	if (!mkdtemp(path)) {
		path[0] = '\0';
		FAIL("mkdtemp in %s: %s", parent, strerror(errno));
	}
	return path;
}

const char *scratch(void)
{
	const char *parent = getenv("TMPDIR");

	if (report->scratch[0][0])
		return report->scratch[0];
	if (access("/dev/shm", W_OK) == 0)
		parent = "/dev/shm";
	return make_scratch(report->scratch[0], parent ? parent : "/tmp");
}

const char *scratch_on_disk(void)
{
	const char *const parents[] = { getenv("TMPDIR"), "/var/tmp", "/tmp", "." };

	if (report->scratch[1][0])
		return report->scratch[1];
	for (size_t n = 0; n < sizeof(parents) / sizeof(*parents); n++) {
		if (parents[n] && access(parents[n], W_OK) == 0 && !in_memory(parents[n]))
			return make_scratch(report->scratch[1], parents[n]);
	}
	SKIP("no directory to write to that is not in memory");
}

static int remove_entry(const char *path, const struct stat *stat, int type,
			struct FTW *where)
{
	(void)stat;
	(void)type;
	(void)where;
	return remove(path);
}

static void remove_scratch(void)
{
	for (unsigned int n = 0; n < 2; n++) {
		if (report->scratch[n][0])
			nftw(report->scratch[n], remove_entry, 16,
			     FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	}
}

/* Wait for the test's process; false if it took too long. */
static bool wait_for(pid_t child, int *status)
{
	int descriptor = (int)syscall(SYS_pidfd_open, child, 0);
	struct pollfd ended = { .fd = descriptor, .events = POLLIN };
	bool in_time = true;

	/* Without pidfd_open(2), Linux 5.3, there is no time limit here. */
	if (descriptor >= 0) {
		in_time = poll(&ended, 1, (int)LIMIT_SECONDS * 1000) > 0;
		close(descriptor);
	}
	/* The test leads its own process group, with all processes that it has started. */
	if (!in_time)
		kill(-child, SIGKILL);
	while (waitpid(child, status, 0) < 0 && errno == EINTR)
		;
	kill(-child, SIGKILL);
	return in_time;
}

static int run(const struct test *test, unsigned int number)
{
	struct timespec began, ended;
	bool in_time;
	int status;
	pid_t child;

	memset(report, 0, sizeof(*report));
	clock_gettime(CLOCK_MONOTONIC, &began);
	fflush(NULL);
	child = fork();
	if (child < 0) {
		perror("fork");
		exit(1);
	}
	if (child == 0) {
		setpgid(0, 0);
		test->run();
		/* exit(), not _exit(): the leak checker runs at exit. */
		exit(0);
	}
	setpgid(child, child);
	in_time = wait_for(child, &status);
	clock_gettime(CLOCK_MONOTONIC, &ended);
	remove_scratch();

	int64_t ms = (ended.tv_sec - began.tv_sec) * 1000 +
		     (ended.tv_nsec - began.tv_nsec) / 1000000;

	if (in_time && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		printf("ok %u - %s (%" PRId64 " ms)\n", number, test->name, ms);
		return 0;
	}
	if (in_time && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SKIP) {
		printf("ok %u - %s # SKIP %s\n", number, test->name, report->message);
		return EXIT_SKIP;
	}
	printf("not ok %u - %s (%" PRId64 " ms)\n", number, test->name, ms);
	if (!in_time)
		printf("# not over after %u s\n", LIMIT_SECONDS);
	else if (WIFSIGNALED(status))
		printf("# died of signal %d\n", WTERMSIG(status));
	else
		printf("# exit status %d\n", WEXITSTATUS(status));
	if (report->message[0])
		printf("# %s\n", report->message);
	return 1;
}

static bool is_wanted(const struct test *test, int argc, char **argv)
{
	for (int n = 1; n < argc; n++) {
		if (strstr(test->name, argv[n]))
			return true;
	}
	return argc == 1;
}

int main(int argc, char **argv)
{
	const char *seed_text = getenv("TEST_SEED");
	const char *depth = getenv("TEST_DEPTH");
	uint64_t seed = seed_text ? strtoull(seed_text, NULL, 0) : (uint64_t)time(NULL);
	unsigned int passed = 0, failed = 0, skipped = 0, number = 0;

	report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (report == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	if (!depth || strcmp(depth, "quick") == 0)
		rounds_divisor *= quick_divisor;
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("# TEST_SEED=%" PRIu64 "\n", seed);
	for (const struct test *test = first; test; test = test->next) {
		if (!is_wanted(test, argc, argv))
			continue;
		/* Never zero, and the same for a test whatever runs before it */
		random_state = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15) | 1;
		switch (run(test, ++number)) {
		case 0:
			passed++;
			break;
		case EXIT_SKIP:
			skipped++;
			break;
		default:
			failed++;
		}
	}
	printf("1..%u\n", number);
	printf("%u passed, %u failed, %u skipped\n", passed, failed, skipped);
	if (failed)
		return 1;
	return passed ? 0 : EXIT_SKIP;
}
