// SPDX-License-Identifier: Apache-2.0
/* Opening devices: what they must be, and that one process has them. */
#include "fixture.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static int try(struct context *context, const char *path,
	       struct dma_shim_device_spec spec)
{
	struct dma_shim_device_info info;
	struct dma_shim_device_info before;
	int result;

	memset(&info, 0x5a, sizeof(info));
	before = info;
	result = dma_shim_device_open(context->shim, path, &spec, &info);
	if (result < 0)
		CHECK(memcmp(&info, &before, sizeof(info)) == 0);
	return result;
}

static int try_file(struct context *context, const char *path)
{
	return try(context, path, (struct dma_shim_device_spec) { .kind = DMA_SHIM_FILE });
}

static unsigned int open_descriptors(void)
{
	unsigned int count = 0;

	for (int n = 0; n < 1024; n++)
		count += fcntl(n, F_GETFD) >= 0;
	return count;
}

TEST(a_file_must_be_what_was_said)
{
	struct context context = context_open(1);
	struct file a = file_make(scratch(), "a", 10000);
	struct file pipe = { 0 };
	struct dma_shim_device_spec spec = { .kind = DMA_SHIM_FILE, .size = 10000 };
	unsigned int descriptors = open_descriptors();
	struct dma_shim_device_info info;
	char path[400];

	snprintf(pipe.path, sizeof(pipe.path), "%s/pipe", scratch());
	SYS(mkfifo(pipe.path, 0600));
	snprintf(path, sizeof(path), "%s/none", scratch());

	CHECK_EQ(try_file(&context, path), -ENOENT);
	CHECK_EQ(try_file(&context, scratch()), -EISDIR);
	CHECK_EQ(try_file(&context, pipe.path), -EINVAL);
	CHECK_EQ(try_file(&context, "/dev/null"), -EINVAL);
	CHECK_EQ(try_file(&context, ""), -ENOENT);
	spec.size = 9999;
	CHECK_EQ(try(&context, a.path, spec), -EINVAL);
	spec.size = 10000;
	spec.align = 4096;
	CHECK_EQ(try(&context, a.path, spec), -EINVAL);
	spec.align = 0;
	spec.kind = 0;
	CHECK_EQ(try(&context, a.path, spec), -EINVAL);
	spec.kind = 3;
	CHECK_EQ(try(&context, a.path, spec), -EINVAL);
	spec.kind = DMA_SHIM_DEVDAX;
	CHECK_EQ(try(&context, a.path, spec), -EINVAL);
	spec.kind = DMA_SHIM_FILE;
	CHECK_EQ(dma_shim_device_open(context.shim, NULL, &spec, &info), -EINVAL);
	CHECK_EQ(dma_shim_device_open(context.shim, a.path, NULL, &info), -EINVAL);
	CHECK_EQ(dma_shim_device_open(context.shim, a.path, &spec, NULL), -EINVAL);
	CHECK_EQ(dma_shim_device_open(NULL, a.path, &spec, &info), -EINVAL);
	CHECK_EQ(open_descriptors(), descriptors);

	/* Nor what a link leads to. */
	snprintf(path, sizeof(path), "%s/link", scratch());
	SYS(symlink(a.path, path));
	CHECK_EQ(try_file(&context, path), -ELOOP);
	CHECK_EQ(open_descriptors(), descriptors);

	CHECK_EQ(try(&context, a.path, spec), 0);
	SYS(ftruncate(file_make(scratch(), "empty", 1).descriptor, 0));
	snprintf(path, sizeof(path), "%s/empty", scratch());
	CHECK_EQ(try_file(&context, path), -EINVAL);
	context_close(&context);
}

