// SPDX-License-Identifier: Apache-2.0
#include "fake_module.h"

#include <fcntl.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define REGIONS 256u
#define MAX_REQUESTS 1024u
#define CHANNELS 4u

struct request {
	struct request *next;
	struct ioat_dma_submit submit;
	struct ioat_dma_completion completion;
	uint64_t deadline;
	uint32_t at;            /* how many of @order were copied */
	bool canceled;
	bool hung;
	bool answered;
	uint32_t *order;
	struct ioat_dma_segment segments[];
};

struct fake_module fake;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct request *requests;
static struct device *regions[REGIONS];
static uint32_t queued;
static uint64_t random_state;
static int writer;
static bool stop;
static pthread_t thread;
static struct dma_shim *owner;

static uint64_t random_number(uint64_t limit)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (random_state * UINT64_C(0x2545f4914f6cdd1d)) % limit;
}

static bool is_gone(const struct request *request)
{
	return request->submit.src_region == fake.gone || request->submit.dst_region == fake.gone;
}

/* In records of another module's size, too. */
static void tell(const struct request *request)
{
	unsigned char record[256] = { 0 };

	memcpy(record, &request->completion, sizeof(request->completion));
	CHECK_EQ(write(writer, record, fake.record_size), fake.record_size);
}

static void answer(struct request *request, uint32_t status, uint32_t error)
{
	request->completion.status = status;
	request->completion.error = error;
	request->completion.completed_ns = now_ns();
	request->answered = true;
	tell(request);
}

static void forget(struct request *request)
{
	struct request **link = &requests;

	while (*link != request)
		link = &(*link)->next;
	*link = request->next;
	queued -= request->submit.segment_count;
	fake.in_flight--;
	free(request->order);
	free(request);
}

static void end(struct request *request, uint32_t status, uint32_t error)
{
	answer(request, status, error);
	if (!(request->completion.flags & IOAT_DMA_COMPLETION_UNSETTLED))
		forget(request);
}

static void copy_part(struct request *request)
{
	const struct ioat_dma_segment *part = &request->segments[request->order[request->at]];

	memcpy(regions[request->submit.dst_region]->base + part->dst_offset,
	       regions[request->submit.src_region]->base + part->src_offset, part->length);
	request->completion.bytes_done += part->length;
	request->at++;
}

static void fail(struct request *request, uint32_t status, uint32_t error)
{
	request->completion.segment = request->order[request->at];
	end(request, status, error);
}

/* Copy a part of it, or whatever becomes of that; false if nothing can be done. */
static bool advance(struct request *request)
{
	struct fake_operation operation = {
		.tag = request->submit.tag,
		.segment = request->order[request->at],
		.segment_count = request->submit.segment_count,
		.ordered = request->submit.flags & IOAT_DMA_SUBMIT_ORDERED,
		.part = request->segments[request->order[request->at]],
	};
	fake_fate decide = fake.fate;
	enum fate fate = decide ? decide(&operation) : FATE_DONE;

	if (fate == FATE_WAIT)
		return false;
	/* One after the other, so that all have a part of what is large. */
	request->completion.channel = fake.operations++ % CHANNELS;
	request->completion.channels |= UINT64_C(1) << request->completion.channel;
	if (fate & FATE_UNSETTLED)
		request->completion.flags = IOAT_DMA_COMPLETION_UNSETTLED;
	switch ((enum fate)(fate & ~FATE_UNSETTLED)) {
	case FATE_DONE:
		copy_part(request);
		if (request->at == request->submit.segment_count)
			end(request, IOAT_DMA_DONE, IOAT_DMA_ERROR_NONE);
		break;
	case FATE_WAIT:
		break;
	case FATE_READ:
		fail(request, IOAT_DMA_FAILED, IOAT_DMA_ERROR_READ);
		break;
	case FATE_WRITE:
		fail(request, IOAT_DMA_FAILED, IOAT_DMA_ERROR_WRITE);
		break;
	case FATE_LOST:
		fail(request, IOAT_DMA_FAILED, IOAT_DMA_ERROR_LOST);
		break;
	case FATE_MAP:
		fail(request, IOAT_DMA_FAILED, IOAT_DMA_ERROR_MAP);
		break;
	case FATE_ABORTED:
		fail(request, IOAT_DMA_ABORTED, IOAT_DMA_ERROR_NONE);
		break;
	case FATE_CHANNEL:
		/* stopped while nothing was with a channel: no segment is named */
		end(request, IOAT_DMA_GONE, IOAT_DMA_ERROR_CHANNEL);
		break;
	case FATE_HANG:
		request->hung = true;
		if (fake.hang_ms)
			request->deadline = now_ns() + fake.hang_ms * UINT64_C(1000000);
		break;
	case FATE_UNSETTLED:
		break;
	}
	return true;
}

