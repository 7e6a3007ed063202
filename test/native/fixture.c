// SPDX-License-Identifier: Apache-2.0
#include "fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

struct hooks hooks;

struct context context_open(uint32_t threads)
{
	struct dma_shim_options options = { .cpu_threads = threads };
	struct context context;

	CHECK_EQ(dma_shim_open(&options, &context.shim), 0);
	context.socket = dma_shim_completion_fd(context.shim);
	CHECK(context.socket >= 0);
	return context;
}

void context_close(struct context *context)
{
	dma_shim_close(context->shim);
	close(context->socket);
}

struct file file_make(const char *directory, const char *name, uint64_t size)
{
	struct file file = { .size = size };
	void *bytes;

	snprintf(file.path, sizeof(file.path), "%s/%s", directory, name);
	file.descriptor = SYS(open(file.path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	SYS(ftruncate(file.descriptor, (off_t)size));
	bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file.descriptor, 0);
	file.bytes = SYS(bytes);
	return file;
}

void file_open(struct context *context, struct file *file)
{
	struct dma_shim_device_spec spec = { .kind = DMA_SHIM_FILE };
	int handle = dma_shim_device_open(context->shim, file->path, &spec, &file->info);

	CHECK(handle >= 0);
	CHECK_EQ(file->info.size, file->size);
	file->handle = (uint32_t)handle;
}

struct file file_device(struct context *context, const char *name, uint64_t size)
{
	struct file file = file_make(scratch(), name, size);

	file_open(context, &file);
	return file;
}

struct file disk_device(struct context *context, const char *name, uint64_t size)
{
	struct file file = file_make(scratch_on_disk(), name, size);

	file_open(context, &file);
	CHECK_EQ(file.info.persistence, DMA_SHIM_BACKING_STORE);
	CHECK_EQ(file.info.flush_basis, DMA_SHIM_FLUSH_MSYNC);
	return file;
}

/*
 * A character device that maps and is nobody else's: the number of /dev/zero
 * under a name of our own, with sysfs saying that it is dax.
 */
uint32_t fake_dax(struct context *context, const char *name, uint32_t persistence,
		  struct dma_shim_device_info *info)
{
	struct dma_shim_device_spec spec = {
		.kind = DMA_SHIM_DEVDAX, .size = DAX_SIZE, .align = 4096,
		.persistence = persistence,
	};
	char path[300];
	int handle;

	snprintf(path, sizeof(path), "%s/%s", scratch(), name);
	if (mknod(path, S_IFCHR | 0600, makedev(1, 5)))
		SKIP("cannot make a character device: %s", strerror(errno));
	hooks.subsystem = "bus/dax";
	handle = dma_shim_device_open(context->shim, path, &spec, info);
	if (handle == -EACCES)
		SKIP("devices cannot be opened in %s", scratch());
	CHECK(handle >= 0);
	return (uint32_t)handle;
}

struct dma_shim_job job_of(uint64_t tag, uint32_t source, uint32_t destination)
{
	return (struct dma_shim_job) {
		.tag = tag,
		.source = source,
		.destination = destination,
		.engine = DMA_SHIM_ENGINE_CPU,
		.priority = DMA_SHIM_NORMAL,
		.segment_count = 1,
	};
}

int submit(struct context *context, struct dma_shim_job job,
	   const struct dma_shim_segment *segments, uint32_t count)
{
	job.segment_count = count;
	return dma_shim_submit(context->shim, &job, segments, NULL, NULL);
}

int submit_one(struct context *context, struct dma_shim_job job,
	       uint64_t from, uint64_t to, uint64_t size)
{
	struct dma_shim_segment segment = { from, to, size };

	return submit(context, job, &segment, 1);
}

/* Wait for the next record, whole; false at the end of file. */
bool next_record(struct context *context, struct dma_shim_completion *record)
{
	size_t have = 0;

	while (have < sizeof(*record)) {
		struct pollfd readable = { .fd = context->socket, .events = POLLIN };
		ssize_t got = read(context->socket, (char *)record + have,
				   sizeof(*record) - have);

		if (got > 0) {
			have += (size_t)got;
		} else if (got == 0) {
			CHECK_EQ(have, 0);
			return false;
		} else if (errno == EAGAIN) {
			poll(&readable, 1, -1);
		} else if (errno != EINTR) {
			FAIL("read: %s", strerror(errno));
		}
	}
	CHECK(record->kind == DMA_SHIM_PROGRESS || record->kind == DMA_SHIM_DONE);
	if (record->kind == DMA_SHIM_PROGRESS) {
		CHECK_EQ(record->finished_ns, 0);
		CHECK_EQ(record->status, 0);
	} else {
		CHECK(record->started_ns && record->finished_ns >= record->started_ns);
		CHECK(record->copy_ns + record->flush_ns + record->verify_ns <=
		      record->finished_ns - record->started_ns);
	}
	return true;
}

struct dma_shim_completion next_done(struct context *context)
{
	struct dma_shim_completion record;

	do {
		if (!next_record(context, &record))
			FAIL("end of file on the completion socket");
	} while (record.kind != DMA_SHIM_DONE);
	return record;
}

struct dma_shim_completion done_of(struct context *context, uint64_t tag)
{
	struct dma_shim_completion record = next_done(context);