TEST(files_in_memory_are_volatile)
{
	struct context context = context_open(1);
	struct file a = file_device(&context, "a", 10000);
	struct dma_shim_job job = job_of(1, a.handle, a.handle);

	if (strncmp(scratch(), "/dev/shm", 8))
		SKIP("no /dev/shm");
	CHECK_EQ(a.info.persistence, DMA_SHIM_VOLATILE);
	CHECK_EQ(a.info.flush_basis, DMA_SHIM_FLUSH_NONE);
	/* There is nothing to be done, and that succeeds. */
	job.flags = DMA_SHIM_JOB_FLUSH;
	CHECK_EQ(submit_one(&context, job, 0, 5000, 5000), 0);
	CHECK_EQ(next_done(&context).status, 0);
	context_close(&context);
}

/* Whether another process can take the lock of the file */
static bool is_free(const char *path)
{
	pid_t child;
	int status;

	child = SYS(fork());
	if (child == 0) {
		int descriptor = open(path, O_RDWR);

		_exit(descriptor < 0 || flock(descriptor, LOCK_EX | LOCK_NB));
	}
	SYS(waitpid(child, &status, 0));
	return status == 0;
}

TEST(a_device_belongs_to_one_opener)
{
	struct context context = context_open(1);
	struct context other = context_open(1);
	struct file a = file_make(scratch(), "a", 10000);
	int ready[2], done[2];
	pid_t child;
	char byte = 0;

	CHECK(is_free(a.path));
	file_open(&context, &a);
	CHECK(!is_free(a.path));
	CHECK_EQ(try_file(&context, a.path), -EWOULDBLOCK);
	CHECK_EQ(try_file(&other, a.path), -EWOULDBLOCK);
	CHECK_EQ(dma_shim_device_close(context.shim, a.handle), 0);
	CHECK(is_free(a.path));

	/* And the other way round: another process was first. */
	SYS(pipe(ready));
	SYS(pipe(done));
	child = SYS(fork());
	if (child == 0) {
		int descriptor = open(a.path, O_RDWR);

		if (flock(descriptor, LOCK_EX | LOCK_NB) ||
		    write(ready[1], &byte, 1) != 1 || read(done[0], &byte, 1) < 0)
			_exit(1);
		_exit(0);
	}
	CHECK_EQ(read(ready[0], &byte, 1), 1);
	CHECK_EQ(try_file(&other, a.path), -EWOULDBLOCK);
	CHECK_EQ(write(done[1], &byte, 1), 1);
	SYS(waitpid(child, NULL, 0));
	CHECK_EQ(try_file(&other, a.path), 0);
	context_close(&context);
	context_close(&other);
	CHECK(is_free(a.path));
}

TEST(handles_run_out_and_come_back)
{
	struct rlimit limit;
	struct context context = context_open(1);

	SYS(getrlimit(RLIMIT_NOFILE, &limit));
	limit.rlim_cur = limit.rlim_max < 4096 ? limit.rlim_max : 4096;
	SYS(setrlimit(RLIMIT_NOFILE, &limit));
	if (limit.rlim_cur < 700)
		SKIP("at most %lu open files", (unsigned long)limit.rlim_cur);
	for (uint32_t n = 0; n <= DMA_SHIM_MAX_DEVICES; n++) {
		char name[16];
		struct file file;

		snprintf(name, sizeof(name), "f%u", n);
		file = file_make(scratch(), name, 100);
		CHECK_EQ(try_file(&context, file.path),
			 n < DMA_SHIM_MAX_DEVICES ? (int)n : -ENFILE);
		/* Refused, it is not locked. */
		if (n == DMA_SHIM_MAX_DEVICES) {
			CHECK(is_free(file.path));
			CHECK_EQ(dma_shim_device_close(context.shim, 100), 0);
			CHECK_EQ(dma_shim_device_close(context.shim, 100), -EBADF);
			CHECK_EQ(try_file(&context, file.path), 100);
		}
		close(file.descriptor);
	}
	CHECK_EQ(dma_shim_device_close(context.shim, 256), -EBADF);
	CHECK_EQ(dma_shim_device_close(context.shim, DMA_SHIM_MEMORY), -EBADF);
	context_close(&context);
}

