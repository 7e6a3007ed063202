// SPDX-License-Identifier: Apache-2.0
/* SIGBUS: inside a job it is the job's failure, anywhere else as ever. */
#include "fixture.h"

#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static struct gate gate = GATE;

static void copy_at_gate(const struct stream_kernel *kernel, unsigned char *to,
			 const unsigned char *from, size_t size)
{
	gate_wait(&gate);
	__real_copy_streaming(kernel, to, from, size);
}

TEST(a_file_cut_short_under_a_job_ends_it)
{
	struct context context = context_open(2);
	struct file a = file_device(&context, "a", 8 * MIB);
	struct file b = file_device(&context, "b", 8 * MIB);
	struct dma_shim_segment segments[] = { { 0, 0, 2048 }, { 0, 0, 8 * MIB } };
	struct dma_shim_completion done;

	hooks.copy_streaming = copy_at_gate;
	CHECK_EQ(submit(&context, job_of(1, a.handle, b.handle), segments, 2), 0);
	gate_await(&gate, 2);
	SYS(ftruncate(b.descriptor, 4096));
	gate_let(&gate, GATE_OPEN);
	done = next_done(&context);
	CHECK_EQ(done.status, -ENXIO);
	CHECK_EQ(done.segment, 1);
	CHECK_EQ(done.bytes_done, 2048);

	/* The source, small segments, checksums; over and over on each thread */
	SYS(ftruncate(a.descriptor, 64 * KIB));
	for (unsigned int n = 0; n < 200; n++) {
		struct dma_shim_job job = job_of(2, a.handle, DMA_SHIM_NOWHERE);

		job.flags = DMA_SHIM_JOB_CHECKSUM;
		segments[0] = (struct dma_shim_segment) { 0, 0, 4096 };
		segments[1] = (struct dma_shim_segment) { 4 * MIB, 0, n % 2 ? 1 : 3 * MIB };
		CHECK_EQ(submit(&context, job, segments, 2), 0);
		done = next_done(&context);
		CHECK_EQ(done.status, -ENXIO);
		CHECK_EQ(done.segment, 1);
		CHECK_EQ(done.bytes_done, 4096);
	}
	/* What is still there can still be used. */
	CHECK_EQ(submit_one(&context, job_of(3, a.handle, a.handle), 0, 8192, 4096), 0);
	CHECK_EQ(next_done(&context).status, 0);
	context_close(&context);
}

/* They are copied as one; and if that faults, each by itself. */
TEST(segments_side_by_side_tell_which_of_them_failed)
{
	enum { COUNT = 64, BEFORE = 2 };

	for (uint32_t failing = 0; failing < COUNT; failing += 9) {
		struct context context = context_open(2);
		struct file a = file_device(&context, "a", MIB);
		struct dma_shim_segment segments[BEFORE + COUNT] = {
			/* Not to be repeated: the second one overwrites what the first one reads. */
			{ 0, 8192, 4096 },
			{ 4096, 0, 4096 },
		};
		struct dma_shim_completion done;

		memset(a.bytes, 1, 4096);
		memset(a.bytes + 4096, 2, 4096);
		memset(a.bytes + 64 * KIB, 3, 256 * KIB);
		for (uint32_t n = 0; n < COUNT; n++)
			segments[BEFORE + n] = (struct dma_shim_segment) {
				64 * KIB + n * 4096, 512 * KIB + n * 4096, 4096
			};
		SYS(ftruncate(a.descriptor, 512 * KIB + failing * 4096));
		CHECK_EQ(submit(&context, job_of(1, a.handle, a.handle), segments,
				BEFORE + COUNT), 0);
		done = next_done(&context);
		CHECK_EQ(done.status, -ENXIO);
		CHECK_EQ(done.segment, BEFORE + failing);
		CHECK_EQ(done.bytes_done, (BEFORE + failing) * 4096);
		CHECK_EQ(a.bytes[8192], 1);
		CHECK_EQ(a.bytes[0], 2);
		if (failing > 0)
			CHECK_EQ(a.bytes[512 * KIB + failing * 4096 - 1], 3);
		context_close(&context);
	}
}

