// SPDX-License-Identifier: Apache-2.0
#include "guest.h"

#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t attribute(unsigned int number, const char *name)
{
	char path[100];
	uint64_t value;
	FILE *file;

	snprintf(path, sizeof(path), "/sys/bus/dax/devices/dax%u.0/%s", number, name);
	file = SYS(fopen(path, "r"));
	CHECK_EQ(fscanf(file, "%" SCNi64, &value), 1);
	fclose(file);
	return value;
}

struct dax dax_open(struct dma_shim *shim, unsigned int number)
{
	struct dma_shim_device_spec spec = {
		.size = attribute(number, "size"), .align = attribute(number, "align"),
		.kind = DMA_SHIM_DEVDAX, .persistence = DMA_SHIM_MEMORY_CONTROLLER,
	};
	struct dma_shim_device_info info;
	struct dax dax = { .size = spec.size };
	char path[32];
	int descriptor;
	int handle;

	snprintf(path, sizeof(path), "/dev/dax%u.0", number);
	handle = dma_shim_device_open(shim, path, &spec, &info);
	CHECK(handle >= 0);
	dax.handle = (uint32_t)handle;
	descriptor = SYS(open(path, O_RDWR));
	dax.bytes = SYS(mmap(NULL, dax.size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0));
	close(descriptor);
	return dax;
}

/* Both devices attached, every channel ready, no fault set. */
struct lab lab_open(void)
{
	struct dma_shim_options options = { .cpu_threads = 2 };
	struct lab lab;

	fault("clear");
	CHECK_EQ(dma_shim_open(&options, &lab.shim), 0);
	lab.socket = dma_shim_completion_fd(lab.shim);
	CHECK_EQ(dma_shim_dma_open(lab.shim, MODULE, &lab.info), 0);
	lab.a = dax_open(lab.shim, 0);
	lab.b = dax_open(lab.shim, 1);
	CHECK_EQ(dma_shim_dma_attach(lab.shim, lab.a.handle), 0);
	CHECK_EQ(dma_shim_dma_attach(lab.shim, lab.b.handle), 0);
	return lab;
}

void lab_close(struct lab *lab)
{
	fault("clear");
	munmap(lab->a.bytes, lab->a.size);
	munmap(lab->b.bytes, lab->b.size);
	dma_shim_close(lab->shim);
	close(lab->socket);
}

int shell(const char *format, ...)
{
	char command[1000];
	va_list arguments;
	int status;

	va_start(arguments, format);
	vsnprintf(command, sizeof(command), format, arguments);
	va_end(arguments);
	status = system(command);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* Set a fault in the I/OAT device, or clear them. */
void fault(const char *spec)
{
	CHECK_EQ(shell("fault '%s' >/dev/null", spec), 0);
}

/* Wait until that many channels take work; the test's time limit is the limit. */
void await_channels(struct lab *lab, uint32_t count)
{
	do {
		CHECK_EQ(dma_shim_dma_info(lab->shim, &lab->info), 0);
		usleep(5000);
	} while (lab->info.channels != count);
}

struct dma_shim_channel_info channel_of(struct lab *lab, uint32_t channel)
{
	struct dma_shim_channel_info info;

	CHECK_EQ(dma_shim_dma_channel(lab->shim, channel, &info), 0);
	return info;
}

struct dma_shim_job dma_job(uint64_t tag, const struct dax *source,
			    const struct dax *destination)
{
	return (struct dma_shim_job) {
		.tag = tag,
		.source = source->handle,
		.destination = destination->handle,
		.engine = DMA_SHIM_ENGINE_DMA,
		.priority = DMA_SHIM_NORMAL,
		.segment_count = 1,
	};
}

int submit(struct lab *lab, struct dma_shim_job job,
	   const struct dma_shim_segment *segments, uint32_t count)
{
	job.segment_count = count;
	return dma_shim_submit(lab->shim, &job, segments, NULL, NULL);
}

int submit_one(struct lab *lab, struct dma_shim_job job, uint64_t from, uint64_t to,
	       uint64_t size)
{
	struct dma_shim_segment segment = { from, to, size };

	return submit(lab, job, &segment, 1);
}

/* Wait until a channel has work in hand. Which ones there are changes as drivers come and go. */
void await_work(struct lab *lab)
{
	for (;;) {
		for (uint32_t n = 0; n < lab->info.channel_limit; n++) {
			struct dma_shim_channel_info info;

			if (!dma_shim_dma_channel(lab->shim, n, &info) && info.in_flight)
				return;
		}
		usleep(1000);
	}
}

struct dma_shim_completion next_done(struct lab *lab)
{
	struct dma_shim_completion record;
	struct pollfd readable = { .fd = lab->socket, .events = POLLIN };

	for (;;) {
		ssize_t got = read(lab->socket, &record, sizeof(record));

		if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
			poll(&readable, 1, -1);
			continue;
		}
		/* Records are written whole, and this reads one at a time. */
		CHECK_EQ(got, sizeof(record));
		if (record.kind == DMA_SHIM_DONE)
			break;
	}
	CHECK(record.started_ns && record.finished_ns >= record.started_ns);
	CHECK(record.copy_ns + record.flush_ns + record.verify_ns <=
	      record.finished_ns - record.started_ns);
	return record;
}

static unsigned char pattern_byte(uint64_t n, uint32_t seed)
{
	return (unsigned char)((n * 131) ^ (n >> 8) ^ (n >> 16) ^ seed * 29);
}

void pattern(unsigned char *at, uint64_t size, uint32_t seed)
{
	for (uint64_t n = 0; n < size; n++)
		at[n] = pattern_byte(n, seed);
}

bool is_pattern(const unsigned char *at, uint64_t size, uint32_t seed)
{
	for (uint64_t n = 0; n < size; n++) {
		if (at[n] != pattern_byte(n, seed))
			return false;
	}
	return true;
}

bool is_byte(const unsigned char *at, uint64_t size, unsigned char byte)
{
	for (uint64_t n = 0; n < size; n++) {
		if (at[n] != byte)
			return false;
	}
	return true;
}
