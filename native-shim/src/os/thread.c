// SPDX-License-Identifier: Apache-2.0
/* Threads of the library: small, named, and deaf to the caller's signals. */
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "os.h"

/*
 * The most that ours use is a part of what a socket receives, 256 KiB; no recursion. The rest is for
 * a sanitizer: ThreadSanitizer's 785 KiB of thread-local data are taken from the stack. What is not
 * touched takes no memory, and what is smaller than a huge page is not made one.
 */
#define STACK_SIZE (1536u << 10)

/* Lower weight by a factor of three: kernel/sched/core.c, sched_prio_to_weight */
#define NICE_INCREMENT 5

/* Return: 0, -EAGAIN or -ENOMEM. */
int thread_start(pthread_t *thread, const char *name, void *(*main)(void *),
		 void *argument)
{
	static const int synchronous[] = {
		SIGBUS, SIGSEGV, SIGILL, SIGFPE, SIGTRAP, SIGSYS, SIGABRT,
	};
	pthread_attr_t attributes;
	sigset_t blocked, before;
	int error;

	error = pthread_attr_init(&attributes);
	if (error)
		return -error;
	pthread_attr_setstacksize(&attributes, STACK_SIZE);

	/*
	 * A thread inherits the mask of the one that makes it. The caller's
	 * handlers expect the caller's threads; what a thread's own
	 * instructions raise cannot be held back.
	 */
	sigfillset(&blocked);
	for (size_t n = 0; n < sizeof(synchronous) / sizeof(*synchronous); n++)
		sigdelset(&blocked, synchronous[n]);
	pthread_sigmask(SIG_SETMASK, &blocked, &before);
	error = pthread_create(thread, &attributes, main, argument);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);

	if (!error)
		pthread_setname_np(*thread, name);
	return -error;
}

/*
 * For threads that can use a CPU for long: leave the caller's threads, which
 * have to answer somebody, the larger share of a CPU that both want. Linux
 * keeps the nice value per thread, in spite of POSIX. Failing is harmless.
 */
void thread_lower_priority(void)
{
	id_t self = (id_t)gettid();

	errno = 0;
	int nice = getpriority(PRIO_PROCESS, self);

	if (!errno)
		setpriority(PRIO_PROCESS, self, nice + NICE_INCREMENT);
}
