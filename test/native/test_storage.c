// SPDX-License-Identifier: Apache-2.0
/*
 * What is known of a file system. Those that have to be mounted first are in
 * test/process/durability.test.ts.
 */
#include "fixture.h"

#include <fcntl.h>
#include <unistd.h>

static struct dma_shim_storage storage_at(const char *path)
{
	struct dma_shim_storage storage;

	memset(&storage, 0x5a, sizeof(storage));
	CHECK_EQ(dma_shim_storage(path, &storage), 0);
	CHECK_EQ(storage.reserved, 0);
	CHECK(memchr(storage.basis, '\0', sizeof(storage.basis)));
	return storage;
}

TEST(memory_is_volatile)
{
	struct dma_shim_storage storage;

	if (strncmp(scratch(), "/dev/shm", 8))
		SKIP("no /dev/shm");
	storage = storage_at(scratch());
	CHECK_EQ(storage.persistence, DMA_SHIM_VOLATILE);
	CHECK(strcmp(storage.basis, "tmpfs") == 0);
}

TEST(a_disk_keeps_what_is_synced)
{
	CHECK_EQ(storage_at(scratch_on_disk()).persistence, DMA_SHIM_BACKING_STORE);
}

/* None is known to keep anything that is not in the list of those that do. */
TEST(other_file_systems_are_unknown)
{
	static const char *const others[][2] = {
		{ "/proc/version", "proc" },
		{ "/sys/kernel", "sysfs" },
	};

	for (unsigned int n = 0; n < sizeof(others) / sizeof(*others); n++) {
		struct dma_shim_storage storage;

		if (access(others[n][0], F_OK))
			SKIP("no %s", others[n][0]);
		storage = storage_at(others[n][0]);
		CHECK_EQ(storage.persistence, DMA_SHIM_UNKNOWN);
		CHECK(strcmp(storage.basis, others[n][1]) == 0);
	}
}

TEST(storage_of_what_is_not_there_is_an_error)
{
	struct dma_shim_storage storage;
	struct dma_shim_storage before;

	memset(&storage, 0x5a, sizeof(storage));
	before = storage;
	CHECK_EQ(dma_shim_storage("/nonexistent/path", &storage), -ENOENT);
	CHECK_EQ(dma_shim_storage("", &storage), -ENOENT);
	CHECK_EQ(dma_shim_storage(NULL, &storage), -EINVAL);
	CHECK_EQ(dma_shim_storage("/", NULL), -EINVAL);
	CHECK(memcmp(&storage, &before, sizeof(storage)) == 0);
}

TEST(a_mount_option_is_found_whole)
{
	struct mount mount = { .options = "rw,nobarrier2,xnobarrier,upperdir=/a\\040b\\054c\\134,x=" };
	char value[64];
	char small[4];

	CHECK(mount_option(&mount, "rw", NULL, 0));
	CHECK(mount_option(&mount, "nobarrier2", NULL, 0));
	CHECK(!mount_option(&mount, "nobarrier", NULL, 0));
	CHECK(!mount_option(&mount, "r", NULL, 0));
	CHECK(!mount_option(&mount, "upperdir", NULL, 0));
	CHECK(!mount_option(&mount, "", NULL, 0));

	CHECK(mount_option(&mount, "upperdir=", value, sizeof(value)));
	CHECK(strcmp(value, "/a b,c\\") == 0);
	CHECK(!mount_option(&mount, "upperdir=", small, sizeof(small)));
	CHECK(!mount_option(&mount, "workdir=", value, sizeof(value)));
	CHECK(!mount_option(&mount, "x=", value, sizeof(value)));

	mount.options = "";
	CHECK(!mount_option(&mount, "rw", NULL, 0));
}

TEST(the_mount_of_a_descriptor_is_found)
{
	int root = SYS(open("/proc/self", O_PATH | O_CLOEXEC));
	struct mount mount;

	CHECK(mount_find(root, &mount));
	CHECK(strcmp(mount.type, "proc") == 0);
	CHECK(mount_option(&mount, "rw", NULL, 0) || mount_option(&mount, "ro", NULL, 0));
	mount_free(&mount);
	close(root);
	CHECK(!mount_find(root, &mount));
	CHECK(!mount_find(-1, &mount));
}
