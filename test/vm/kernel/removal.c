// SPDX-License-Identifier: GPL-2.0-only
/*
 * Something goes in the middle of a stream: the file, its process, the memory, the
 * channels, the module. Errors, never an oops; and the administrator's command does not
 * wait longer than requests in flight do.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "harness.h"

struct stream {
	int dma;
	uint32_t src, dst;
	atomic_bool stop;
	atomic_long done, gone, other;
	uint32_t status, error; /* of the last other one */
	atomic_int refused; /* errno of the submission that ended it */
	pthread_t thread;
};

/* Submits until it is told to stop or refused, and counts how each request ended. */
static void *stream(void *arg)
{
	struct stream *self = arg;
	struct ioat_dma_completion done[64];
	long in_flight = 0, submitted = 0, got, i;

	for (;;) {
		while (!self->stop && !self->refused && in_flight < 32) {
			/* never two to the same bytes at a time */
			struct ioat_dma_segment segment = {
				random() % 64 * MIB, submitted++ % 64 * MIB, MIB,
			};

			if (submit_one(self->dma, 1, self->src, self->dst, segment))
				self->refused = errno;
			else
				in_flight++;
		}
		if (!in_flight)
			return NULL;
		got = read(self->dma, done, sizeof(done));
		if (got < 0)
			FAIL("read: %s", strerror(errno));
		for (i = 0; i < got / (long)sizeof(done[0]); i++) {
			in_flight--;
			if (done[i].status == IOAT_DMA_DONE)
				self->done++;
			else if (done[i].status == IOAT_DMA_GONE)
				self->gone++;
			else {
				self->other++;
				self->status = done[i].status;
				self->error = done[i].error;
			}
		}
	}
}

static struct stream *stream_start(const char *to)
{
	struct stream *self = calloc(1, sizeof(*self));

	self->dma = dma_open();
	self->src = region_of(self->dma, DAX0, 0, 65 * MIB);
	self->dst = region_of(self->dma, to, 0, 65 * MIB);
	if (!strcmp(to, DAX0))
		FAIL("would overlap");
	EXPECT(!pthread_create(&self->thread, NULL, stream, self));
	while (self->done < 50)
		usleep(1000);
	return self;
}

static void stream_end(struct stream *self)
{
	self->stop = true;
	pthread_join(self->thread, NULL);
	printf("    %ld done, %ld gone, %ld else; then: %s\n", self->done, self->gone,
	       self->other, self->refused ? strerror(self->refused) : "went on");
	if (self->other)
		FAIL("status %u, error %u", self->status, self->error);
}

/* What an administrator does, here where processes start slowly. */
static void timed(const char *command)
{
	uint64_t start = now_ms();

	shell("%s", command);
	printf("    '%s' took %d ms\n", command, (int)(now_ms() - start));
	EXPECT(now_ms() - start < (uint64_t)patience(20000));
}

static void copies_work(void)
{
	struct device from = device_map(DAX0), to = device_map(DAX1);
	int dma = dma_open();
	uint32_t src = region_of(dma, DAX0, 0, MIB), dst = region_of(dma, DAX1, 0, MIB);

	wait_for_channels(dma, IOAT_DMA_CHANNEL_READY, 2, 15000);
	pattern(from.bytes, MIB, 5);
	memset(to.bytes, POISON, MIB);
	DO(submit_one(dma, 1, src, dst, (struct ioat_dma_segment){ 0, 0, MIB }));
	EXPECT_EQ(next_completion(dma).status, IOAT_DMA_DONE);
	EXPECT(is_pattern(to.bytes, MIB, 5));
	close(dma);
}

TEST(removal_of_the_file)
{
	int round, i;

	for (round = 0; round < 20; round++) {
		int dma = dma_open();
		uint32_t src = region_of(dma, DAX0, 0, 128 * MIB);
		uint32_t dst = region_of(dma, DAX1, 0, 128 * MIB);

		for (i = 0; i < 8; i++)
			DO(submit_one(dma, i, src, dst, (struct ioat_dma_segment){ 0, 0, 128 * MIB }));
		close(dma);
	}
	copies_work();
}

/* What the hardware had is done when close returns: nothing is written after it. */
TEST(removal_of_the_file_waits_for_the_hardware)
{
	struct device to = device_map(DAX1);
	int dma = dma_open();
	uint32_t src = region_of(dma, DAX0, 0, 64 * MIB), dst = region_of(dma, DAX1, 0, 64 * MIB);

	memset(to.bytes, 0, 64 * MIB);
	shell("fault delay=30msx*");
	DO(submit_one(dma, 1, src, dst, (struct ioat_dma_segment){ 0, 0, 64 * MIB }));
	close(dma);
	memset(to.bytes, POISON, 64 * MIB);
	shell("fault clear");
	usleep(500000);
	EXPECT(is_byte(to.bytes, 64 * MIB, POISON));
	copies_work();
}