TEST(other_jobs_go_on_beside_one_that_faults)
{
	struct context context = context_open(3);
	struct file a = file_device(&context, "a", 4 * MIB);
	struct file gone = file_device(&context, "gone", 4 * MIB);

	random_fill(a.bytes, 2 * MIB);
	SYS(ftruncate(gone.descriptor, 0));
	for (uint64_t n = 0; n < 100; n++) {
		CHECK_EQ(submit_one(&context, job_of(2 * n, a.handle, gone.handle),
				    0, 0, 2 * MIB + 1), 0);
		CHECK_EQ(submit_one(&context, job_of(2 * n + 1, a.handle, a.handle),
				    0, 2 * MIB, 2 * MIB), 0);
	}
	for (unsigned int n = 0; n < 200; n++) {
		struct dma_shim_completion done = next_done(&context);

		CHECK_EQ(done.status, done.tag % 2 ? 0 : -ENXIO);
	}
	CHECK(memcmp(a.bytes, a.bytes + 2 * MIB, 2 * MIB) == 0);
	context_close(&context);
}

TEST(a_fault_in_the_callers_memory_is_an_io_error)
{
	struct context context = context_open(1);
	struct file a = file_device(&context, "a", 1 * MIB);
	struct file memory = file_make(scratch(), "memory", 64 * KIB);
	struct dma_shim_job job = job_of(1, DMA_SHIM_MEMORY, a.handle);
	struct dma_shim_segment segment = { 0, 0, 64 * KIB };

	SYS(ftruncate(memory.descriptor, 4096));
	job.memory_size = memory.size;
	CHECK_EQ(dma_shim_submit(context.shim, &job, &segment, memory.bytes, NULL), 0);
	CHECK_EQ(next_done(&context).status, -EIO);
	context_close(&context);
}

/* Between a file and memory by read and write: what each of their answers means. */
static int io_error;
static unsigned int io_calls;

static ssize_t fail_io(void)
{
	/* An interruption and a short count are no failures. */
	if (io_calls++ == 0) {
		errno = EINTR;
		return -1;
	}
	errno = io_error;
	return -1;
}

static ssize_t failing_pread(int file, void *bytes, size_t size, off_t offset)
{
	if (io_calls == 1) {
		io_calls++;
		return __real_pread(file, bytes, size / 2, offset);
	}
	return io_error || !io_calls ? fail_io() : __real_pread(file, bytes, size, offset);
}

static ssize_t failing_pwrite(int file, const void *bytes, size_t size, off_t offset)
{
	if (io_calls == 1) {
		io_calls++;
		return __real_pwrite(file, bytes, size / 2, offset);
	}
	return io_error || !io_calls ? fail_io() : __real_pwrite(file, bytes, size, offset);
}

TEST(what_read_and_write_answer)
{
	static const struct { int error; int status; } answers[] = {
		{ 0, 0 }, { EIO, -EIO }, { EFAULT, -EIO },
		{ ENOSPC, -ENOSPC }, { EDQUOT, -ENOSPC },
	};
	struct context context = context_open(1);
	struct file a = file_device(&context, "a", 2 * MIB);
	unsigned char *memory = malloc(2 * MIB);
	struct dma_shim_segment segments[] = { { 0, 0, 4096 }, { 4096, 4096, MIB + 5 } };

	hooks.pread = failing_pread;
	hooks.pwrite = failing_pwrite;
	for (unsigned int n = 0; n < 2 * sizeof(answers) / sizeof(*answers); n++) {
		bool reads = n % 2;
		struct dma_shim_job job = reads ?
			job_of(1, a.handle, DMA_SHIM_MEMORY) :
			job_of(1, DMA_SHIM_MEMORY, a.handle);

		random_fill(reads ? a.bytes : memory, 2 * MIB);
		job.memory_size = 2 * MIB;
		job.segment_count = 2;
		io_error = answers[n / 2].error;
		io_calls = 0;
		CHECK_EQ(dma_shim_submit(context.shim, &job, segments, memory, NULL), 0);
		CHECK_EQ(next_done(&context).status, answers[n / 2].status);
		if (!io_error)
			CHECK(memcmp(a.bytes, memory, MIB + 4096 + 5) == 0);
	}
	free(memory);
	context_close(&context);
}