/* What hung is copied after all; the record is the same but for its flags. */
static void settle(struct request *request)
{
	uint64_t bytes = request->completion.bytes_done;

	copy_part(request);
	request->completion.bytes_done = bytes;
	request->completion.flags = IOAT_DMA_COMPLETION_SETTLED;
	tell(request);
	forget(request);
}

/* False if nothing can be done. */
static bool tend(struct request *request)
{
	if (request->answered) {
		if (!fake.settle)
			return false;
		settle(request);
		return true;
	}
	if (request->deadline <= now_ns()) {
		if (request->hung)
			request->completion.flags = IOAT_DMA_COMPLETION_UNSETTLED;
		end(request, request->canceled ? IOAT_DMA_CANCELED : IOAT_DMA_TIMED_OUT,
		    IOAT_DMA_ERROR_NONE);
		return true;
	}
	if (request->hung)
		return false;
	if (request->canceled) {
		end(request, IOAT_DMA_CANCELED, IOAT_DMA_ERROR_NONE);
		return true;
	}
	if (is_gone(request)) {
		end(request, IOAT_DMA_GONE, IOAT_DMA_ERROR_DEVICE);
		return true;
	}
	return advance(request);
}

static struct request *nth(uint64_t n)
{
	struct request *request = requests;

	while (n--)
		request = request->next;
	return request;
}

static void *module_main(void *argument)
{
	(void)argument;
	pthread_mutex_lock(&lock);
	while (!stop) {
		uint32_t count = fake.in_flight;
		uint32_t idle = 0;
		struct timespec soon;

		while (idle < 2 * count && !stop && fake.in_flight == count)
			idle = tend(nth(random_number(count))) ? 0 : idle + 1;
		if (fake.in_flight != count)
			continue;
		clock_gettime(CLOCK_REALTIME, &soon);
		soon.tv_nsec += 1000000;
		soon.tv_sec += soon.tv_nsec / 1000000000;
		soon.tv_nsec %= 1000000000;
		pthread_cond_timedwait(&changed, &lock, &soon);
	}
	pthread_mutex_unlock(&lock);
	return NULL;
}

static int get_info(struct ioat_dma_info *info)
{
	CHECK_EQ(info->size, sizeof(*info));
	CHECK_EQ(info->flags, 0);
	info->out_abi = fake.abi;
	info->out_version = 1 << 16 | 2 << 8 | 3;
	info->out_channels = fake.channels;
	info->out_channel_limit = 64;
	info->out_completion_size = fake.record_size;
	info->out_refused_count = 1;
	memset(info->out_refused[0].driver, 'd', sizeof(info->out_refused[0].driver));
	snprintf((char *)info->out_refused[0].device, sizeof(info->out_refused[0].device), "device");
	info->out_refused[0].reason = IOAT_DMA_REFUSED_ORDER;
	return 0;
}

static int get_channel(struct ioat_dma_channel_info *info)
{
	CHECK_EQ(info->size, sizeof(*info));
	if (info->channel >= CHANNELS)
		return ENOENT;
	info->out_state = info->channel < fake.channels ? IOAT_DMA_CHANNEL_READY :
							  IOAT_DMA_CHANNEL_SET_ASIDE;
	info->out_numa_node = -1;
	info->out_in_flight = 11;
	info->out_operations = 12;
	info->out_bytes = 13;
	info->out_read_errors = 14;
	info->out_write_errors = 15;
	info->out_aborted = 16;
	info->out_lost = 17;
	info->out_timeouts = 18;
	info->out_recoveries = 19;
	/* Not ended by NUL, though the interface says so */
	memset(info->out_name, 'n', sizeof(info->out_name));
	snprintf((char *)info->out_driver, sizeof(info->out_driver), "driver");
	return 0;
}

static int create_region(struct ioat_dma_region_create *create)
{
	uint32_t id = 0;

	CHECK_EQ(create->size, sizeof(*create));
	CHECK(!create->flags && !create->__reserved && !create->offset);
	while (id < REGIONS && regions[id])
		id++;
	if (id == REGIONS)
		return EMFILE;
	for (unsigned int n = 0; n < DMA_SHIM_MAX_DEVICES; n++) {
		struct device *device = owner->devices[n];

		if (device && device->descriptor == create->fd) {
			CHECK_EQ(create->length, device->size);
			regions[id] = device;
		}
	}
	CHECK(regions[id]);
	fake.regions++;
	create->out_region = id;
	return 0;
}

