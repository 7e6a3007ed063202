// SPDX-License-Identifier: Apache-2.0
/*
 * A disk that loses what was not synced when the power fails, for a daemon that runs with this in
 * LD_PRELOAD. What is synced below the directory POWER_LOSS_SCOPE is kept beside it, in
 * POWER_LOSS_KEPT, in a file for each file; power-loss.ts puts that back. Names, as of files that are made,
 * renamed or removed, count as synced at once.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

enum { CHUNK = 65536 };

static bool in_scope(const char *path)
{
	const char *scope = getenv("POWER_LOSS_SCOPE");

	return scope && strncmp(path, scope, strlen(scope)) == 0;
}

/* Where the synced bytes of a file are kept; -1: of this one they are not. */
static int open_kept(int file)
{
	char path[PATH_MAX];
	struct statx status;

	if (statx(file, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &status) ||
	    !S_ISREG(status.stx_mode))
		return -1;
	/* Numbers are used again once a file is removed. */
	snprintf(path, sizeof(path), "%s/%" PRIu64 "-%" PRIu64, getenv("POWER_LOSS_KEPT"),
		 (uint64_t)status.stx_ino,
		 (uint64_t)status.stx_btime.tv_sec * 1000000000 + status.stx_btime.tv_nsec);
	return open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
}

static void check(bool works)
{
	if (!works)
		abort();
}

/* All bytes of a file. */
static void keep_file(int file)
{
	char link[64], path[PATH_MAX], bytes[CHUNK];
	off_t at = 0;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", file);
	ssize_t length = readlink(link, path, sizeof(path) - 1);

	if (length < 0)
		return;
	path[length] = '\0';
	if (!in_scope(path))
		return;
	/* It may be open for writing alone. */
	int from = open(link, O_RDONLY | O_CLOEXEC);
	int kept = from < 0 ? -1 : open_kept(from);

	while (kept >= 0 && (length = pread(from, bytes, sizeof(bytes), at)) > 0) {
		check(pwrite(kept, bytes, length, at) == length);
		at += length;
	}
	if (kept >= 0) {
		check(ftruncate(kept, at) == 0);
		close(kept);
	}
	if (from >= 0)
		close(from);
}

/* The bytes of files that are mapped in a range of memory. */
static void keep_memory(uintptr_t first, uintptr_t end)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	uintptr_t from, to;
	uint64_t offset;
	char line[PATH_MAX + 128], path[PATH_MAX];

	while (maps && fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %*s %" SCNx64 " %*s %*s %4095s",
			   &from, &to, &offset, path) != 4 ||
		    from >= end || to <= first || !in_scope(path))
			continue;
		int file = open(path, O_RDONLY | O_CLOEXEC);
		int kept = file < 0 ? -1 : open_kept(file);
		uintptr_t begin = from > first ? from : first;
		size_t size = (to < end ? to : end) - begin;

		if (kept >= 0) {
			check(pwrite(kept, (void *)begin, size, offset + (begin - from)) ==
			      (ssize_t)size);
			close(kept);
		}
		if (file >= 0)
			close(file);
	}
	if (maps)
		fclose(maps);
}

int fsync(int file)
{
	int result = REAL(fsync)(file);

	if (result == 0)
		keep_file(file);
	return result;
}

int fdatasync(int file)
{
	int result = REAL(fdatasync)(file);

	if (result == 0)
		keep_file(file);
	return result;
}

int msync(void *start, size_t size, int flags)
{
	int result = REAL(msync)(start, size, flags);

	if (result == 0)
		keep_memory((uintptr_t)start, (uintptr_t)start + size);
	return result;
}