TEST(a_file_cut_short_is_neither_read_nor_made_longer)
{
	struct context context = context_open(1);
	struct file a = file_device(&context, "a", 2 * MIB);
	unsigned char *memory = calloc(1, 2 * MIB);
	struct dma_shim_segment segments[] = { { 0, 0, 4096 }, { MIB, MIB, 4096 } };

	SYS(ftruncate(a.descriptor, 64 * KIB));
	for (unsigned int n = 0; n < 2; n++) {
		struct dma_shim_job job = n ? job_of(1, a.handle, DMA_SHIM_MEMORY) :
					      job_of(1, DMA_SHIM_MEMORY, a.handle);
		struct dma_shim_completion done;
		struct stat stat;

		job.memory_size = 2 * MIB;
		job.segment_count = 2;
		CHECK_EQ(dma_shim_submit(context.shim, &job, segments, memory, NULL), 0);
		done = next_done(&context);
		CHECK_EQ(done.status, -ENXIO);
		CHECK_EQ(done.segment, 1);
		CHECK_EQ(done.bytes_done, 4096);
		SYS(fstat(a.descriptor, &stat));
		CHECK_EQ(stat.st_size, 64 * KIB);
	}
	free(memory);
	context_close(&context);
}

TEST(a_full_file_system_is_told_apart)
{
	struct context context = context_open(1);
	struct file a = file_device(&context, "a", 8 * MIB);
	struct file full;
	char directory[300];
	struct dma_shim_completion done;
	struct dma_shim_job upload = job_of(1, DMA_SHIM_MEMORY, 0);
	struct dma_shim_segment segment = { 0, 0, 8 * MIB };
	void *memory;

	upload.memory_size = 8 * MIB;
	snprintf(directory, sizeof(directory), "%s/full", scratch());
	SYS(mkdir(directory, 0700));
	/* In a mount namespace of this process, so that it goes with it */
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("full", directory, "tmpfs", 0, "size=2m"))
		SKIP("cannot mount a file system: %s", strerror(errno));
	full = file_make(directory, "full", 8 * MIB);
	file_open(&context, &full);
	memory = calloc(1, 8 * MIB);
	upload.destination = full.handle;
	CHECK_EQ(dma_shim_submit(context.shim, &upload, &segment, memory, NULL), 0);
	CHECK_EQ(next_done(&context).status, -ENOSPC);
	free(memory);

	CHECK_EQ(submit_one(&context, job_of(1, a.handle, full.handle), 0, 0, 8 * MIB), 0);
	done = next_done(&context);
	CHECK_EQ(done.status, -ENOSPC);
	CHECK_EQ(done.segment, 0);
	CHECK(done.bytes_done >= 1 * MIB && done.bytes_done <= 2 * MIB);
	CHECK_EQ(submit_one(&context, job_of(1, a.handle, full.handle), 0, 0, MIB), 0);
	CHECK_EQ(next_done(&context).status, 0);
	context_close(&context);
}

/* A bad page, as the kernel would tell of it; making one would be for good. */
static int fault_code;
static void *fault_address;

static void raise_fault(const struct stream_kernel *kernel, unsigned char *to,
			const unsigned char *from, size_t size)
{
	siginfo_t info = { .si_signo = SIGBUS, .si_code = fault_code };

	(void)kernel, (void)to, (void)from, (void)size;
	info.si_addr = fault_address;
	syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), SIGBUS, &info);
	FAIL("the signal was not delivered");
}

TEST(an_uncorrectable_memory_error_is_an_io_error)
{
	struct context context = context_open(1);
	struct file a = file_device(&context, "a", 2 * MIB);
	const struct device *device = context.shim->devices[a.handle];
	static const struct { int code; int status; } faults[] = {
		{ BUS_MCEERR_AR, -EIO },
		{ BUS_OBJERR, -EIO }, { BUS_ADRERR, -ENOSPC },
	};

	hooks.copy_streaming = raise_fault;
	fault_address = device->base + MIB + 7;
	for (unsigned int n = 0; n < sizeof(faults) / sizeof(*faults); n++) {
		fault_code = faults[n].code;
		CHECK_EQ(submit_one(&context, job_of(1, a.handle, a.handle), 0, MIB, MIB), 0);
		CHECK_EQ(next_done(&context).status, faults[n].status);
	}
	context_close(&context);
}