static int destroy_region(const struct ioat_dma_region_destroy *destroy)
{
	CHECK_EQ(destroy->size, sizeof(*destroy));
	CHECK(destroy->region < REGIONS && regions[destroy->region]);
	regions[destroy->region] = NULL;
	fake.regions--;
	return 0;
}

static bool touch(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
	return a < b + b_size && b < a + a_size;
}

/* Segments that are copied in any order must not depend on it. */
static void check_independence(const struct request *request)
{
	const struct ioat_dma_segment *segments = request->segments;
	bool same = request->submit.src_region == request->submit.dst_region;
	uint32_t count = request->submit.segment_count;

	if (count > 256)
		return;
	for (uint32_t i = 0; i < count; i++) {
		for (uint32_t j = 0; j < count; j++) {
			const struct ioat_dma_segment *a = &segments[i], *b = &segments[j];

			if (i == j)
				continue;
			CHECK(!touch(a->dst_offset, a->length, b->dst_offset, b->length));
			CHECK(!same || !touch(a->dst_offset, a->length, b->src_offset, b->length));
		}
	}
}

static void check_submission(const struct request *request)
{
	const struct ioat_dma_submit *submit = &request->submit;

	CHECK(submit->src_region < REGIONS && regions[submit->src_region]);
	CHECK(submit->dst_region < REGIONS && regions[submit->dst_region]);
	CHECK_EQ(submit->channel, IOAT_DMA_ANY_CHANNEL);
	CHECK(submit->timeout_ms >= 1 && submit->timeout_ms <= 10000);
	for (uint32_t n = 0; n < submit->segment_count; n++) {
		const struct ioat_dma_segment *segment = &request->segments[n];
		uint64_t from = regions[submit->src_region]->size;
		uint64_t to = regions[submit->dst_region]->size;

		CHECK(segment->length);
		CHECK(segment->src_offset < from && segment->length <= from - segment->src_offset);
		CHECK(segment->dst_offset < to && segment->length <= to - segment->dst_offset);
	}
	for (const struct request *other = requests; other; other = other->next)
		CHECK(other->submit.tag != submit->tag);
	if (!(submit->flags & IOAT_DMA_SUBMIT_ORDERED))
		check_independence(request);
}

static void shuffle(struct request *request)
{
	uint32_t count = request->submit.segment_count;

	for (uint32_t n = 0; n < count; n++)
		request->order[n] = n;
	if (request->submit.flags & IOAT_DMA_SUBMIT_ORDERED)
		return;
	for (uint32_t n = count - 1; n; n--) {
		uint32_t other = (uint32_t)random_number(n + 1);
		uint32_t kept = request->order[n];

		request->order[n] = request->order[other];
		request->order[other] = kept;
	}
}

static int start_request(const struct ioat_dma_submit *submit)
{
	struct request *request;
	size_t size = submit->segment_count * sizeof(struct ioat_dma_segment);
	fake_refusal refuse = fake.refuse;
	int refused;

	CHECK_EQ(submit->size, sizeof(*submit));
	CHECK(!(submit->flags & ~IOAT_DMA_SUBMIT_ORDERED) && !submit->__reserved);
	CHECK(submit->segment_count && submit->segment_count <= 4096);
	if (fake.in_flight >= MAX_REQUESTS || queued + submit->segment_count > fake.max_queued)
		return EAGAIN;
	refused = refuse ? refuse(submit) : 0;
	if (refused)
		return refused;
	if (submit->src_region == fake.gone || submit->dst_region == fake.gone)
		return ENXIO;
	if (!fake.channels)
		return ENODEV;

	request = __real_calloc(1, sizeof(*request) + size);
	request->submit = *submit;
	request->order = __real_calloc(submit->segment_count, sizeof(*request->order));
	memcpy(request->segments, (const void *)(uintptr_t)submit->segments, size);
	check_submission(request);
	shuffle(request);
	request->completion.tag = submit->tag;
	request->completion.channel = IOAT_DMA_ANY_CHANNEL;
	request->completion.submitted_ns = now_ns();
	request->deadline = now_ns() + submit->timeout_ms * UINT64_C(1000000);
	request->next = requests;
	requests = request;
	queued += submit->segment_count;
	fake.submissions++;
	if (++fake.in_flight > fake.most_in_flight)
		fake.most_in_flight = fake.in_flight;
	pthread_cond_signal(&changed);
	return 0;
}