TEST(removal_of_the_process)
{
	int round, i, status;

	for (round = 0; round < 10; round++) {
		pid_t pid = fork();

		if (pid == 0) {
			struct ioat_dma_legacy_copy copy = {
				.device_name = DAX0, .src_offset = 0, .dst_offset = 100 * MIB,
				.size = 100 * MIB,
			};
			int dma = dma_open();
			uint32_t src = region_of(dma, DAX0, 0, 128 * MIB);
			uint32_t dst = region_of(dma, DAX1, 0, 128 * MIB);

			for (;;) {
				for (i = 0; i < 8; i++)
					submit_one(dma, i, src, dst,
						   (struct ioat_dma_segment){ 0, 0, 128 * MIB });
				ioctl(dma, IOAT_DMA_LEGACY_COPY, &copy);
			}
		}
		usleep(50000 + round * 7000);
		kill(pid, SIGKILL);
		DO(waitpid(pid, &status, 0));
	}
	copies_work();
}

TEST(removal_of_the_memory)
{
	struct stream *self = stream_start(DAX1);
	struct ioat_dma_submit submit = { .size = sizeof(submit) };

	timed("ndctl disable-namespace namespace1.0 2>/dev/null");
	stream_end(self);
	EXPECT_EQ(self->refused, ENXIO);
	EXPECT_ERRNO(ENXIO, submit_one(self->dma, 1, self->src, self->dst,
				       (struct ioat_dma_segment){ 0, 0, 4096 }));
	timed("ndctl enable-namespace namespace1.0 2>/dev/null");
	/* back, at the same address: but that region is gone for good */
	EXPECT_ERRNO(ENXIO, submit_one(self->dma, 1, self->src, self->dst,
				       (struct ioat_dma_segment){ 0, 0, 4096 }));
	close(self->dma);
	copies_work();
}

/* The administrator's command waits for the hardware, however that ends. */
TEST(removal_of_the_memory_under_a_hung_channel)
{
	int dma = dma_open();
	uint32_t src = region_of(dma, DAX0, 0, MIB), dst = region_of(dma, DAX1, 0, MIB);
	struct ioat_dma_completion done;

	shell("fault hang");
	DO(submit_one(dma, 1, src, dst, (struct ioat_dma_segment){ 0, 0, 65536 }));
	timed("ndctl disable-namespace namespace1.0 2>/dev/null");
	done = next_completion(dma);
	EXPECT_EQ(done.status, IOAT_DMA_FAILED);
	EXPECT_EQ(done.error, IOAT_DMA_ERROR_LOST);
	shell("fault clear");
	timed("ndctl enable-namespace namespace1.0 2>/dev/null");
	copies_work();
}

TEST(removal_of_the_memory_again_and_again)
{
	int i;

	for (i = 0; i < 4; i++) {
		struct stream *self = stream_start(DAX1);

		timed("ndctl disable-namespace namespace1.0 2>/dev/null");
		stream_end(self);
		timed("ndctl enable-namespace namespace1.0 2>/dev/null");
		close(self->dma);
	}
	copies_work();
}

/* Submits all the while, to memory that is there, that is being taken apart, or that was. */
static void *insist(void *stop)
{
	int dma = dma_open();
	uint32_t src = region_of(dma, DAX0, 0, MIB), dst = region_of(dma, DAX1, 0, MIB);
	long refused = 0;

	while (!*(atomic_bool *)stop)
		if (!submit_one(dma, 1, src, dst, (struct ioat_dma_segment){ 0, 0, 4096 })) {
			next_completion(dma);
		} else {
			EXPECT_EQ(errno, ENXIO);
			refused++;
		}
	printf("    refused %ld times\n", refused);
	close(dma);
	return NULL;
}

/* On 5.10 get_dev_pagemap() must not be called then: it finds one without a reference count. */
TEST_TIMED(removal_of_the_memory_while_requests_begin, 120)
{
	atomic_bool stop = false;
	pthread_t thread;
	int i;

	EXPECT(!pthread_create(&thread, NULL, insist, &stop));
	usleep(100000);
	for (i = 0; i < 4; i++) {
		timed("ndctl disable-namespace namespace1.0 2>/dev/null");
		timed("ndctl enable-namespace namespace1.0 2>/dev/null");
	}
	stop = true;
	pthread_join(thread, NULL);
	copies_work();
}

