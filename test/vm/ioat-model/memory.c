// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "memory.h"

/* The first map that ends past @iova. */
static size_t find(const struct memory *m, uint64_t iova)
{
	size_t low = 0, high = m->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (m->maps[middle].iova + (m->maps[middle].size - 1) < iova)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int file_base(struct memory *m, int fd, bool write, struct memory_file **found)
{
	struct memory_file *file;
	struct stat st;
	int flags = fcntl(fd, F_GETFL);
	void *base;

	if (flags < 0 || fstat(fd, &st))
		return errno;
	/* anything else could block or end under us, and give SIGBUS */
	if (!S_ISREG(st.st_mode) || st.st_size <= 0)
		return EINVAL;
	if (write && (flags & O_ACCMODE) != O_RDWR)
		return EACCES;
	for (file = m->files; file < m->files + m->file_count; file++) {
		if (file->dev != st.st_dev || file->ino != st.st_ino)
			continue;
		if (file->size != (uint64_t)st.st_size || (write && !file->writable))
			return EINVAL;
		*found = file;
		return 0;
	}
	if (m->file_count == MEMORY_MAX_FILES)
		return ENOSPC;
	write = (flags & O_ACCMODE) == O_RDWR;
	base = mmap(NULL, st.st_size, PROT_READ | (write ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
	if (base == MAP_FAILED)
		return errno;
	m->file_count++;
	*file = (struct memory_file){ st.st_dev, st.st_ino, base, st.st_size, write };
	*found = file;
	return 0;
}

int memory_map(struct memory *m, uint64_t iova, uint64_t size, uint32_t rights, int fd,
	       uint64_t offset)
{
	struct memory_map map = { .iova = iova, .size = size, .writable = rights & MEMORY_WRITE };
	struct memory_file *file = NULL;
	size_t at;
	int error;

	if (size == 0 || iova + (size - 1) < iova)
		return EINVAL;
	at = find(m, iova);
	if (at < m->count && m->maps[at].iova <= iova + (size - 1))
		return EEXIST;
	if (m->count == MEMORY_MAX_MAPS)
		return ENOSPC;
	if (fd >= 0) {
		error = file_base(m, fd, map.writable, &file);
		if (error)
			return error;
		if (offset > file->size || size > file->size - offset)
			return EINVAL;
		map.base = file->base + offset;
	}
	if (m->count == m->room) {
		size_t room = m->room ? 2 * m->room : 64;
		void *maps = realloc(m->maps, room * sizeof(*m->maps));

		if (!maps)
			return ENOMEM;
		m->maps = maps;
		m->room = room;
	}
	memmove(m->maps + at + 1, m->maps + at, (m->count - at) * sizeof(*m->maps));
	m->maps[at] = map;
	m->count++;
	return 0;
}

/*
 * With a virtual IOMMU QEMU also unmaps what was never mapped, and a range of 2^64
 * bytes: that is no error. A map that lies only partly inside is one.
 */
int memory_unmap(struct memory *m, uint64_t iova, uint64_t size)
{
	uint64_t last = size == 0 ? iova : iova + (size - 1);
	size_t first, end;

	if (size == 0)
		return EINVAL;
	if (last < iova)
		last = UINT64_MAX;
	first = find(m, iova);
	for (end = first; end < m->count && m->maps[end].iova <= last; end++)
		if (m->maps[end].iova < iova || m->maps[end].iova + (m->maps[end].size - 1) > last)
			return EINVAL;
	memmove(m->maps + first, m->maps + end, (m->count - end) * sizeof(*m->maps));
	m->count -= end - first;
	return 0;
}

void memory_clear(struct memory *m)
{
	size_t i;

	for (i = 0; i < m->file_count; i++)
		munmap(m->files[i].base, m->files[i].size);
	free(m->maps);
	memset(m, 0, sizeof(*m));
}

uint8_t *memory_at(const struct memory *m, uint64_t iova, bool write, uint64_t *run)
{
	size_t at = find(m, iova);
	const struct memory_map *map = m->maps + at;

	if (at == m->count || map->iova > iova || !map->base || (write && !map->writable))
		return NULL;
	*run = map->size - (iova - map->iova);
	return map->base + (iova - map->iova);
}

bool memory_read(const struct memory *m, uint64_t iova, void *to, size_t size)
{
	uint8_t *out = to;
	uint64_t run;

	while (size > 0) {
		const uint8_t *from = memory_at(m, iova, false, &run);

		if (!from)
			return false;
		if (run > size)
			run = size;
		memcpy(out, from, run);
		out += run;
		iova += run;
		size -= run;
	}
	return true;
}

bool memory_store64(const struct memory *m, uint64_t iova, uint64_t value)
{
	uint64_t run;
	uint8_t *at = memory_at(m, iova, true, &run);

	if (!at || run < sizeof(value) || (uintptr_t)at % sizeof(value))
		return false;
	__atomic_store_n((uint64_t *)(void *)at, value, __ATOMIC_RELEASE);
	return true;
}
