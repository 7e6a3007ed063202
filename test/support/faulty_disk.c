// SPDX-License-Identifier: Apache-2.0
/*
 * A disk that fails as a test says, for a daemon that runs with this in LD_PRELOAD: writes and syncs
 * of files whose path has "/journal" in it. LevelDB writes through stdio, Node through libuv, so
 * both are wrapped. The test writes `struct control` into the file that FAULTY_DISK names.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { OFF, COUNTED, RANDOM };

/* When an operation fails: before it has done anything, once it has, or half done. */
enum moment { BEFORE, AFTER, DURING, MOMENTS };

/* Mirrored by faulty-disk.ts. */
struct control {
	uint32_t mode;
	uint32_t first;		/* COUNTED: the first operation that fails, from 1 */
	uint32_t times;		/* COUNTED: how many fail from there on */
	uint32_t error;		/* errno; 0 with RANDOM: EIO or ENOSPC */
	uint32_t after;		/* enum moment; RANDOM: any */
	uint32_t read_only;	/* from the first fault on, nothing can be written */
	uint32_t one_in;	/* RANDOM: one in this many operations fails */
	uint32_t operations;	/* so far, written here */
	uint32_t faults;	/* so far, written here */
};

static volatile struct control *control;

static void __attribute__((constructor)) attach(void)
{
	const char *path = getenv("FAULTY_DISK");
	int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;

	if (file < 0)
		return;
	void *map = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);

	close(file);
	srandom(getpid());
	if (map != MAP_FAILED)
		control = map;
}

static int in_scope(int file)
{
	char link[64], path[4096];

	if (!control || control->mode == OFF)
		return 0;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", file);
	ssize_t length = readlink(link, path, sizeof(path) - 1);

	if (length < 0)
		return 0;
	path[length] = 0;
	/* LevelDB's own log of events does not matter to it. */
	if (length > 4 && !strcmp(path + length - 4, "/LOG"))
		return 0;
	return strstr(path, "/journal") != NULL;
}

/* Whether the next operation fails, and then when; sets errno. */
static bool next_fault(enum moment *moment)
{
	uint32_t number = __atomic_add_fetch(&control->operations, 1, __ATOMIC_SEQ_CST);
	uint32_t error = control->error;

	*moment = (enum moment)control->after;

	if (control->read_only && control->faults > 0) {
		errno = EROFS;
		*moment = BEFORE;
		return true;
	}
	if (control->mode == COUNTED) {
		if (number < control->first || number - control->first >= control->times)
			return false;
	} else {
		if (random() % control->one_in)
			return false;
		*moment = random() % MOMENTS;
		error = random() & 1 ? EIO : ENOSPC;
	}
	__atomic_add_fetch(&control->faults, 1, __ATOMIC_SEQ_CST);
	errno = error;
	return true;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* The compiler wants it looked at; a half that is none is a fault, too. */
static __thread ssize_t half_written;

/*
 * The call, its value if it fails, and the call that does half of it. The error outlives what the
 * call does to errno.
 */
#define FAULTY(file, name, failed, half, ...)				\
	do {								\
		enum moment moment = BEFORE;				\
		bool fails = in_scope(file) && next_fault(&moment);	\
		int error = errno;					\
		if (!fails || moment == AFTER) {			\
			__typeof__(name(__VA_ARGS__)) done = REAL(name)(__VA_ARGS__);	\
			if (!fails)					\
				return done;				\
		} else if (moment == DURING) {				\
			half;						\
		}							\
		errno = error;						\
		return failed;						\
	} while (0)

/* Of a sync there is no half. */
#define NO_HALF ((void)0)

#undef fwrite_unlocked
#undef fflush_unlocked

size_t fwrite(const void *from, size_t size, size_t count, FILE *stream)
{
	FAULTY(fileno(stream), fwrite, 0, REAL(fwrite)(from, size, count / 2, stream),
	       from, size, count, stream);
}

size_t fwrite_unlocked(const void *from, size_t size, size_t count, FILE *stream)
{
	FAULTY(fileno(stream), fwrite_unlocked, 0,
	       REAL(fwrite_unlocked)(from, size, count / 2, stream), from, size, count, stream);
}

int fflush(FILE *stream)
{
	FAULTY(stream ? fileno(stream) : -1, fflush, EOF, NO_HALF, stream);
}

int fflush_unlocked(FILE *stream)
{
	FAULTY(stream ? fileno(stream) : -1, fflush_unlocked, EOF, NO_HALF, stream);
}

int fsync(int file)
{
	FAULTY(file, fsync, -1, NO_HALF, file);
}

int fdatasync(int file)
{
	FAULTY(file, fdatasync, -1, NO_HALF, file);
}

ssize_t write(int file, const void *from, size_t size)
{
	FAULTY(file, write, -1, half_written = REAL(write)(file, from, size / 2), file, from, size);
}

ssize_t pwrite64(int file, const void *from, size_t size, off64_t at)
{
	FAULTY(file, pwrite64, -1, half_written = REAL(pwrite64)(file, from, size / 2, at),
	       file, from, size, at);
}