static void says_gone(const char *interface, int error)
{
	if (error != ENXIO && error != ENODEV)
		FAIL("%s: %s", interface, strerror(error));
}

/* By path, which is not there either once the device is gone. */
static void says_gone_by_path(const char *interface, int error)
{
	if (error != ENOENT)
		says_gone(interface, error);
}

/* Regions made and copies by path started while the device comes and goes. */
static void *maker(void *stop)
{
	int dma = dma_open();
	struct ioat_dma_legacy_copy copy = {
		.device_name = DAX1, .src_offset = 0, .dst_offset = 32 * MIB, .size = MIB,
	};
	struct ioat_dma_legacy_start start = {
		.device_name = DAX1, .src_offset = 0, .dst_offset = 64 * MIB, .size = MIB,
	};
	struct ioat_dma_legacy_wait wait;
	uint64_t channel;
	bool reserved = !ioctl(dma, IOAT_DMA_LEGACY_RESERVE, &channel);

	start.device_id = wait.device_id = channel;
	while (!*(atomic_bool *)stop) {
		struct ioat_dma_region_create create = {
			.size = sizeof(create), .length = 32 * MIB, .fd = open(DAX1, O_RDWR),
		};
		struct ioat_dma_region_destroy destroy = { .size = sizeof(destroy) };

		if (create.fd >= 0 && !ioctl(dma, IOAT_DMA_REGION_CREATE, &create)) {
			destroy.region = create.out_region;
			DO(ioctl(dma, IOAT_DMA_REGION_DESTROY, &destroy));
		} else if (create.fd >= 0) {
			says_gone("a region", errno);
		}
		close(create.fd);
		if (ioctl(dma, IOAT_DMA_LEGACY_COPY, &copy))
			says_gone_by_path("a copy", errno);
		if (reserved && ioctl(dma, IOAT_DMA_LEGACY_START, &start))
			says_gone_by_path("a started copy", errno);
		else if (reserved && ioctl(dma, IOAT_DMA_LEGACY_WAIT, &wait))
			says_gone("a wait", errno);
	}
	return NULL;
}

TEST_TIMED(removal_of_the_memory_while_regions_are_made, 120)
{
	atomic_bool stop = false;
	pthread_t threads[2];
	int i;

	overlaps_are_meant(true);
	for (i = 0; i < 2; i++)
		EXPECT(!pthread_create(&threads[i], NULL, maker, &stop));
	for (i = 0; i < 8; i++) {
		timed("ndctl disable-namespace namespace1.0 2>/dev/null");
		timed("ndctl enable-namespace namespace1.0 2>/dev/null");
		usleep(200000);
	}
	stop = true;
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	overlaps_are_meant(false);
	copies_work();
}

TEST(removal_of_the_process_while_it_makes_regions)
{
	atomic_bool never = false;
	int round, status;

	for (round = 0; round < 20; round++) {
		pid_t pid = fork();

		if (pid == 0)
			maker(&never);
		usleep(20000 + round * 3100);
		kill(pid, SIGKILL);
		DO(waitpid(pid, &status, 0));
		EXPECT(WIFSIGNALED(status));
	}
	copies_work();
}

static void on_alarm(int signal)
{
	(void)signal;
}

/*
 * While the device loses its driver, which waits for a channel that hangs, a region of it
 * is waited for, and a signal ends that.
 */
TEST(removal_of_the_memory_and_a_signal)
{
	const struct itimerval often = { { 0, 20000 }, { 0, 20000 } }, never = { 0 };
	const struct sigaction action = { .sa_handler = on_alarm };
	int dma = dma_open(), status;
	uint32_t src = region_of(dma, DAX0, 0, MIB), dst = region_of(dma, DAX1, 0, MIB);
	struct ioat_dma_region_create create = {
		.size = sizeof(create), .length = 4096, .fd = DO(open(DAX1, O_RDWR)),
	};
	pid_t administrator;

	set_fault("hang");
	DO(submit_one(dma, 1, src, dst, (struct ioat_dma_segment){ 0, 0, 65536 }));
	administrator = fork();
	if (administrator == 0) {
		/* a shell may take longer to start than the channel hangs */
		DO(write(DO(open("/sys/bus/dax/drivers/device_dax/unbind", O_WRONLY)), "dax1.0", 6));
		_exit(0);
	}
	while (!submit_one(dma, 2, src, dst, (struct ioat_dma_segment){ 0, 65536, 1 }))
		usleep(5000);
	EXPECT_EQ(errno, ENXIO);
	DO(sigaction(SIGALRM, &action, NULL));
	DO(setitimer(ITIMER_REAL, &often, NULL));
	EXPECT_IOCTL_ERRNO(EINTR, dma, IOAT_DMA_REGION_CREATE, &create);
	DO(setitimer(ITIMER_REAL, &never, NULL));
	DO(waitpid(administrator, &status, 0));
	EXPECT_EQ(status, 0);
	EXPECT_IOCTL_ERRNO(ENXIO, dma, IOAT_DMA_REGION_CREATE, &create);
	set_fault("clear");
	/* bound again, the driver makes its cdev anew: what is open from before would oops */
	close(create.fd);
	close(dma);
	timed("echo dax1.0 > /sys/bus/dax/drivers/device_dax/bind");
	copies_work();
}

