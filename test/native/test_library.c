// SPDX-License-Identifier: Apache-2.0
/* The shared object itself, as a foreign-function library uses it. */
#include "fixture.h"

#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOAD(handle, name) ((__typeof__(&name))dlsym(handle, #name))

static void *load(void)
{
	const char *path = getenv("DMA_SHIM_LIBRARY");
	void *handle;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	SKIP("the shared object is built without the sanitizer");
#endif
	if (!path)
		SKIP("DMA_SHIM_LIBRARY does not name the shared object");
	handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!handle)
		FAIL("%s", dlerror());
	return handle;
}

TEST(the_library_exports_its_interface_and_nothing_else)
{
	void *handle = load();

	CHECK(LOAD(handle, dma_shim_version));
	CHECK_EQ(LOAD(handle, dma_shim_abi)(), DMA_SHIM_ABI);
	CHECK(LOAD(handle, dma_shim_prepare));
	CHECK(LOAD(handle, dma_shim_open) && LOAD(handle, dma_shim_close));
	CHECK(LOAD(handle, dma_shim_completion_fd));
	CHECK(LOAD(handle, dma_shim_device_open) && LOAD(handle, dma_shim_device_close));
	CHECK(LOAD(handle, dma_shim_submit) && LOAD(handle, dma_shim_cancel));
	CHECK(LOAD(handle, dma_shim_cpu_info) && LOAD(handle, dma_shim_lock_file));
	CHECK(LOAD(handle, dma_shim_peer_uid) && LOAD(handle, dma_shim_socket_ready));
	CHECK(!dlsym(handle, "crc32c"));
	CHECK(!dlsym(handle, "job_retire"));
	CHECK(!dlsym(handle, "stream_kernels"));
}

TEST(the_library_outlives_dlclose_while_its_threads_run)
{
	void *handle = load();
	struct dma_shim_options options = { .cpu_threads = 4 };
	struct dma_shim_device_spec spec = { .kind = DMA_SHIM_FILE };
	struct dma_shim_device_info info;
	struct file file = file_make(scratch(), "a", 8 * MIB);
	struct dma_shim *shim;
	__typeof__(&dma_shim_submit) submit_job = LOAD(handle, dma_shim_submit);
	int device;

	CHECK_EQ(LOAD(handle, dma_shim_open)(&options, &shim), 0);
	device = LOAD(handle, dma_shim_device_open)(shim, file.path, &spec, &info);
	CHECK(device >= 0);
	for (uint64_t n = 0; n < 50; n++) {
		struct dma_shim_job job = job_of(n, (uint32_t)device, (uint32_t)device);
		struct dma_shim_segment segment = { 0, 4 * MIB, 4 * MIB };

		CHECK_EQ(submit_job(shim, &job, &segment, NULL, NULL), 0);
	}
	dlclose(handle);
	usleep(10000);
	/* And the process ends with threads in the middle of a copy. */
}
