/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of the guest's memory the device can reach: the ranges that QEMU mapped, each a
 * window onto a file that QEMU shares. Without an IOMMU these are a few large ones, with
 * one they are thousands of pages that come and go.
 */
#ifndef IOAT_MODEL_MEMORY_H
#define IOAT_MODEL_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define MEMORY_MAX_MAPS 65535
#define MEMORY_MAX_FILES 32

struct memory_map {
	uint64_t iova;
	uint64_t size;
	uint8_t *base; /* NULL: known to exist but not shared with us (a ROM) */
	bool writable;
};

/* One mmap a file, however many ranges lie in it. */
struct memory_file {
	dev_t dev;
	ino_t ino;
	uint8_t *base;
	uint64_t size;
	bool writable;
};

struct memory {
	struct memory_map *maps; /* sorted by iova, disjoint */
	size_t count, room;
	struct memory_file files[MEMORY_MAX_FILES];
	size_t file_count;
};

#define MEMORY_READ 1
#define MEMORY_WRITE 2

/* All return 0 or a positive errno. fd -1: nothing is shared; fd stays the caller's. */
int memory_map(struct memory *m, uint64_t iova, uint64_t size, uint32_t rights, int fd,
	       uint64_t offset);
int memory_unmap(struct memory *m, uint64_t iova, uint64_t size);
void memory_clear(struct memory *m);

/*
 * memory_at - where @iova is, and in *@run how many bytes lie in one piece from there.
 * NULL if it is not mapped, or not for writing where @write.
 */
uint8_t *memory_at(const struct memory *m, uint64_t iova, bool write, uint64_t *run);

/* Copies out of guest memory; false if some of it is not mapped. */
bool memory_read(const struct memory *m, uint64_t iova, void *to, size_t size);

/* One aligned 64-bit store, which the guest sees whole or not at all. */
bool memory_store64(const struct memory *m, uint64_t iova, uint64_t value);

#endif