TEST(removal_of_the_driver)
{
	const char *slot = pci_slot();
	char command[200];
	int i;

	for (i = 0; i < 3; i++) {
		struct stream *self = stream_start(DAX1);
		uint32_t gone = channels_in(self->dma, IOAT_DMA_CHANNEL_GONE);

		snprintf(command, sizeof(command),
			 "echo %s > /sys/bus/pci/drivers/ioatdma/unbind", slot);
		timed(command);
		stream_end(self);
		EXPECT_EQ(self->refused, ENODEV);
		EXPECT_EQ(channels_in(self->dma, IOAT_DMA_CHANNEL_GONE), gone + 2);
		snprintf(command, sizeof(command),
			 "echo %s > /sys/bus/pci/drivers/ioatdma/bind", slot);
		timed(command);
		close(self->dma);
		copies_work();
	}
}

TEST(removal_of_the_driver_under_a_hung_channel)
{
	const char *slot = pci_slot();
	char command[200];
	int dma = dma_open();
	uint32_t src = region_of(dma, DAX0, 0, MIB), dst = region_of(dma, DAX1, 0, MIB);

	shell("fault hang");
	DO(submit_one(dma, 1, src, dst, (struct ioat_dma_segment){ 0, 0, 65536 }));
	snprintf(command, sizeof(command), "echo %s > /sys/bus/pci/drivers/ioatdma/unbind", slot);
	timed(command);
	EXPECT_EQ(next_completion(dma).status, IOAT_DMA_GONE);
	shell("fault clear");
	snprintf(command, sizeof(command), "echo %s > /sys/bus/pci/drivers/ioatdma/bind", slot);
	timed(command);
	copies_work();
}

TEST(removal_of_the_dma_device)
{
	char command[200];
	struct stream *self;

	snprintf(command, sizeof(command), "echo 1 > /sys/bus/pci/devices/%s/remove", pci_slot());
	self = stream_start(DAX1);
	timed(command);
	stream_end(self);
	EXPECT_EQ(self->refused, ENODEV);
	timed("echo 1 > /sys/bus/pci/rescan");
	copies_work();
}

/*
 * Pulled out, not asked: every register reads as all ones from then on. The driver warns
 * of what it finds, which is its own affair (--allow); requests end, and none is said to
 * be done that was not.
 */
TEST_TIMED(pulled_out, 150)
{
	struct device from = device_map(DAX0), to = device_map(DAX1);
	int dma = dma_open(), i, done = 0;
	uint32_t src = region_of(dma, DAX0, 0, 16 * MIB), dst = region_of(dma, DAX1, 0, 16 * MIB);
	char slot[64];

	if (!getenv("LAB_ALLOW") || !*getenv("LAB_ALLOW"))
		test_skip("the driver warns, and nobody said that it may");
	strcpy(slot, pci_slot());
	pattern(from.bytes, 16 * MIB, 41);
	memset(to.bytes, POISON, 16 * MIB);
	set_fault("remove@9");
	for (i = 0; i < 16; i++)
		DO(submit_one(dma, i, src, dst, (struct ioat_dma_segment){ i * MIB, i * MIB, MIB }));
	for (i = 0; i < 16; i++) {
		struct ioat_dma_completion completion = next_completion(dma);

		if (completion.status != IOAT_DMA_DONE)
			continue;
		done++;
		EXPECT(!memcmp(from.bytes + completion.tag * MIB, to.bytes + completion.tag * MIB, MIB));
	}
	printf("    %d of 16 were done\n", done);
	EXPECT(done <= 8);
	wait_for_channels(dma, IOAT_DMA_CHANNEL_READY, 0, 60000);
	close(dma);
	shell("echo 1 > /sys/bus/pci/devices/%s/remove", slot);
	set_fault("clear");
	timed("echo 1 > /sys/bus/pci/rescan");
	copies_work();
}