static int cancel(struct ioat_dma_cancel *cancel)
{
	CHECK_EQ(cancel->size, sizeof(*cancel));
	cancel->out_canceled = 0;
	for (struct request *request = requests; request; request = request->next) {
		if (request->submit.tag != cancel->tag || request->answered)
			continue;
		CHECK(!request->canceled);
		request->canceled = true;
		cancel->out_canceled++;
		fake.cancels++;
	}
	pthread_cond_signal(&changed);
	return cancel->out_canceled ? 0 : ENOENT;
}

static int execute(unsigned long command, void *argument)
{
	switch (command) {
	case IOAT_DMA_INFO:
		return get_info(argument);
	case IOAT_DMA_CHANNEL_INFO:
		return get_channel(argument);
	case IOAT_DMA_REGION_CREATE:
		return create_region(argument);
	case IOAT_DMA_REGION_DESTROY:
		return destroy_region(argument);
	case IOAT_DMA_SUBMIT: {
		int error = start_request(argument);

		fake.refusals += error != 0;
		return error;
	}
	case IOAT_DMA_CANCEL:
		return cancel(argument);
	default:
		return ENOTTY;
	}
}

int __wrap_ioctl(int descriptor, unsigned long command, ...);
int __real_ioctl(int descriptor, unsigned long command, ...);

int __wrap_ioctl(int descriptor, unsigned long command, ...)
{
	va_list arguments;
	void *argument;
	int error;

	va_start(arguments, command);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	if (_IOC_TYPE(command) != IOAT_DMA_IOC_MAGIC || !fake.path[0])
		return __real_ioctl(descriptor, command, argument);
	pthread_mutex_lock(&lock);
	error = execute(command, argument);
	pthread_mutex_unlock(&lock);
	errno = error;
	return error ? -1 : 0;
}

void fake_start(void)
{
	fake.abi = IOAT_DMA_ABI;
	fake.record_size = sizeof(struct ioat_dma_completion);
	fake.channels = CHANNELS;
	fake.max_queued = 65536;
	fake.settle = true;
	fake.gone = -1;
	random_state = random_u64() | 1;
	snprintf(fake.path, sizeof(fake.path), "%s/ioat-dma", scratch());
	SYS(mkfifo(fake.path, 0600));
	writer = SYS(open(fake.path, O_RDWR | O_CLOEXEC));
	CHECK_EQ(__real_pthread_create(&thread, NULL, module_main, NULL), 0);
}

/* By then the library must have nothing in flight. */
void fake_stop(void)
{
	pthread_mutex_lock(&lock);
	CHECK(!requests);
	CHECK_EQ(queued, 0);
	stop = true;
	pthread_cond_signal(&changed);
	pthread_mutex_unlock(&lock);
	pthread_join(thread, NULL);
	close(writer);
}

void pose_as_devdax(struct context *context, const struct file *file)
{
	struct device *device = context->shim->devices[file->handle];

	owner = context->shim;
	device->kind = DMA_SHIM_DEVDAX;
	device->persistence = DMA_SHIM_MEMORY_CONTROLLER;
	device->flush_basis = DMA_SHIM_FLUSH_CLFLUSH;
}

struct dma_context dma_context_open(uint64_t size)
{
	struct dma_context dma;
	struct dma_shim_dma_info info;

	fake_start();
	dma.context = context_open(2);
	dma.a = file_device(&dma.context, "a", size);
	dma.b = file_device(&dma.context, "b", size);
	pose_as_devdax(&dma.context, &dma.a);
	pose_as_devdax(&dma.context, &dma.b);
	CHECK_EQ(dma_shim_dma_open(dma.context.shim, fake.path, &info), 0);
	CHECK_EQ(dma_shim_dma_attach(dma.context.shim, dma.a.handle), 0);
	CHECK_EQ(dma_shim_dma_attach(dma.context.shim, dma.b.handle), 0);
	return dma;
}

void dma_context_close(struct dma_context *dma)
{
	context_close(&dma->context);
	fake_stop();
}

struct dma_shim_job dma_job(uint64_t tag, const struct file *source,
			    const struct file *destination)
{
	struct dma_shim_job job = job_of(tag, source->handle, destination->handle);

	job.engine = DMA_SHIM_ENGINE_DMA;
	return job;
}
