// SPDX-License-Identifier: Apache-2.0
/*
 * Whether what a file system is told to sync survives a loss of power.
 *
 * Only those that are known to keep it count, and only as far as what lies
 * beneath them does: an overlay is as good as its upper layer, a loop device as
 * its file, a mapped device as the devices it is made of. What a disk does with
 * its cache, and what is behind a virtual one, nobody tells.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "os.h"

/* Not in linux/magic.h: fs/zfs of OpenZFS */
#define ZFS_SUPER_MAGIC 0x2fc12fc1

/* Overlays on loop devices on overlays: nobody goes deeper than that. */
#define MAX_DEPTH 8u

static const struct {
	uint32_t magic;
	const char *name;
} durable[] = {
	{ EXT4_SUPER_MAGIC, "ext4" },
	{ XFS_SUPER_MAGIC, "xfs" },
	{ BTRFS_SUPER_MAGIC, "btrfs" },
	{ F2FS_SUPER_MAGIC, "f2fs" },
	{ ZFS_SUPER_MAGIC, "zfs" },
}, in_memory[] = {
	{ TMPFS_MAGIC, "tmpfs" },
	{ RAMFS_MAGIC, "ramfs" },
	{ HUGETLBFS_MAGIC, "hugetlbfs" },
};

/* With them a file system does not wait for its disk's cache, or for its disk. */
static const char *const lax_options[] = {
	"nobarrier", "barrier=0", "fsync_mode=nobarrier",
};

/* By these names of its options an overlay does not sync its upper layer. */
static const char *const volatile_options[] = { "volatile", "fsync=volatile" };

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void descend_file(struct dma_shim_storage *storage, int descriptor,
			 unsigned int depth);

/* Add to what the verdict rests on; it may be cut short. */
static void __attribute__((format(printf, 2, 3)))
note(struct dma_shim_storage *storage, const char *format, ...)
{
	size_t used = strlen(storage->basis);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(storage->basis + used, sizeof(storage->basis) - used, format, arguments);
	va_end(arguments);
}

/* What lies beneath is named by a path, which may be of another mount namespace. */
static void descend_path(struct dma_shim_storage *storage, const char *path,
			 unsigned int depth)
{
	int descriptor = path[0] == '/' ? open(path, O_PATH | O_CLOEXEC) : -1;

	if (descriptor < 0) {
		storage->persistence = DMA_SHIM_UNKNOWN;
		note(storage, " on %s, which cannot be found", path);
		return;
	}
	note(storage, " on ");
	descend_file(storage, descriptor, depth + 1);
	close(descriptor);
}

/* A block device, by its directory in sysfs; of a partition, its disk's is "..". */
static void descend_block(struct dma_shim_storage *storage, const char *directory,
			  unsigned int depth)
{
	static const char *const owners[] = { "", "/.." };
	size_t noted = strlen(storage->basis);
	char target[PATH_MAX], path[PATH_MAX], text[PATH_MAX + NAME_MAX + 2];
	const char *name;
	ssize_t length = readlink(directory, target, sizeof(target) - 1);

	/* sysfs is not there, or masked: then the file system's word counts. */
	if (length <= 0)
		return;
	if (depth > MAX_DEPTH) {
		storage->persistence = DMA_SHIM_UNKNOWN;
		return;
	}
	target[length] = '\0';
	name = strrchr(target, '/');
	name = name ? name + 1 : target;
	note(storage, " on %s", name);

	if (strncmp(name, "ram", 3) == 0 || strncmp(name, "zram", 4) == 0) {
		storage->persistence = DMA_SHIM_VOLATILE;
		return;
	}
	for (unsigned int n = 0; n < COUNT(owners); n++) {
		const struct dirent *entry;
		DIR *slaves;

		snprintf(path, sizeof(path), "%s%s/loop/backing_file", directory, owners[n]);
		if (sysfs_read(path, text, sizeof(text))) {
			text[strcspn(text, "\n")] = '\0';
			descend_path(storage, text, depth);
			return;
		}
		snprintf(path, sizeof(path), "%s%s/slaves", directory, owners[n]);
		slaves = opendir(path);
		while (slaves && storage->persistence == DMA_SHIM_BACKING_STORE &&
		       (entry = readdir(slaves))) {
			if (entry->d_name[0] == '.')
				continue;
			snprintf(text, sizeof(text), "%s/%s", path, entry->d_name);
			descend_block(storage, text, depth + 1);
		}
		if (slaves)
			closedir(slaves);
	}
	/* A name says something only if it is why. */
	if (storage->persistence == DMA_SHIM_BACKING_STORE)
		storage->basis[noted] = '\0';
}