TEST(no_descriptor_left_is_reported)
{
	struct dma_shim_options options = { .cpu_threads = 1 };
	struct rlimit limit;
	struct dma_shim *shim;
	unsigned int used;
	unsigned int highest = 0;

	/* The limit is on numbers: leave no gap below the highest. */
	for (int n = 0; n < 1024; n++) {
		if (fcntl(n, F_GETFD) >= 0)
			highest = (unsigned int)n;
	}
	while (open_descriptors() <= highest)
		SYS(dup(0));
	used = open_descriptors();

	SYS(getrlimit(RLIMIT_NOFILE, &limit));
	for (rlim_t more = 0; more < 5; more++) {
		limit.rlim_cur = used + more;
		SYS(setrlimit(RLIMIT_NOFILE, &limit));
		CHECK_EQ(dma_shim_open(&options, &shim), -EMFILE);
		CHECK_EQ(open_descriptors(), used);
	}
	/* The two ends of the completions, what stops them, and two of the streams */
	limit.rlim_cur = used + 5;
	SYS(setrlimit(RLIMIT_NOFILE, &limit));
	CHECK_EQ(dma_shim_open(&options, &shim), 0);
	dma_shim_close(shim);
	CHECK_EQ(open_descriptors(), used);
}

TEST(only_character_devices_of_the_dax_subsystem_are_devdax)
{
	struct context context = context_open(1);
	struct dma_shim_device_spec spec = {
		.kind = DMA_SHIM_DEVDAX, .size = 2 * MIB, .align = 2 * MIB,
		.persistence = DMA_SHIM_VOLATILE,
	};

	/* Really asked of sysfs */
	CHECK_EQ(try(&context, "/dev/zero", spec), -EINVAL);
	hooks.subsystem = "class/mem";
	CHECK_EQ(try(&context, "/dev/zero", spec), -EINVAL);
	hooks.subsystem = "bus/notdax";
	CHECK_EQ(try(&context, "/dev/zero", spec), -EINVAL);
	hooks.subsystem = "bus/dax";
	CHECK_EQ(try(&context, scratch(), spec), -EISDIR);
	spec.align = 0;
	CHECK_EQ(try(&context, "/dev/zero", spec), -EINVAL);
	spec.align = 4 * MIB;
	CHECK_EQ(try(&context, "/dev/zero", spec), -EINVAL);
	spec.align = 2 * MIB;
	spec.size = 0;
	CHECK_EQ(try(&context, "/dev/zero", spec), -EINVAL);
	spec.size = 2 * MIB;
	spec.persistence = DMA_SHIM_BACKING_STORE;
	CHECK_EQ(try(&context, "/dev/zero", spec), -EINVAL);
	spec.persistence = 4;
	CHECK_EQ(try(&context, "/dev/zero", spec), -EINVAL);
	/* What mmap(2) says */
	spec.persistence = DMA_SHIM_VOLATILE;
	CHECK_EQ(try(&context, "/dev/null", spec), -ENODEV);
	context_close(&context);
}

TEST(lock_file_is_held_by_one)
{
	char path[300];
	struct stat stat;
	int descriptor;

	snprintf(path, sizeof(path), "%s/lock", scratch());
	descriptor = dma_shim_lock_file(path);
	CHECK(descriptor >= 0);
	SYS(fstat(descriptor, &stat));
	CHECK_EQ(stat.st_mode & 07777, 0600);
	CHECK(fcntl(descriptor, F_GETFD) & FD_CLOEXEC);
	CHECK(!is_free(path));
	CHECK_EQ(dma_shim_lock_file(path), -EWOULDBLOCK);
	close(descriptor);
	CHECK(is_free(path));
	descriptor = dma_shim_lock_file(path);
	CHECK(descriptor >= 0);
	close(descriptor);

	CHECK_EQ(dma_shim_lock_file(scratch()), -EISDIR);
	CHECK_EQ(dma_shim_lock_file("/nonexistent/lock"), -ENOENT);
	CHECK_EQ(dma_shim_lock_file(NULL), -EINVAL);
}