static void tell_of_bad_memory(const struct stream_kernel *kernel, unsigned char *to,
			       const unsigned char *from, size_t size)
{
	siginfo_t info = { .si_signo = SIGBUS, .si_code = BUS_MCEERR_AO };

	info.si_addr = fault_address;
	info.si_addr_lsb = 12;
	syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), SIGBUS, &info);
	__real_copy_streaming(kernel, to, from, size);
}

/* Found by the kernel's scrubber, say: nobody has read it, and nobody has failed. */
TEST(bad_memory_that_nobody_read_fails_no_job_and_is_told)
{
	struct context context = context_open(1);
	struct file a = file_device(&context, "a", 2 * MIB);
	struct file b = file_device(&context, "b", 2 * MIB);
	const struct device *device = context.shim->devices[a.handle];
	struct dma_shim_range bad[MAX_BAD];

	random_fill(b.bytes, b.size);
	CHECK_EQ(dma_shim_device_bad(context.shim, a.handle, bad, MAX_BAD), 0);
	hooks.copy_streaming = tell_of_bad_memory;
	/* Twice the same page: it is one block. */
	for (unsigned int n = 0; n < 2; n++) {
		fault_address = device->base + MIB + 7 + n;
		CHECK_EQ(submit_one(&context, job_of(1, b.handle, b.handle), 0, MIB, MIB), 0);
		CHECK_EQ(next_done(&context).status, 0);
		CHECK(memcmp(b.bytes, b.bytes + MIB, MIB) == 0);
	}
	/* Also where no job is */
	fault_address = device->base;
	tell_of_bad_memory(&stream_kernels[0], b.bytes, b.bytes + MIB, 64);

	CHECK_EQ(dma_shim_device_bad(context.shim, a.handle, bad, MAX_BAD), 2);
	CHECK_EQ(bad[0].offset, MIB);
	CHECK_EQ(bad[0].size, 4096);
	CHECK_EQ(bad[1].offset, 0);
	CHECK_EQ(dma_shim_device_bad(context.shim, a.handle, bad, 1), 1);
	CHECK_EQ(dma_shim_device_bad(context.shim, b.handle, bad, MAX_BAD), 0);
	for (uint64_t page = 2; page < 200; page++) {
		fault_address = device->base + page * 4096;
		tell_of_bad_memory(&stream_kernels[0], b.bytes, b.bytes + MIB, 64);
	}
	CHECK_EQ(dma_shim_device_bad(context.shim, a.handle, bad, MAX_BAD), MAX_BAD);
	CHECK_EQ(dma_shim_device_bad(context.shim, 200, bad, MAX_BAD), -EBADF);
	CHECK_EQ(dma_shim_device_bad(context.shim, a.handle, NULL, MAX_BAD), -EINVAL);
	context_close(&context);
}

/*
 * A thread may be told of bad memory while another one closes the device, and its signal handler
 * may have found the device before. Here it is held up at the device's first byte, which faults.
 */
static struct device *unreadable;
static _Atomic bool handler_at_device, handler_may_go_on, device_forgotten;

static void hold_up_the_handler(int signal)
{
	(void)signal;
	atomic_store(&handler_at_device, true);
	while (!atomic_load(&handler_may_go_on))
		usleep(1000);
	SYS(mprotect(unreadable, sizeof(*unreadable), PROT_READ | PROT_WRITE));
}

static void *be_told_of_bad_memory(void *page)
{
	fault_address = page;
	tell_of_bad_memory(&stream_kernels[0], page, page, 0);
	return NULL;
}

static void *forget_device(void *unused)
{
	(void)unused;
	sigbus_forget(unreadable);
	atomic_store(&device_forgotten, true);
	return NULL;
}