/* A file system on a disk: whether it is let wait for it, and what the disk is. */
static void descend_disk(struct dma_shim_storage *storage, const struct mount *mount,
			 dev_t number, unsigned int depth)
{
	char directory[64];
	struct stat source;

	for (unsigned int n = 0; mount && n < COUNT(lax_options); n++) {
		if (!mount_option(mount, lax_options[n], NULL, 0))
			continue;
		storage->persistence = DMA_SHIM_UNKNOWN;
		note(storage, ", mounted with %s", lax_options[n]);
		return;
	}
	/* btrfs has a number of its own, but is mounted from a disk. */
	if (!major(number) && mount && mount->source[0] == '/' &&
	    stat(mount->source, &source) == 0 && S_ISBLK(source.st_mode))
		number = source.st_rdev;
	if (!major(number))
		return;
	snprintf(directory, sizeof(directory), "/sys/dev/block/%u:%u", major(number),
		 minor(number));
	descend_block(storage, directory, depth);
}

static void descend_overlay(struct dma_shim_storage *storage, const struct mount *mount,
			    unsigned int depth)
{
	char upper[PATH_MAX];

	note(storage, "overlay");
	for (unsigned int n = 0; mount && n < COUNT(volatile_options); n++) {
		if (!mount_option(mount, volatile_options[n], NULL, 0))
			continue;
		storage->persistence = DMA_SHIM_VOLATILE;
		note(storage, ", mounted with %s", volatile_options[n]);
		return;
	}
	if (mount && mount_option(mount, "upperdir=", upper, sizeof(upper))) {
		descend_path(storage, upper, depth);
		return;
	}
	storage->persistence = DMA_SHIM_UNKNOWN;
	note(storage, ", whose upper layer is not known");
}

static void descend_file(struct dma_shim_storage *storage, int descriptor,
			 unsigned int depth)
{
	struct statfs filesystem;
	struct mount found;
	const struct mount *mount = mount_find(descriptor, &found) ? &found : NULL;
	struct stat stat;
	uint32_t magic;

	storage->persistence = DMA_SHIM_UNKNOWN;
	if (depth > MAX_DEPTH || fstatfs(descriptor, &filesystem) ||
	    fstat(descriptor, &stat))
		goto out;
	magic = (uint32_t)filesystem.f_type;

	for (unsigned int n = 0; n < COUNT(in_memory); n++) {
		if (magic != in_memory[n].magic)
			continue;
		storage->persistence = DMA_SHIM_VOLATILE;
		note(storage, "%s", in_memory[n].name);
		goto out;
	}
	for (unsigned int n = 0; n < COUNT(durable); n++) {
		if (magic != durable[n].magic)
			continue;
		storage->persistence = DMA_SHIM_BACKING_STORE;
		note(storage, "%s", durable[n].name);
		descend_disk(storage, mount, stat.st_dev, depth);
		goto out;
	}
	if (magic == OVERLAYFS_SUPER_MAGIC)
		descend_overlay(storage, mount, depth);
	else if (mount)
		note(storage, "%s", mount->type);
	else
		note(storage, "a file system of type 0x%x", magic);
out:
	if (mount)
		mount_free(&found);
}

/**
 * storage_of() - whether what is synced survives, of the file system of a descriptor
 */
struct dma_shim_storage storage_of(int descriptor)
{
	struct dma_shim_storage storage = { 0 };

	descend_file(&storage, descriptor, 0);
	return storage;
}

PUBLIC int dma_shim_storage(const char *path, struct dma_shim_storage *out)
{
	int descriptor;

	if (!path || !out)
		return -EINVAL;
	descriptor = open(path, O_PATH | O_CLOEXEC);
	if (descriptor < 0)
		return -errno;
	*out = storage_of(descriptor);
	close(descriptor);
	return 0;
}