TEST(removal_of_the_module)
{
	int i;

	for (i = 0; i < 5; i++) {
		int dma = dma_open();
		uint32_t src = region_of(dma, DAX0, 0, 128 * MIB);
		uint32_t dst = region_of(dma, DAX1, 0, 128 * MIB);

		DO(submit_one(dma, 1, src, dst, (struct ioat_dma_segment){ 0, 0, 128 * MIB }));
		EXPECT(shell_status("rmmod ioat_dma 2>/dev/null") != 0);
		close(dma);
		timed("rmmod ioat_dma");
		timed(INSMOD);
		copies_work();
	}
}

/* With what a closed file left behind on a channel that hangs. */
TEST(removal_of_the_module_under_a_hung_channel)
{
	int dma = dma_open();
	uint32_t src = region_of(dma, DAX0, 0, MIB), dst = region_of(dma, DAX1, 0, MIB);

	shell("fault hangx*");
	DO(submit_one(dma, 1, src, dst, (struct ioat_dma_segment){ 0, 0, 65536 }));
	close(dma);
	timed("rmmod ioat_dma");
	shell("fault clear");
	timed(INSMOD);
	copies_work();
}

/* The module goes while the driver of its channels does. */
static void module_goes_beside(const char *driver, const char *device, unsigned int us)
{
	char path[128];
	pid_t rmmod = DO(fork());
	int status;

	if (rmmod == 0) {
		execlp("rmmod", "rmmod", "ioat_dma", NULL);
		_exit(1);
	}
	usleep(us);
	snprintf(path, sizeof(path), "%s/unbind", driver);
	sysfs_write(path, device);
	DO(waitpid(rmmod, &status, 0));
	EXPECT_EQ(status, 0);
	snprintf(path, sizeof(path), "%s/bind", driver);
	sysfs_write(path, device);
	shell(INSMOD);
}

TEST_TIMED(removal_of_the_module_beside_the_driver, 120)
{
	char slot[64];
	int i;

	strcpy(slot, pci_slot());
	for (i = 0; i < 4; i++) {
		int dma = dma_open();
		uint32_t src = region_of(dma, DAX0, 0, MIB), dst = region_of(dma, DAX1, 0, MIB);

		DO(submit_one(dma, 1, src, dst, (struct ioat_dma_segment){ 0, 0, MIB }));
		close(dma);
		module_goes_beside("/sys/bus/pci/drivers/ioatdma", slot, i * 3000);
		copies_work();
	}
}

/* With an operation that a closed file has left behind, if it may do that. */
TEST(removal_of_the_module_beside_a_driver_that_is_busy)
{
	struct ioat_dma_segment segment = { 0, 0, MIB };
	struct ioat_dma_submit submit;
	int dma = dma_open();

	lab_dma_load("hold=1");
	submit = submission(region_of(dma, DAX0, 0, MIB), region_of(dma, DAX1, 0, MIB), &segment, 1);
	submit.channel = lab_dma_channel(dma);
	DO(ioctl(dma, IOAT_DMA_SUBMIT, &submit));
	close(dma);
	module_goes_beside("/sys/bus/platform/drivers/lab_dma", "lab_dma", 500000);
	lab_dma_unload();
	copies_work();
}

/* A device that has nothing to do with DMA does not wait for one that has. */
TEST(removal_of_a_bystander)
{
	const char *slot = pci_slot();
	int dma = dma_open(), status, i;
	uint32_t src = region_of(dma, DAX0, 0, MIB), dst = region_of(dma, DAX1, 0, MIB);
	uint64_t start, took;
	pid_t unbind;

	shell("insmod /modules/lab_bystander.ko");
	set_fault("hangx*");
	for (i = 0; i < 4; i++)
		DO(submit_one(dma, i, src, dst, (struct ioat_dma_segment){ 0, i * 65536, 65536 }));
	unbind = sysfs_write_beside("/sys/bus/pci/drivers/ioatdma/unbind", slot);
	while (channels_in(dma, IOAT_DMA_CHANNEL_READY) == 2)
		usleep(1000);
	start = now_ms();
	sysfs_write("/sys/bus/platform/drivers/lab_bystander/unbind", "lab_bystander");
	took = now_ms() - start;
	DO(waitpid(unbind, &status, 0));
	printf("    it took %d ms, and that of ioatdma %d\n", (int)took, (int)(now_ms() - start));
	EXPECT(took < (uint64_t)patience(1000));
	set_fault("clear");
	sysfs_write("/sys/bus/pci/drivers/ioatdma/bind", slot);
	shell("rmmod lab_bystander");
	copies_work();
}