TEST(a_device_is_not_freed_while_a_signal_handler_is_at_it)
{
	struct context context = context_open(1);
	struct file a = file_make(scratch(), "a", 4096);
	void *memory = mmap(NULL, sizeof(*unreadable), PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_t told, forgets;

#ifdef __SANITIZE_THREAD__
	SKIP("the sanitizer itself reads the byte, and takes no signal there");
#endif
	unreadable = SYS(memory);
	unreadable->base = a.bytes;
	unreadable->size = a.size;
	sigbus_watch(unreadable);
	signal(SIGSEGV, hold_up_the_handler);
	SYS(mprotect(memory, sizeof(*unreadable), PROT_NONE));

	CHECK_EQ(pthread_create(&told, NULL, be_told_of_bad_memory, a.bytes), 0);
	while (!atomic_load(&handler_at_device))
		usleep(1000);
	CHECK_EQ(pthread_create(&forgets, NULL, forget_device, NULL), 0);
	usleep(100000);
	CHECK(!atomic_load(&device_forgotten));
	atomic_store(&handler_may_go_on, true);
	pthread_join(told, NULL);
	pthread_join(forgets, NULL);
	CHECK_EQ(unreadable->bad_count, 1);

	/* Nor does the handler find it afterwards. */
	context_close(&context);
	signal(SIGBUS, SIG_IGN);
	context = context_open(1);
	be_told_of_bad_memory(a.bytes);
	CHECK_EQ(unreadable->bad_count, 1);
	context_close(&context);
}

TEST(what_a_fault_means_for_each_kind_of_device)
{
	struct file a = file_make(scratch(), "a", 8192);
	struct device device = {
		.base = a.bytes, .size = a.size, .descriptor = a.descriptor,
		.kind = DMA_SHIM_FILE,
	};
	struct fault fault = { .code = BUS_ADRERR, .address = a.bytes + 5000 };

	CHECK_EQ(device_fault_status(&device, &fault), -ENOSPC);
	device.kind = DMA_SHIM_DEVDAX;
	CHECK_EQ(device_fault_status(&device, &fault), -ENXIO);
	fault.code = BUS_MCEERR_AR;
	CHECK_EQ(device_fault_status(&device, &fault), -EIO);
	fault.code = BUS_ADRERR;
	device.kind = DMA_SHIM_FILE;
	SYS(ftruncate(a.descriptor, 100));
	CHECK_EQ(device_fault_status(&device, &fault), -ENXIO);
	/* Reading the file fails, too: a descriptor that cannot stands in for it. */
	SYS(ftruncate(a.descriptor, 8192));
	device.descriptor = SYS(open(a.path, O_WRONLY));
	CHECK_EQ(device_fault_status(&device, &fault), -EIO);
}

/* Faults where no job is: the process dies as it would have. */
static int status_of(void (*function)(void))
{
	struct rlimit none = { 0, 0 };
	int status;
	pid_t child = SYS(fork());

	if (child == 0) {
		setrlimit(RLIMIT_CORE, &none);
		function();
		_exit(0);
	}
	SYS(waitpid(child, &status, 0));
	return status;
}

static struct context child_context;

static void touch_what_is_not_there(void)
{
	struct file gone = file_make(scratch(), "gone", 4096);

	SYS(ftruncate(gone.descriptor, 0));
	*(volatile unsigned char *)gone.bytes = 1;
}

static void fault_with_context(void)
{
	signal(SIGBUS, SIG_DFL);
	child_context = context_open(1);
	touch_what_is_not_there();
}

static void fault_with_context_and_ignored(void)
{
	signal(SIGBUS, SIG_IGN);
	child_context = context_open(1);
	touch_what_is_not_there();
}

static void kill_with_context(void)
{
	signal(SIGBUS, SIG_DFL);
	child_context = context_open(1);
	kill(getpid(), SIGBUS);
	pause();
}

static void kill_with_context_and_ignored(void)
{
	signal(SIGBUS, SIG_IGN);
	child_context = context_open(1);
	kill(getpid(), SIGBUS);
	_exit(42);
}

TEST(sigbus_outside_a_job_is_as_ever)
{
	int status;

	/* Each child opens its own context: threads do not survive a fork. */
	status = status_of(fault_with_context);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	status = status_of(fault_with_context_and_ignored);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	status = status_of(kill_with_context);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	status = status_of(kill_with_context_and_ignored);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42);
}

static sigjmp_buf back;
static volatile int handled;
static void *volatile handled_address;

static void own_handler(int signal, siginfo_t *info, void *ucontext)
{
	(void)signal;
	(void)ucontext;
	handled++;
	handled_address = info->si_addr;
	if (info->si_code > 0)
		siglongjmp(back, 1);
}

static void own_plain_handler(int signal)
{
	(void)signal;
	handled += 100;
}

