// SPDX-License-Identifier: Apache-2.0
/*
 * Faults in mapped memory.
 *
 * A load or store to a mapped device raises SIGBUS if the memory has an
 * uncorrectable error, the device or that part of the file has gone, or a hole
 * in the file could not be given a block. Nothing but a signal handler is told,
 * so each piece runs under a guard: a place to jump back to, kept per thread.
 * A fault anywhere else is handed on to the handler that was there before.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "../internal.h"

/* @fault is of the caller: what is local to sigbus_guard() need not keep a change over the jump. */
struct guard {
	sigjmp_buf back;
	struct fault *fault;
};

/*
 * initial-exec: any other model may allocate memory at a thread's first
 * access, which for a thread that is not ours is inside the signal handler.
 */
static _Thread_local struct guard *volatile current_guard
	__attribute__((tls_model("initial-exec")));

/*
 * Where devices are mapped, for the handler, which can take no lock: a slot is
 * free while its device is NULL, and its range is written before that is set.
 */
#define SLOTS (4u * DMA_SHIM_MAX_DEVICES)

static struct {
	_Atomic(struct device *) device;
	_Atomic uintptr_t base;
	_Atomic uint64_t size;
} slots[SLOTS];

/* Handlers that may be at a device that they found in a slot */
static _Atomic unsigned int handlers;

static pthread_mutex_t slots_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t install_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned int users;
static bool installed;
static struct sigaction previous;

/* Let the handler know of a device. One that finds no slot does without. */
void sigbus_watch(struct device *device)
{
	pthread_mutex_lock(&slots_lock);
	for (unsigned int n = 0; n < SLOTS; n++) {
		if (atomic_load(&slots[n].device))
			continue;
		atomic_store(&slots[n].base, (uintptr_t)device->base);
		atomic_store(&slots[n].size, device->size);
		atomic_store(&slots[n].device, device);
		break;
	}
	pthread_mutex_unlock(&slots_lock);
}

/*
 * To be called before the device is unmapped. When it returns, no handler is at the device any
 * more, and no slot is free that a handler still reads.
 */
void sigbus_forget(const struct device *device)
{
	pthread_mutex_lock(&slots_lock);
	for (unsigned int n = 0; n < SLOTS; n++) {
		if (atomic_load(&slots[n].device) == device)
			atomic_store(&slots[n].device, NULL);
	}
	/* One that comes from now on does not find the device. */
	while (atomic_load(&handlers))
		sched_yield();
	pthread_mutex_unlock(&slots_lock);
}

/* In a signal handler. */
static void note_bad(struct device *device, uint64_t offset, uint64_t size)
{
	uint32_t count = atomic_load(&device->bad_count);

	/* The kernel may report it again, to each thread and at each start. */
	for (uint32_t n = 0; n < count; n++) {
		if (device->bad[n].offset == offset && device->bad[n].size == size)
			return;
	}
	do {
		if (count == MAX_BAD)
			return;
	} while (!atomic_compare_exchange_weak(&device->bad_count, &count, count + 1));
	device->bad[count].offset = offset;
	__atomic_store_n(&device->bad[count].size, size, __ATOMIC_RELEASE);
}

/*
 * The kernel has found bad memory that no thread was reading. If it is a device's, it
 * is noted as a bad block; the thread that gets the signal has not faulted.
 * Return: whether it was a device's.
 */
static bool note_bad_memory(const siginfo_t *info)
{
	uint64_t granule = UINT64_C(1) << (info->si_addr_lsb < 12 ? 12 : info->si_addr_lsb);
	bool found = false;

	atomic_fetch_add(&handlers, 1);
	for (unsigned int n = 0; n < SLOTS && !found; n++) {
		struct device *device = atomic_load(&slots[n].device);
		uint64_t offset = (uintptr_t)info->si_addr - atomic_load(&slots[n].base);

		if (!device || offset >= atomic_load(&slots[n].size))
			continue;
		note_bad(device, offset & ~(granule - 1), granule);
		found = true;
	}
	atomic_fetch_sub(&handlers, 1);
	return found;
}