	CHECK_EQ(record.tag, tag);
	return record;
}

void no_more_records(struct context *context)
{
	char byte;

	CHECK(read(context->socket, &byte, 1) < 0 && errno == EAGAIN);
}

void wait_until_idle(struct dma_shim *shim)
{
	bool idle = false;

	while (!idle) {
		pthread_mutex_lock(&shim->lock);
		idle = shim->pool.idle == shim->pool.thread_count;
		pthread_mutex_unlock(&shim->lock);
		sched_yield();
	}
}

void gate_wait(struct gate *gate)
{
	pthread_mutex_lock(&gate->lock);
	gate->arrived++;
	pthread_cond_broadcast(&gate->changed);
	while (!gate->passes)
		pthread_cond_wait(&gate->changed, &gate->lock);
	if (gate->passes != GATE_OPEN)
		gate->passes--;
	pthread_mutex_unlock(&gate->lock);
}

/* Wait until that many have come to the gate, in all. */
void gate_await(struct gate *gate, unsigned int arrived)
{
	pthread_mutex_lock(&gate->lock);
	while (gate->arrived < arrived)
		pthread_cond_wait(&gate->changed, &gate->lock);
	pthread_mutex_unlock(&gate->lock);
}

void gate_let(struct gate *gate, unsigned int passes)
{
	pthread_mutex_lock(&gate->lock);
	gate->passes = passes;
	pthread_cond_broadcast(&gate->changed);
	pthread_mutex_unlock(&gate->lock);
}

void __wrap_copy_streaming(const struct stream_kernel *kernel, unsigned char *to,
			   const unsigned char *from, size_t size);
void __wrap_copy_streaming(const struct stream_kernel *kernel, unsigned char *to,
			   const unsigned char *from, size_t size)
{
	if (hooks.copy_streaming)
		hooks.copy_streaming(kernel, to, from, size);
	else
		__real_copy_streaming(kernel, to, from, size);
}

/* What is measured differs from run to run; a test has to know what happens. */
const struct copy_plan *__wrap_copy_plan(void);
const struct copy_plan *__wrap_copy_plan(void)
{
	static _Thread_local struct copy_plan plan;
	unsigned int best = 0;

	if (hooks.plan)
		return hooks.plan;
	while (!stream_kernel_usable(&stream_kernels[best]))
		best++;
	plan = (struct copy_plan) {
		.fastest = &stream_kernels[best],
		.uncached = &stream_kernels[best],
		.stream_from = STREAM_SEGMENT_MIN,
		.threads = 1,
	};
	return &plan;
}

ssize_t __wrap_pread(int file, void *bytes, size_t size, off_t offset);
ssize_t __wrap_pread(int file, void *bytes, size_t size, off_t offset)
{
	return hooks.pread ? hooks.pread(file, bytes, size, offset) :
			     __real_pread(file, bytes, size, offset);
}

ssize_t __wrap_pwrite(int file, const void *bytes, size_t size, off_t offset);
ssize_t __wrap_pwrite(int file, const void *bytes, size_t size, off_t offset)
{
	return hooks.pwrite ? hooks.pwrite(file, bytes, size, offset) :
			      __real_pwrite(file, bytes, size, offset);
}

uint32_t __wrap_crc32c(uint32_t crc, const void *bytes, size_t size);
uint32_t __wrap_crc32c(uint32_t crc, const void *bytes, size_t size)
{
	return hooks.crc32c ? hooks.crc32c(crc, bytes, size) :
			      __real_crc32c(crc, bytes, size);
}

void __wrap_write_back(const unsigned char *start, size_t size);
void __wrap_write_back(const unsigned char *start, size_t size)
{
	if (hooks.write_back)
		hooks.write_back(start, size);
	else
		__real_write_back(start, size);
}

int __wrap_msync(void *start, size_t size, int flags);
int __wrap_msync(void *start, size_t size, int flags)
{
	return hooks.msync ? hooks.msync(start, size, flags) :
			     __real_msync(start, size, flags);
}

ssize_t __wrap_send(int socket, const void *bytes, size_t size, int flags);
ssize_t __wrap_send(int socket, const void *bytes, size_t size, int flags)
{
	return hooks.send ? hooks.send(socket, bytes, size, flags) :
			    __real_send(socket, bytes, size, flags);
}

const struct cpu_features *__wrap_cpu_features(void);
const struct cpu_features *__wrap_cpu_features(void)
{
	return hooks.features ? hooks.features : __real_cpu_features();
}

unsigned int __wrap_cpu_count(void);
unsigned int __wrap_cpu_count(void)
{
	return hooks.cpus ? hooks.cpus : __real_cpu_count();
}

ssize_t __wrap_readlink(const char *path, char *target, size_t size);
ssize_t __wrap_readlink(const char *path, char *target, size_t size)
{
	if (!hooks.subsystem || strncmp(path, "/sys/dev/char/", 14))
		return __real_readlink(path, target, size);
	return snprintf(target, size, "../../../%s", hooks.subsystem);
}

bool __wrap_sysfs_read(const char *path, char *text, size_t size);
bool __wrap_sysfs_read(const char *path, char *text, size_t size)
{
	const char *found;

	if (!hooks.sysfs)
		return __real_sysfs_read(path, text, size);
	found = hooks.sysfs(path);
	if (found)
		snprintf(text, size, "%s", found);
	return found;
}

/* The one that fails is the last that is counted. */
static bool fails(_Atomic int *countdown)
{
	return *countdown && atomic_fetch_sub(countdown, 1) == 1;
}

void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size)
{
	return fails(&hooks.allocations) ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
	return fails(&hooks.allocations) ? NULL : __real_calloc(count, size);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
			  void *(*main)(void *), void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
			  void *(*main)(void *), void *argument)
{
	return fails(&hooks.threads) ? EAGAIN :
	       __real_pthread_create(thread, attributes, main, argument);
}
