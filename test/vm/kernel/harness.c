// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <poll.h>
#include <regex.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <time.h>

#include "harness.h"

enum { PASSED = 0, FAILED = 1, SKIPPED = 77 };

static struct test *tests, **last = &tests;

void test_register(struct test *test)
{
	*last = test;
	last = &test->next;
}

_Noreturn void test_fail(const char *file, int line, const char *format, ...)
{
	const char *base = strrchr(file, '/');
	va_list args;

	printf("    %s:%d: ", base ? base + 1 : file, line);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
	_exit(FAILED);
}

_Noreturn void test_skip(const char *why)
{
	printf("    %s\n", why);
	fflush(stdout);
	_exit(SKIPPED);
}

/* What `run` takes for trouble, and what of it is meant (test/vm/lib/verdict.sh). */
static regex_t trouble, allowed;

static bool compile(regex_t *regex, const char *variable, const char *otherwise)
{
	const char *pattern = getenv(variable);

	return !regcomp(regex, pattern && *pattern ? pattern : otherwise, REG_EXTENDED | REG_NOSUB);
}

/* Every line that the kernel printed since the last call; false if one is bad. */
static bool kernel_is_well(int kmsg)
{
	char line[8192];
	bool well = true;
	ssize_t got;

	for (;;) {
		got = read(kmsg, line, sizeof(line) - 1);
		if (got < 0 && errno == EPIPE)
			continue; /* overwritten in the meantime: go on with the oldest */
		if (got <= 0)
			return well;
		line[got] = '\0';
		if (!regexec(&trouble, line, 0, NULL, 0) && regexec(&allowed, line, 0, NULL, 0)) {
			printf("    kernel: %s", line);
			well = false;
		}
	}
}

/*
 * A status as of waitpid(); a test that hangs is killed, with all that it started. With 0
 * seconds only the guest's own time limit ends it.
 */
static int wait_or_kill(pid_t pid, int seconds)
{
	time_t end = time(NULL) + seconds;
	int status;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (seconds && time(NULL) >= end) {
			printf("    not over after %d s\n", seconds);
			kill(-pid, SIGKILL);
			waitpid(pid, &status, 0);
			return FAILED << 8;
		}
		usleep(2000);
	}
	kill(-pid, SIGKILL);
	return status;
}

static int run(const struct test *test, int kmsg)
{
	pid_t pid;
	int status;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		setpgid(0, 0);
		test->run();
		fflush(stdout);
		_exit(PASSED);
	}
	setpgid(pid, pid);
	status = wait_or_kill(pid, patience(test->seconds));
	if (!kernel_is_well(kmsg))
		return FAILED;
	if (WIFSIGNALED(status)) {
		printf("    killed by signal %d\n", WTERMSIG(status));
		return FAILED;
	}
	return WEXITSTATUS(status);
}

static bool selected(const struct test *test, int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++)
		if (!strncmp(test->name, argv[i], strlen(argv[i])))
			return true;
	return argc == 1;
}

/* Names of tests, or how they begin; all tests if there are none. */
int main(int argc, char **argv)
{
	int kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK), passed = 0, failed = 0, skipped = 0;
	const struct test *test;

	if (kmsg < 0 || !getenv("LAB_TROUBLE") || !compile(&trouble, "LAB_TROUBLE", "") ||
	    !compile(&allowed, "LAB_ALLOW", "^$"))
		return 2;
	lseek(kmsg, 0, SEEK_END);
	for (test = tests; test; test = test->next) {
		uint64_t start = now_ms();

		if (!selected(test, argc, argv))
			continue;
		switch (run(test, kmsg)) {
		case PASSED:
			passed++;
			printf("ok      %s (%d ms)\n", test->name, (int)(now_ms() - start));
			break;
		case SKIPPED:
			skipped++;
			printf("skipped %s\n", test->name);
			break;
		default:
			failed++;
			printf("FAILED  %s\n", test->name);
		}
		fflush(stdout);
	}
	printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
	return failed ? 1 : 0;
}
