/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What most tests need: a context with its socket, files as devices, jobs in a
 * line, and the seams at which a test can watch the library or hold it up.
 */
#ifndef FIXTURE_H
#define FIXTURE_H

#include <pthread.h>
#include <stdatomic.h>

#include "../../native-shim/src/internal.h"
#include "harness.h"

#define KIB UINT64_C(1024)
#define MIB (UINT64_C(1024) * KIB)

struct context {
	struct dma_shim *shim;
	int socket;
};

/* A device, and a second mapping of the same file for the test to look at */
struct file {
	uint32_t handle;
	uint64_t size;
	unsigned char *bytes;
	int descriptor;
	char path[300];
	struct dma_shim_device_info info;
};

struct context context_open(uint32_t threads);
void context_close(struct context *context);

struct file file_make(const char *directory, const char *name, uint64_t size);
void file_open(struct context *context, struct file *file);
struct file file_device(struct context *context, const char *name, uint64_t size);

#define DAX_SIZE (8 * MIB)
uint32_t fake_dax(struct context *context, const char *name, uint32_t persistence,
		  struct dma_shim_device_info *info);
struct file disk_device(struct context *context, const char *name, uint64_t size);

struct dma_shim_job job_of(uint64_t tag, uint32_t source, uint32_t destination);
int submit(struct context *context, struct dma_shim_job job,
	   const struct dma_shim_segment *segments, uint32_t count);
int submit_one(struct context *context, struct dma_shim_job job,
	       uint64_t from, uint64_t to, uint64_t size);

bool next_record(struct context *context, struct dma_shim_completion *record);
struct dma_shim_completion next_done(struct context *context);
struct dma_shim_completion done_of(struct context *context, uint64_t tag);
void no_more_records(struct context *context);
void wait_until_idle(struct dma_shim *shim);

/*
 * Seams, made by the linker's --wrap: none of this is in the library. A hook
 * that is set is called instead of the function, by whichever thread.
 */
struct hooks {
	void (*copy_streaming)(const struct stream_kernel *kernel, unsigned char *to,
			       const unsigned char *from, size_t size);
	const struct copy_plan *plan;   /* else large segments are streamed */
	ssize_t (*pread)(int file, void *bytes, size_t size, off_t offset);
	ssize_t (*pwrite)(int file, const void *bytes, size_t size, off_t offset);
	uint32_t (*crc32c)(uint32_t crc, const void *bytes, size_t size);
	void (*write_back)(const unsigned char *start, size_t size);
	int (*msync)(void *start, size_t size, int flags);
	ssize_t (*send)(int socket, const void *bytes, size_t size, int flags);
	const struct cpu_features *features;
	unsigned int cpus;              /* that this process may run on */
	const char *subsystem;          /* of every character device in sysfs */
	const char *(*sysfs)(const char *path); /* a file's text; NULL: not there */
	_Atomic int allocations;        /* which one fails, counted from 1; 0: none */
	_Atomic int threads;            /* likewise */
};

extern struct hooks hooks;

void __real_copy_streaming(const struct stream_kernel *kernel, unsigned char *to,
			   const unsigned char *from, size_t size);
const struct copy_plan *__real_copy_plan(void);
bool __real_sysfs_read(const char *path, char *text, size_t size);
ssize_t __real_pread(int file, void *bytes, size_t size, off_t offset);
ssize_t __real_pwrite(int file, const void *bytes, size_t size, off_t offset);
uint32_t __real_crc32c(uint32_t crc, const void *bytes, size_t size);
void __real_write_back(const unsigned char *start, size_t size);
int __real_msync(void *start, size_t size, int flags);
ssize_t __real_send(int socket, const void *bytes, size_t size, int flags);
const struct cpu_features *__real_cpu_features(void);
unsigned int __real_cpu_count(void);
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
			  void *(*main)(void *), void *argument);
ssize_t __real_readlink(const char *path, char *target, size_t size);

/* A place where threads of the library wait until the test lets them go on */
struct gate {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned int arrived;
	unsigned int passes;
};

#define GATE { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0 }
#define GATE_OPEN UINT32_MAX

void gate_wait(struct gate *gate);              /* by the library's thread */
void gate_await(struct gate *gate, unsigned int arrived);
void gate_let(struct gate *gate, unsigned int passes);

#endif /* FIXTURE_H */
