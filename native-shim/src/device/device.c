// SPDX-License-Identifier: Apache-2.0
/* Devices: found to be what they should, locked, and mapped whole. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "../internal.h"

/*
 * Whether a character device is of the dax subsystem: the link ends in
 * "bus/dax", or "class/dax" on kernels before 5.1 and with their
 * compatibility driver. Without the check a slip in a configuration would let
 * us write all over /dev/mem.
 */
static bool is_dax(dev_t number)
{
	char path[64];
	char target[PATH_MAX];
	const char *name;
	ssize_t length;

	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u/subsystem",
		 major(number), minor(number));
	length = readlink(path, target, sizeof(target) - 1);
	if (length <= 0)
		return false;
	target[length] = '\0';
	name = strrchr(target, '/');
	return name && strcmp(name, "/dax") == 0;
}

static int identify_devdax(struct device *device, const struct stat *stat,
			   const struct dma_shim_device_spec *spec)
{
	static const uint32_t basis_of[] = {
		[WRITEBACK_CLFLUSH] = DMA_SHIM_FLUSH_CLFLUSH,
		[WRITEBACK_CLFLUSHOPT] = DMA_SHIM_FLUSH_CLFLUSHOPT,
		[WRITEBACK_CLWB] = DMA_SHIM_FLUSH_CLWB,
	};

	if (!S_ISCHR(stat->st_mode) || !is_dax(stat->st_rdev))
		return -EINVAL;
	if (!spec->size || !spec->align || spec->size % spec->align)
		return -EINVAL;

	switch (spec->persistence) {
	case DMA_SHIM_VOLATILE:
		device->flush_basis = DMA_SHIM_FLUSH_NONE;
		break;
	case DMA_SHIM_MEMORY_CONTROLLER:
		device->flush_basis = basis_of[cpu_features()->writeback];
		break;
	case DMA_SHIM_CPU_CACHE:
		device->flush_basis = DMA_SHIM_FLUSH_CPU_CACHE;
		break;
	default:
		return -EINVAL;
	}
	device->persistence = spec->persistence;
	device->in_memory = true;
	device->size = spec->size;
	return 0;
}

static int identify_file(struct device *device, const struct stat *stat,
			 const struct dma_shim_device_spec *spec)
{
	struct statfs filesystem;

	if (!S_ISREG(stat->st_mode) || spec->align || stat->st_size <= 0)
		return -EINVAL;
	if (spec->size && spec->size != (uint64_t)stat->st_size)
		return -EINVAL;
	if (fstatfs(device->descriptor, &filesystem))
		return -errno;

	device->persistence = storage_of(device->descriptor).persistence;
	device->plain_io = filesystem.f_type != HUGETLBFS_MAGIC;
	device->in_memory = filesystem.f_type == TMPFS_MAGIC ||
			    filesystem.f_type == RAMFS_MAGIC;
	/* A disk that fails says so when it is synced, whatever becomes of the bytes. */
	device->flush_basis = device->in_memory || !device->plain_io ?
			      DMA_SHIM_FLUSH_NONE : DMA_SHIM_FLUSH_MSYNC;
	device->size = (uint64_t)stat->st_size;
	return 0;
}

/* Check, lock and map what device->descriptor is open on. */
static int take(struct device *device, const struct dma_shim_device_spec *spec,
		const struct dma_shim *shim)
{
	struct stat stat;
	void *base;
	int error;

	if (fstat(device->descriptor, &stat))
		return -errno;
	if (spec->kind == DMA_SHIM_DEVDAX)
		error = identify_devdax(device, &stat, spec);
	else
		error = identify_file(device, &stat, spec);
	if (error)
		return error;

	if (flock(device->descriptor, LOCK_EX | LOCK_NB))
		return -errno;

	base = mmap(NULL, device->size, PROT_READ | PROT_WRITE, MAP_SHARED,
		    device->descriptor, 0);
	if (base == MAP_FAILED)
		return -errno;
	device->base = base;
	/* A core dump of the process is not to hold the devices' contents. */
	madvise(base, device->size, MADV_DONTDUMP);
	sigbus_watch(device);
	if (device->kind == DMA_SHIM_DEVDAX)
		numa_locate(device, stat.st_rdev, shim);
	return 0;
}

/* Unmap and unlock; takes a device that is half made, too. */
void device_destroy(struct device *device)
{
	sigbus_forget(device);
	if (device->base)
		munmap(device->base, device->size);
	if (device->descriptor >= 0) {
		/* The kernel module may keep the file open for a moment longer. */
		flock(device->descriptor, LOCK_UN);
		close(device->descriptor);
	}
	free(device);
}