/* The callers' handler goes on getting what is the caller's. */
TEST(the_handler_before_ours_is_called)
{
	struct sigaction own = { .sa_sigaction = own_handler, .sa_flags = SA_SIGINFO };
	struct sigaction now;
	struct file gone = file_make(scratch(), "gone", 4096);
	struct context context, other;
	struct file a;

	SYS(sigaction(SIGBUS, &own, NULL));
	context = context_open(1);
	a = file_device(&context, "a", 2 * MIB);
	SYS(ftruncate(gone.descriptor, 0));
	for (int n = 1; n <= 3; n++) {
		if (!sigsetjmp(back, 1))
			*(volatile unsigned char *)gone.bytes = 1;
		CHECK_EQ(handled, n);
		CHECK(handled_address == gone.bytes);
	}
	kill(getpid(), SIGBUS);
	CHECK_EQ(handled, 4);

	/* Ours is still there for jobs... */
	SYS(ftruncate(a.descriptor, 0));
	CHECK_EQ(submit_one(&context, job_of(1, a.handle, a.handle), 0, MIB, MIB), 0);
	CHECK_EQ(next_done(&context).status, -ENXIO);
	CHECK_EQ(handled, 4);

	/* ...as long as there is a context. */
	other = context_open(1);
	context_close(&context);
	SYS(sigaction(SIGBUS, NULL, &now));
	CHECK(now.sa_sigaction != own_handler);
	context_close(&other);
	SYS(sigaction(SIGBUS, NULL, &now));
	CHECK(now.sa_sigaction == own_handler);

	/* One without siginfo, too */
	signal(SIGBUS, own_plain_handler);
	context = context_open(1);
	kill(getpid(), SIGBUS);
	CHECK_EQ(handled, 104);
	context_close(&context);
}

/* A handler that was installed over ours stays, and calls ours. */
static struct sigaction beneath;

static void stacked_handler(int signal, siginfo_t *info, void *ucontext)
{
	handled++;
	beneath.sa_sigaction(signal, info, ucontext);
}

TEST(a_handler_on_top_of_ours_stays_there)
{
	struct sigaction stacked = {
		.sa_sigaction = stacked_handler, .sa_flags = SA_SIGINFO,
	};
	struct sigaction now;

	for (unsigned int round = 0; round < 3; round++) {
		struct context context = context_open(1);
		struct file a = file_device(&context, "a", 2 * MIB);

		if (round == 0)
			SYS(sigaction(SIGBUS, &stacked, &beneath));
		SYS(ftruncate(a.descriptor, 0));
		for (handled = 0; handled < 3;) {
			int before = handled;

			CHECK_EQ(submit_one(&context, job_of(1, a.handle, a.handle),
					    0, MIB, MIB), 0);
			CHECK_EQ(next_done(&context).status, -ENXIO);
			CHECK_EQ(handled, before + 1);
		}
		context_close(&context);
		SYS(sigaction(SIGBUS, NULL, &now));
		CHECK(now.sa_sigaction == stacked_handler);
	}
}

/* kill(2) may hit a thread that is in the middle of a job. */
static void signal_self(const struct stream_kernel *kernel, unsigned char *to,
			const unsigned char *from, size_t size)
{
	raise(SIGBUS);
	__real_copy_streaming(kernel, to, from, size);
}

TEST(a_sigbus_that_was_sent_is_not_the_jobs)
{
	struct context context;
	struct file a;

	signal(SIGBUS, own_plain_handler);
	context = context_open(1);
	a = file_device(&context, "a", 2 * MIB);
	hooks.copy_streaming = signal_self;
	CHECK_EQ(submit_one(&context, job_of(1, a.handle, a.handle), 0, MIB, MIB), 0);
	CHECK_EQ(next_done(&context).status, 0);
	CHECK_EQ(handled, 100);
	context_close(&context);
}

/* Signals that the caller handles go to the caller's threads. */
static volatile pid_t signalled_thread;

static void note_thread(int signal)
{
	(void)signal;
	signalled_thread = gettid();
}

TEST(the_callers_signals_stay_with_its_threads)
{
	struct context context = context_open(4);
	sigset_t blocked, before;

	signal(SIGUSR1, note_thread);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	sigprocmask(SIG_BLOCK, &blocked, &before);
	kill(getpid(), SIGUSR1);
	usleep(20000);
	CHECK_EQ(signalled_thread, 0);
	sigprocmask(SIG_SETMASK, &before, NULL);
	CHECK_EQ(signalled_thread, getpid());
	context_close(&context);
}
