/* SPDX-License-Identifier: Apache-2.0 */
/* What the operating system offers, without devices or jobs; see the files of this folder. */
#ifndef DMA_SHIM_OS_H
#define DMA_SHIM_OS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "../../include/dma_shim.h"

#if !defined(__x86_64__) || !defined(__LP64__)
#error "dma_shim needs x86-64: its copies and flushes are written for it"
#endif

#define PUBLIC __attribute__((visibility("default")))

static inline uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* thread.c: threads of the library */
int thread_start(pthread_t *thread, const char *name, void *(*main)(void *),
		 void *argument);
void thread_lower_priority(void);

/* sysfs.c */
bool sysfs_read(const char *path, char *text, size_t size);

/**
 * struct mount - how a file system is mounted
 * @type:    such as "ext4"
 * @source:  what of, often a path
 * @options: of the file system itself, with commas between
 * @line:    holds them all
 */
struct mount {
	const char *type;
	const char *source;
	const char *options;
	char *line;
};

/* mounts.c */
bool mount_find(int descriptor, struct mount *mount);
void mount_free(struct mount *mount);
bool mount_option(const struct mount *mount, const char *name, char *value, size_t size);

/* storage.c */
struct dma_shim_storage storage_of(int descriptor);

#endif /* DMA_SHIM_OS_H */