/* As if our handler had never been there */
static void hand_on(int signal, siginfo_t *info, void *context)
{
	/* Memory that was found bad while no thread read it is not our fault. */
	bool raised_by_fault = info->si_code > 0 &&
			       info->si_code != BUS_MCEERR_AO;
	sigset_t before;

	if (previous.sa_handler == SIG_IGN && !raised_by_fault)
		return;
	if (previous.sa_handler == SIG_DFL || previous.sa_handler == SIG_IGN) {
		/*
		 * The kernel lets nobody ignore a fault. Returning runs the
		 * faulting instruction again, now without a handler, so that
		 * the core dump shows it; a signal that was sent is not
		 * repeated by returning, so it is sent again.
		 */
		struct sigaction none = { .sa_handler = SIG_DFL };

		sigaction(signal, &none, NULL);
		if (!raised_by_fault)
			raise(signal);
		return;
	}

	pthread_sigmask(SIG_BLOCK, &previous.sa_mask, &before);
	if (previous.sa_flags & SA_SIGINFO)
		previous.sa_sigaction(signal, info, context);
	else
		previous.sa_handler(signal);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void handle(int signal, siginfo_t *info, void *context)
{
	struct guard *guard = current_guard;
	int saved_errno = errno;

	if (info->si_code == BUS_MCEERR_AO && note_bad_memory(info)) {
		errno = saved_errno;
		return;
	}
	/* A guarded thread may still be sent a SIGBUS by kill(2). */
	if (guard && info->si_code > 0 && info->si_code != BUS_MCEERR_AO) {
		guard->fault->code = info->si_code;
		guard->fault->address = info->si_addr;
		siglongjmp(guard->back, 1);
	}
	hand_on(signal, info, context);
	errno = saved_errno;
}

/**
 * sigbus_guard() - call a function that touches device memory
 * @function: must hold no lock and own nothing: it may not return
 * @argument: for @function
 * @fault:    filled in if there was one
 *
 * Return: whether @function came to its end.
 */
bool sigbus_guard(void (*function)(void *), void *argument, struct fault *fault)
{
	struct guard guard = { .fault = fault };

	/* The mask is not saved, which spares a system call per piece. */
	if (sigsetjmp(guard.back, 0)) {
		sigset_t blocked;

		current_guard = NULL;
		/* The handler has not returned, so the signal is blocked still. */
		sigemptyset(&blocked);
		sigaddset(&blocked, SIGBUS);
		pthread_sigmask(SIG_UNBLOCK, &blocked, NULL);
		return false;
	}
	current_guard = &guard;
	function(argument);
	current_guard = NULL;
	return true;
}

static bool handler_is_ours(void)
{
	struct sigaction now;

	return sigaction(SIGBUS, NULL, &now) == 0 &&
	       (now.sa_flags & SA_SIGINFO) && now.sa_sigaction == handle;
}

/* Return: 0 or a negative errno. */
int sigbus_install(void)
{
	struct sigaction ours = {
		.sa_sigaction = handle,
		.sa_flags = SA_SIGINFO | SA_ONSTACK,
	};
	int error = 0;

	pthread_mutex_lock(&install_lock);
	if (!installed) {
		/* Read first: the handler may run before sigaction() returns. */
		if (sigaction(SIGBUS, NULL, &previous) ||
		    sigaction(SIGBUS, &ours, NULL))
			error = -errno;
		else
			installed = true;
	}
	if (!error)
		users++;
	pthread_mutex_unlock(&install_lock);
	return error;
}

void sigbus_remove(void)
{
	pthread_mutex_lock(&install_lock);
	/*
	 * If another handler has been put on top of ours, it goes on calling
	 * ours, which then stays for good: the library is never unloaded.
	 */
	if (--users == 0 && handler_is_ours()) {
		sigaction(SIGBUS, &previous, NULL);
		installed = false;
	}
	pthread_mutex_unlock(&install_lock);
}