PUBLIC int dma_shim_device_bad(struct dma_shim *shim, uint32_t handle,
			       struct dma_shim_range *out, uint32_t room)
{
	int found = 0;

	if (!shim || !out)
		return -EINVAL;
	pthread_mutex_lock(&shim->lock);
	if (handle >= DMA_SHIM_MAX_DEVICES || !shim->devices[handle]) {
		found = -EBADF;
	} else {
		struct device *device = shim->devices[handle];
		uint32_t count = atomic_load(&device->bad_count);

		for (uint32_t n = 0; n < count && (uint32_t)found < room; n++) {
			uint64_t size = __atomic_load_n(&device->bad[n].size, __ATOMIC_ACQUIRE);

			if (size)
				out[found++] = (struct dma_shim_range) {
					device->bad[n].offset, size,
				};
		}
	}
	pthread_mutex_unlock(&shim->lock);
	return found;
}

/* By what a flush makes its bytes persistent, as far as that is known */
static uint32_t promised_basis(const struct device *device)
{
	if (device->kind == DMA_SHIM_FILE && device->persistence != DMA_SHIM_BACKING_STORE)
		return DMA_SHIM_FLUSH_NONE;
	return device->flush_basis;
}

/* Give a device a handle. Return: the handle or -ENFILE. */
static int install(struct dma_shim *shim, struct device *device)
{
	int handle = -ENFILE;

	pthread_mutex_lock(&shim->lock);
	for (unsigned int n = 0; n < DMA_SHIM_MAX_DEVICES && handle < 0; n++) {
		if (!shim->devices[n]) {
			shim->devices[n] = device;
			handle = (int)n;
		}
	}
	pthread_mutex_unlock(&shim->lock);
	return handle;
}

PUBLIC int dma_shim_device_open(struct dma_shim *shim, const char *path,
				const struct dma_shim_device_spec *spec,
				struct dma_shim_device_info *info)
{
	struct device *device;
	struct dma_shim_device_info found;
	int flags;
	int error;
	int handle;

	if (!shim || !path || !spec || !info ||
	    (spec->kind != DMA_SHIM_DEVDAX && spec->kind != DMA_SHIM_FILE))
		return -EINVAL;

	device = calloc(1, sizeof(*device));
	if (!device)
		return -ENOMEM;
	list_init(&device->sync_jobs);
	list_init(&device->sync_turn);
	device->kind = spec->kind;
	device->node = NUMA_ANYWHERE;
	/* O_NONBLOCK and O_NOCTTY: what is opened may be anything at all. */
	flags = O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	/* Through a link in the file's place, any file could be written to. */
	if (spec->kind == DMA_SHIM_FILE)
		flags |= O_NOFOLLOW;
	device->descriptor = open(path, flags);
	error = device->descriptor < 0 ? -errno :
					take(device, spec, shim);
	if (error) {
		device_destroy(device);
		return error;
	}

	found = (struct dma_shim_device_info) {
		.size = device->size,
		.persistence = device->persistence,
		.flush_basis = promised_basis(device),
	};
	handle = install(shim, device);
	if (handle < 0)
		device_destroy(device);
	else
		*info = found;
	return handle;
}

/* Use a device until device_put(); NULL if there is none. With the lock held. */
struct device *device_get(struct dma_shim *shim, uint32_t handle)
{
	struct device *device;

	if (handle >= DMA_SHIM_MAX_DEVICES)
		return NULL;
	device = shim->devices[handle];
	if (device)
		device->users++;
	return device;
}

void device_put(struct device *device)
{
	if (device)
		device->users--;
}

/**
 * device_fault_status() - what a SIGBUS at an address of the device means
 *
 * The kernel tells memory errors apart, but gives BUS_ADRERR for everything
 * else: a range that has gone, a block that could not be read, a hole that
 * could not be filled. Reading the byte tells which.
 *
 * Return: -EIO, -ENXIO or -ENOSPC.
 */
int device_fault_status(const struct device *device, const struct fault *fault)
{
	uint64_t offset = (uintptr_t)fault->address - (uintptr_t)device->base;
	char byte;
	ssize_t got;

	if (fault->code != BUS_ADRERR)
		return -EIO;
	if (device->kind == DMA_SHIM_DEVDAX)
		return -ENXIO;
	do
		got = pread(device->descriptor, &byte, 1, (off_t)offset);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -EIO;
	return got == 0 ? -ENXIO : -ENOSPC;
}
